"""The ``provider`` object, what keys and teams bring, and what becomes of both."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Sort
from exacto_plugin.core.routing.policy import Filter, Policy, Preference, Slug
from exacto_plugin.litellm_hooks.deployments.parameters import sent_parameters, supported_parameters
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, _shown_value
from exacto_plugin.litellm_hooks.request.call_details import offers_tools
from exacto_plugin.litellm_hooks.request.key_defaults import KeyDefaults, caller_hard_filter
from exacto_plugin.litellm_hooks.request.policy import policy_of
from exacto_plugin.litellm_hooks.request.provider_object import (
    NO_PREFERENCES,
    client_hard_filter,
    provider_in,
    read_provider,
)

SLUG = Slug("g")


def read(provider: object) -> Policy:
    """The policy of a request with this object and nothing else."""
    return policy_of(Settings(), "g", SLUG, read_provider(provider, "g"), sent=lambda: ("seed", "tools"))


def test_nothing_asked() -> None:
    """No object, an empty one, nulls and empty lists are all the same."""
    nulls = dict.fromkeys(("order", "sort", "max_price", "zdr", "preferred_max_latency", "data_collection"))
    objects: list[dict[str, Any] | None] = [
        None,
        {},
        {**nulls, "only": [], "ignore": [], "order": [], "quantizations": []},
    ]
    for provider in objects:
        assert read(provider) == Policy()


def test_the_whole_object() -> None:
    """Every field as OpenRouter documents it."""
    policy = read(
        {
            "order": ["a", "b"],
            "allow_fallbacks": False,
            "only": ["a", "b", "c"],
            "ignore": ["d"],
            "sort": {"by": "throughput", "partition": "none"},
            "max_price": {"prompt": "1.5", "completion": 3},
            "preferred_min_throughput": {"p90": 50, "p50": 100},
            "preferred_max_latency": 2,
            "require_parameters": True,
            "quantizations": ["FP8", "unknown"],
            "data_collection": "deny",
            "zdr": True,
        }
    )
    assert (policy.sort, policy.explicit, policy.allow_fallbacks) == (Sort.ORDER, True, False)
    assert (policy.order, policy.only, policy.ignore) == (("a", "b"), ("a", "b", "c"), ("d",))
    assert policy.preferences == (
        Preference("throughput", 50, 100.0),
        Preference("throughput", 90, 50.0),
        Preference("latency", 50, 2.0),
    )
    assert policy.filters == (
        Filter("only", ("a", "b", "c")),
        Filter("ignore", ("d",)),
        Filter("max_price", (("prompt", 1.5), ("completion", 3.0))),
        Filter("quantizations", ("fp8", "unknown")),
        Filter("data_collection", ("deny",)),
        Filter("zdr", ("true",)),
        Filter("require_parameters", ("seed", "tools")),
        Filter("order", ("a", "b")),
    )


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        (7, "Invalid value for provider: got 'int', expected an object."),
        ({"ordr": []}, "Unknown field provider.ordr, expected one of order, allow_fallbacks, sort"),
        ({"sort": "fast"}, "provider.sort: got 'fast', expected one of price, throughput, latency, exacto"),
        ({"sort": {"by": "fast"}}, "provider.sort.by: got 'fast', expected one of price"),
        ({"sort": {"partition": "none"}}, "provider.sort.by: got null, expected"),
        ({"only": [""]}, "provider.only[0]: got '', expected a text that is not empty"),
        ({"only": "a" * 500}, "expected a list"),
        ({"max_price": {"prompt": float("nan")}}, "provider.max_price.prompt"),
        ({"max_price": {"prompt": True}}, "provider.max_price.prompt: got true, expected a number"),
        ({"max_price": 3}, "provider.max_price: got 3, expected"),
        ({"preferred_max_latency": "soon"}, "provider.preferred_max_latency: got 'soon', expected a number"),
        ({"preferred_max_latency": {"p50": 0}}, "preferred_max_latency.p50: got 0, expected greater than 0"),
        ({"require_parameters": 1}, "provider.require_parameters: got 1, expected true or false"),
    ],
    ids=str,
)
def test_what_is_malformed(provider: object, message: str) -> None:
    """The refusal names the field as the client wrote it, the value cut short, and what was expected."""
    with pytest.raises(ExactoRefusedError) as raised:
        read_provider(provider, "g")
    refusal = raised.value.refusal
    assert refusal.status == 400
    assert message in refusal.message
    assert refusal.param is not None
    assert refusal.param in refusal.message
    assert len(refusal.message) < 300


def test_where_it_is_found() -> None:
    """In the body, or in ``extra_body`` as Python callers write it."""
    assert provider_in({"provider": {"a": 1}, "extra_body": {"provider": 2}}) == {"a": 1}
    assert provider_in({"extra_body": {"provider": 2}}) == 2
    assert provider_in({"extra_body": None}) is None


# --- settings, keys and teams ------------------------------------------------------------------------------------


def caller(key: Any = None, team: Any = None) -> dict[str, Any]:
    """A request as LiteLLM routes it, of a caller with these blocks."""
    blocks = {"user_api_key_metadata": key, "user_api_key_team_metadata": team}
    return {"metadata": {name: {"exacto": block} for name, block in blocks.items() if block is not None}}


def test_everything_adds_up() -> None:
    """``only`` narrows ``only``, ``ignore`` adds to ``ignore``; each filter remembers who set it."""
    settings = Settings.model_validate(
        {
            "only": ["a", "b"],
            "max_price": {"prompt": 5},
            "curated": {"g": ["a"]},
            "model_groups": {"g": {"ignore": ["c"], "default_sort": "latency"}},
        }
    )
    faults = FaultReporter(lambda _: None)
    defaults = KeyDefaults(faults).of(caller({"only": ["b"], "default_sort": "price"}, {"only": ["c"], "zdr": True}))
    policy = policy_of(settings, "g", Slug("g", ("exacto",)), read_provider({"only": ["d"]}, "g"), defaults)
    assert [(one.name, one.value, one.source) for one in policy.filters] == [
        ("curated", ("a",), ""),
        ("only", ("d",), ""),
        ("only", ("b",), "set for this key"),
        ("only", ("c",), "set for this team"),
        ("only", ("a", "b"), "set for this proxy"),
        ("ignore", ("c",), "set for this model"),
        ("max_price", (("prompt", 5.0),), "set for this proxy"),
        ("zdr", ("true",), "set for this team"),
    ]
    assert policy.only == ("d",)  # what the client itself asked for
    assert [one.source for one in settings.filters_of("other")] == ["set for this proxy"] * 2


@pytest.mark.parametrize(
    ("key", "team", "sort"),
    [
        ({"default_sort": "price"}, {"default_sort": "exacto"}, Sort.PRICE),
        ({"ignore": ["x"]}, {"default_sort": "exacto"}, Sort.EXACTO),
        (None, None, Sort.LATENCY),
    ],
)
def test_default_sorts(key: Any, team: Any, sort: Sort) -> None:
    """Key, then team, then model group, then global; a sort that is asked for beats all of them."""
    settings = Settings.model_validate({"default_sort": "none", "model_groups": {"g": {"default_sort": "latency"}}})
    defaults = KeyDefaults(FaultReporter(lambda _: None)).of(caller(key, team))
    policy = policy_of(settings, "g", SLUG, NO_PREFERENCES, defaults)
    assert (policy.sort, policy.explicit) == (sort, False)
    assert policy_of(settings, "g", Slug("g", ("nitro",)), NO_PREFERENCES, defaults).sort is Sort.THROUGHPUT


def test_deny_keeps_what_the_operator_set() -> None:
    """What the client wishes counts for nothing, what its key brings counts."""
    settings = Settings.model_validate({"client_preferences": "deny"})
    defaults = KeyDefaults(FaultReporter(lambda _: None)).of(caller({"ignore": ["x"]}))
    asked = read_provider({"only": ["a"], "order": ["a"], "allow_fallbacks": False}, "g")
    policy = policy_of(settings, "g", SLUG, asked, defaults)
    assert policy == Policy(filters=(Filter("ignore", ("x",), "set for this key"),))


def test_malformed_blocks() -> None:
    """A malformed limit lets nobody pass; all else that is malformed is left out; each block is counted once."""
    faults = FaultReporter(lambda _: None)
    callers = KeyDefaults(faults)
    for _ in range(3):
        found = callers.of(caller({"only": "a", "ignore": ["b"], "max_price": {"image": 1}, "what": 1}))
        assert [one.name for one in found.filters if one.expected] == ["only", "max_price"]
        assert found.filters[2:] == (Filter("ignore", ("b",), "set for this key"),)
        for block in ("only", 7, ["only"]):
            assert [one.name for one in callers.of(caller(team=block)).filters] == ["exacto"]
        for other in ({1: 2}, {"default_sort": "order"}):
            assert callers.of(caller(team=other)) == (None, ())
    assert faults.counts == {"caller_limits": 4, "caller_metadata": 2}
    for metadata in (None, "x", {"user_api_key_metadata": None}, {"user_api_key_metadata": {"exacto": None}}):
        assert callers.of({"metadata": metadata}) == (None, ())


def test_promises_that_were_not_checked() -> None:
    """While nothing can be evaluated it is still known that something was promised."""
    assert client_hard_filter({"sort": "price", "zdr": False, "data_collection": "allow", "only": []}) is None
    assert client_hard_filter({"max_price": {"prompt": 1}, "zdr": True}) == "max_price"
    assert client_hard_filter({"allow_fallbacks": False}) == "allow_fallbacks"
    assert client_hard_filter("x") is None
    assert caller_hard_filter(caller({"default_sort": "price"})) is None
    assert caller_hard_filter(caller({"zdr": 1}, {"only": 2})) == "only"
    assert caller_hard_filter(caller("zdr", {"only": 2})) == "exacto"


# --- parameters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        ({"model": "m", "messages": [], "stream": True, "metadata": {}, "seed": None}, ()),
        ({"temperature": 0, "max_completion_tokens": 5, "tools": []}, ("max_tokens", "temperature", "tools")),
        ({"functions": [1], "function_call": "auto"}, ("tool_choice", "tools")),
        ({"response_format": {"type": "text"}}, ()),
        ({"response_format": {"type": "json_object"}}, ("response_format",)),
        ({"response_format": {"type": "json_schema"}}, ("structured_outputs",)),
        ({"text": {"format": {"type": "json_schema"}}, "max_output_tokens": 1}, ("max_tokens", "structured_outputs")),
        ({"text": {"format": {"type": "text"}}}, ()),
        ({"extra_body": {"top_k": 4}, "stop_sequences": ["x"]}, ("stop", "top_k")),
        ({"reasoning_effort": "low", "thinking": {}}, ("reasoning",)),
        ({"input": [{"type": "additional_tools", "tools": [{"type": "function", "name": "f"}]}]}, ("tools",)),
        ({"input": [{"type": "tool_search_output", "tools": [{"type": "function", "name": "f"}]}]}, ("tools",)),
        ({"input": [{"type": "message", "content": "x"}]}, ()),
    ],
    ids=str,
)
def test_which_parameters_are_sent(request_: dict[str, Any], sent: tuple[str, ...]) -> None:
    """Those that change an answer, under one name each, on whatever surface."""
    assert sent_parameters(request_, offers_tools=offers_tools(request_)) == sent


def test_which_parameters_litellm_knows() -> None:
    """Known providers support what LiteLLM says; of an unknown one nothing is known."""
    assert {"tools", "seed", "max_tokens", "structured_outputs"} <= supported_parameters({"model": "openai/kimi"})
    assert "seed" not in supported_parameters({"model": "deepinfra/moonshotai/Kimi-K2-Instruct"})
    assert supported_parameters({"model": "nonsense"}) == frozenset()


@pytest.mark.parametrize(("name", "value"), [("data_collection", "deny"), ("zdr", "true")])
def test_a_refusal_tells_the_declaration_that_is_needed(name: str, value: str) -> None:
    """A property that no deployment declares is a declaration away."""
    told = _shown_value(Filter(name, (value,)))
    assert told.endswith(f"(of deployments that declare model_info.{name}: {value})")

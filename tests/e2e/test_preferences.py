"""What clients say about routing, through a real proxy: the ``provider`` object, and that upstreams see none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from tests.support.proxy.every_surface import ask_everywhere
from tests.support.proxy.openai_client import ask, asked, bodies, config, error_of, post, prices
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

OPENROUTER = {"model": "openrouter/moonshotai/kimi-k2"}
OURS = ("provider", "models", "fallbacks", "route", "disable_fallbacks")


@pytest.fixture(scope="module")
def proxies(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Mapping[str, Proxy]:
    """The same deployments where clients may say how to route, and where they may not."""

    def entry(name: str, group: str = "kimi", **params: Any) -> dict[str, Any]:
        return deployment(provider_server, name, group, **params)

    model_list = [
        entry("cheap", **prices(1, 1)),
        entry("dear", **prices(2, 2)),
        entry("other", "glm"),
        entry("or-one", "routed", **OPENROUTER),
        entry("mixed-or", "mixed", order=2, **OPENROUTER),
        entry("mixed-own", "mixed", order=1, **prices(1, 1)),
        entry("too-dear", "capped", **prices(2, 2)),
    ]
    router = {"num_retries": 0, "disable_cooldowns": True}
    strict: dict[str, Any] = {
        "client_preferences": "deny",
        "curated": {"kimi": ["dear"], "glm": ["nobody"]},
        "mode": "off",
        "default_sort": "price_weighted",
        "expose": {"providers": False},
        "ignore": ["nobody"],
        "model_groups": {"capped": {"ignore": ["nobody"], "max_price": {"prompt": 1}}},
    }
    return {
        "allow": start_proxy(config(model_list, router=router)),
        "deny": start_proxy(config(model_list, router=router, **strict)),
    }


@pytest.fixture
def proxy(proxies: Mapping[str, Proxy], providers: SimulatedProviders) -> Proxy:
    """The proxy whose clients may say how to route."""
    return proxies["allow"]


@pytest.fixture
def strict(proxies: Mapping[str, Proxy], providers: SimulatedProviders) -> Proxy:
    """The proxy with ``client_preferences: deny``, a global default sort, no tiers, and little that clients see."""
    return proxies["deny"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("sort", ["price", "throughput", "latency", "exacto", None])
def test_sorts(proxy: Proxy, providers: SimulatedProviders, sort: str | None, stream: bool) -> None:
    """Every value of ``provider.sort`` is understood and beats the suffix; null leaves it to the suffix."""
    assert ask(proxy, "kimi:floor", provider={"sort": sort}, stream=stream).policy == (sort or "price")
    assert ask(proxy, "kimi", provider={"sort": sort}, stream=stream).policy == (sort or "auto")
    assert ask(proxy, "kimi:nitro", provider=None, stream=stream).policy == "throughput"
    for body in bodies(providers, ["cheap", "dear"]):
        assert "provider" not in body


MALFORMED = [
    ({"sort": "cheapest"}, "provider.sort"),
    ({"sort": ["price"]}, "provider.sort"),
    ({"sort": 1}, "provider.sort"),
    ({"sort": "price_weighted"}, "provider.sort"),
    ({"sort": "price", "ordr": ["a"]}, "provider.ordr"),
    ({"sort": {"by": "price", "partition": "all"}}, "provider.sort.partition"),
    ({"sort": {"by": "cheap"}}, "provider.sort.by"),
    ({"order": "deepinfra"}, "provider.order"),
    ({"only": ["a", 1]}, "provider.only[1]"),
    ({"allow_fallbacks": "no"}, "provider.allow_fallbacks"),
    ({"max_price": {"prompt": -1}}, "provider.max_price.prompt"),
    ({"max_price": {"image": 1}}, "provider.max_price.image"),
    ({"preferred_max_latency": {"p95": 1}}, "provider.preferred_max_latency.p95"),
    ({"preferred_min_throughput": True}, "provider.preferred_min_throughput"),
    ({"data_collection": "never"}, "provider.data_collection"),
    ({"zdr": "yes"}, "provider.zdr"),
    ("deepinfra", "provider"),
    (["deepinfra"], "provider"),
]


@pytest.mark.parametrize(("provider", "field"), MALFORMED, ids=str)
def test_malformed_preferences(proxy: Proxy, providers: SimulatedProviders, provider: Any, field: str) -> None:
    """A malformed ``provider`` is a 400 in OpenAI's shape that names the field, and nobody is asked."""
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as raised:
            ask(proxy, "kimi", provider=provider, stream=stream)
        error = error_of(raised.value)
        assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", field, "400")
        assert field in error["message"]
    assert asked(providers, ["cheap", "dear"]) == {"cheap": 0, "dear": 0}


def test_malformed_preferences_on_messages(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Anthropic's client gets its own error shape."""
    with proxy.anthropic() as client, pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(
            model="kimi", max_tokens=9, messages=MESSAGES, extra_body={"provider": {"sort": "cheapest"}}
        )
    body: Any = raised.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert "provider.sort" in body["error"]["message"]


@pytest.mark.parametrize("model", ["kimi", "kimi:exacto", "cheap"])
def test_nothing_reaches_an_upstream(proxy: Proxy, providers: SimulatedProviders, model: str) -> None:
    """Neither preferences nor keys of ours are sent on, on any surface, for a group and for a pinned deployment."""
    more = {"provider": {"sort": "price"}, "models": ["glm:exacto"], "exacto_suffixes": "floor"}
    ask_everywhere(proxy, model, more)
    seen = providers.control.seen("cheap")
    assert {one["path"].rsplit("/v1/", 1)[1] for one in seen} == {
        "chat/completions",
        "completions",
        "responses",
        "embeddings",
    }
    assert len(seen) >= 9
    for one in seen:
        assert not [key for key in one["body"] if key in OURS or "exacto" in key or key == "metadata"], one["body"]
        assert not [key for key in one["headers"] if "exacto" in key]
        assert one["body"]["model"] == "kimi"


def test_fallback_hops_leak_nothing(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Nor does the next model of a ``models`` list see any of it."""
    for name in ("cheap", "dear"):
        providers.control.behave(name, always=500)
    for stream in (False, True):
        ask(proxy, "kimi", models=["glm:nitro"], provider={"sort": "price"}, stream=stream)
    for body in bodies(providers, ["cheap", "dear", "other"]):
        assert not [key for key in body if key in OURS or "exacto" in key]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_openrouter_gets_what_it_reads(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """Deployments that are OpenRouter's get ``provider`` and ``models`` as they were sent, unchecked."""
    more: dict[str, Any] = {"provider": {"order": ["deepinfra"], "anything": 1}, "models": ["a/b:exacto", "c/d"]}
    for model in ("routed", "routed:exacto", "or-one"):
        ask(proxy, model, stream=stream, **more)
        (body,) = bodies(providers, ["or-one"])
        assert (body["provider"], body["models"]) == (more["provider"], more["models"]), model
        assert not [key for key in body if "exacto" in key]
        assert body["model"] == "moonshotai/kimi-k2"
        providers.control.forget_seen("or-one")


def test_a_group_that_is_only_partly_openrouters(proxy: Proxy, providers: SimulatedProviders) -> None:
    """In a mixed group preferences are checked and applied; what goes on to OpenRouter goes to nobody else."""
    with pytest.raises(openai.BadRequestError):
        ask(proxy, "mixed", provider={"anything": 1})
    ask(proxy, "mixed", provider={"sort": "price"})
    (body,) = bodies(providers, ["mixed-own"])
    assert "provider" not in body
    providers.control.behave("mixed-own", always=500)
    ask(proxy, "mixed", provider={"sort": "price"})
    (body,) = bodies(providers, ["mixed-or"])
    assert body["provider"] == {"sort": "price"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_denied_preferences_are_ignored(strict: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """Under ``deny`` suffixes other than ``:exacto``, ``provider`` and ``models`` are no error and change nothing."""
    for slug, policy in (
        ("kimi", "price_weighted"),
        ("kimi:floor", "price_weighted"),
        ("kimi:nitro", "price_weighted"),
        ("kimi:exacto", "none"),  # tiers are off, so nothing is sorted by them
        ("kimi:exacto:floor", "none"),
        ("kimi:floor:exacto", "none"),
    ):
        reply = ask(strict, slug, stream=stream, provider={"sort": "latency"}, models=["glm"])
        assert (reply.policy, reply.model) == (policy, slug)
        assert "x-exacto-deployment" not in reply.headers  # providers are nobody's business here
    assert ask(strict, "kimi", provider="malformed", stream=stream).policy == "price_weighted"
    for name in ("cheap", "dear"):
        providers.control.behave(name, always=500)
    with pytest.raises(openai.InternalServerError):
        ask(strict, "kimi", models=["glm"], stream=stream)
    assert asked(providers, ["other"]) == {"other": 0}
    for entry in ("glm:floor", {"model": "glm:floor"}):  # LiteLLM's own field stays
        assert ask(strict, "kimi", fallbacks=[entry], stream=stream).policy == "price_weighted"


def test_what_the_operator_rules_out_holds_under_deny(strict: Proxy, providers: SimulatedProviders) -> None:
    """Filters of the settings hold for everybody; what they say is nobody's business here."""
    with pytest.raises(openai.NotFoundError) as raised:
        ask(strict, "capped", provider={"only": ["too-dear"]})
    error = error_of(raised.value)
    assert error["param"] == "max_price"
    assert error["message"] == "No deployment of capped is left by max_price (set for this model)."
    assert asked(providers, ["too-dear"]) == {"too-dear": 0}


def test_what_stands_in_every_mode(strict: Proxy, providers: SimulatedProviders) -> None:
    """Neither ``deny`` nor ``mode: off`` takes a curated list away; its refusal names nobody who serves."""
    for slug in ("kimi:exacto", "kimi:exacto:floor") * 6:
        ask(strict, slug)
    assert asked(providers, ["cheap", "dear"]) == {"cheap": 0, "dear": 12}
    with pytest.raises(openai.NotFoundError) as raised:
        ask(strict, "glm:exacto")
    assert "nobody" in error_of(raised.value)["message"]
    assert "127.0.0.1" not in raised.value.response.text


def test_denied_preferences_reach_nobody(strict: Proxy, providers: SimulatedProviders) -> None:
    """Under ``deny`` they are not sent on either, not even to OpenRouter."""
    more = {"provider": {"sort": "price"}, "models": ["glm"]}
    for model in ("kimi:floor", "cheap", "routed", "or-one"):
        ask_everywhere(strict, model, more)
    assert bodies(providers, ["or-one"])
    for body in bodies(providers, ["cheap", "dear", "or-one"]):
        assert not [key for key in body if key in OURS or "exacto" in key]


def test_a_model_must_be_named(strict: Proxy, proxy: Proxy, providers: SimulatedProviders) -> None:
    """Without ``model``, and with ``models`` denied or malformed, the error is LiteLLM's own."""
    plain = post(proxy, "/v1/chat/completions", {"messages": MESSAGES, "tools": TOOLS})
    for which, models in ((strict, ["kimi"]), (proxy, []), (proxy, [1]), (proxy, "kimi")):
        answer = post(which, "/v1/chat/completions", {"messages": MESSAGES, "tools": TOOLS, "models": models})
        assert (answer.status_code, answer.json()) == (plain.status_code, plain.json())

"""Rescue through a real proxy: what triggers it, what does not, and what the client sees of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import eventually, judged
from tests.support.proxy.openai_client import ask, asked, post
from tests.support.proxy.questions import MESSAGES, TOOLS
from tests.support.proxy.rescue_groups import BAD, behave, rescued

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.support.proxy.proxy import Proxy


@pytest.mark.parametrize("act", BAD)
def test_whole_answers_are_rescued(proxy: Proxy, providers: SimulatedProviders, act: Act) -> None:
    """Every kind of bad call goes to the other deployment, and all headers name who really answered."""
    behave(providers, "whole", act)
    reply = ask(proxy, "whole")
    assert json.loads(reply.arguments).keys() == {"city", "days"}
    assert (rescued(reply), reply.deployment, reply.headers["x-litellm-model-id"]) == ("whole-1", "whole-2", "whole-2")
    assert reply.headers["x-exacto-provider"] == "127.0.0.1:" + provider_port(providers)
    assert reply.headers["x-exacto-tier"] == "insufficient_data"
    assert reply.headers["x-exacto-rescue-attempts"] == "1"
    assert float(reply.headers["x-exacto-rescue-cost"]) > 0
    assert asked(providers, ("whole-1", "whole-2")) == {"whole-1": 1, "whole-2": 1}


def provider_port(providers: SimulatedProviders) -> str:
    """The port of the simulated providers, which is all that tells who serves."""
    return str(providers.port)


@pytest.mark.parametrize("act", [Act.VALID, Act.TEXT, Act.DUPLICATE_IDS, Act.TRUNCATED])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nothing_else_triggers_it(proxy: Proxy, providers: SimulatedProviders, act: Act, stream: bool) -> None:
    """Good calls, no call and an answer cut short stay as they are: the other deployment is not asked."""
    behave(providers, "untouched", act)
    reply = ask(proxy, "untouched", stream=stream)
    assert rescued(reply) is None
    assert asked(providers, ("untouched-1", "untouched-2")) == {"untouched-1": 1, "untouched-2": 0}


def test_a_broken_schema_triggers_nothing(proxy: Proxy, providers: SimulatedProviders) -> None:
    """What does not compile is the caller's fault, whatever the call looks like."""
    providers.control.behave("broken-1", arguments='{"city": 1}')
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "no such type"}}}]
    answer = post(proxy, "/v1/chat/completions", {"model": "broken", "messages": MESSAGES, "tools": tools})
    assert "x-exacto-rescued" not in answer.raise_for_status().headers
    assert asked(providers, ["broken-2"]) == {"broken-2": 0}


@pytest.mark.parametrize("group", ["off", "observed"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_mode_governs_it(proxy: Proxy, providers: SimulatedProviders, group: str, stream: bool) -> None:
    """Where tiers are not applied, answers are not replaced."""
    behave(providers, group, Act.INVALID_JSON)
    assert "{" in ask(proxy, group, stream=stream).arguments
    assert asked(providers, [f"{group}-2"]) == {f"{group}-2": 0}


def test_a_pinned_deployment_is_not_replaced(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Who names a deployment gets its answer."""
    behave(providers, "pinned", Act.INVALID_JSON)
    assert rescued(ask(proxy, "pinned-1")) is None
    assert asked(providers, ["pinned-2"]) == {"pinned-2": 0}


def test_an_explicit_sort_is_followed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The second ask goes to the next of the order that the client asked for."""
    for level in (1, 2, 3):
        providers.control.behave(f"priced-{level}", always=Act.INVALID_JSON if level == 1 else Act.VALID)
    for _ in range(3):
        assert ask(proxy, "priced:floor").deployment == "priced-2"
    assert asked(providers, ["priced-3"]) == {"priced-3": 0}


def test_an_explicit_list_is_followed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``order``: the next of the list; with ``allow_fallbacks: false`` nobody beyond whom the client allows."""
    for level in (1, 2, 3):
        providers.control.behave(f"priced-{level}", always=Act.INVALID_JSON if level == 3 else Act.VALID)
    reply = ask(proxy, "priced", provider={"order": ["priced-3", "priced-2"]})
    assert (rescued(reply), reply.deployment) == ("priced-3", "priced-2")
    reply = ask(proxy, "priced", provider={"order": ["priced-3"], "allow_fallbacks": False})
    assert (rescued(reply), reply.deployment) == (None, "priced-3")
    assert asked(providers, ["priced-1", "priced-2"]) == {"priced-1": 0, "priced-2": 1}


def test_a_curated_list_holds_for_the_second_ask(proxy: Proxy, providers: SimulatedProviders) -> None:
    """With nobody else on the list, the bad answer stays."""
    behave(providers, "listed", Act.INVALID_JSON)
    reply = ask(proxy, "listed:exacto")
    assert (reply.deployment, rescued(reply)) == ("listed-1", None)
    assert asked(providers, ["listed-2"]) == {"listed-2": 0}


@pytest.mark.parametrize("act", [Act.INVALID_JSON, Act.TRUNCATED, Act.MISSING_CALL, 500, 404, 400, Act.DROP])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_without_a_valid_answer_the_first_one_stays(
    proxy: Proxy, providers: SimulatedProviders, act: Any, stream: bool
) -> None:
    """A second answer that is bad, cut short or an error changes nothing about what the client gets."""
    behave(providers, "vain", Act.VALID, act)
    providers.control.behave("vain-1", arguments='{"city": 1}')
    reply = ask(proxy, "vain", stream=stream)
    assert reply.arguments == '{"city": 1}'
    assert rescued(reply) is None
    if not stream:
        assert (reply.deployment, reply.headers["x-litellm-model-id"]) == ("vain-1", "vain-1")
        assert reply.headers["x-exacto-rescue-attempts"] == "1"
    assert asked(providers, ["vain-2"]) == {"vain-2": 1}


def test_a_text_may_stand_in_but_not_for_a_demanded_call(proxy: Proxy, providers: SimulatedProviders) -> None:
    """An answer that says something instead is valid, unless ``tool_choice`` demands a call."""
    behave(providers, "said", Act.INVALID_JSON, Act.TEXT)
    assert (rescued(ask(proxy, "said")), rescued(ask(proxy, "said", stream=True))) == ("said-1", None)
    assert rescued(ask(proxy, "said", tool_choice="required")) is None
    assert asked(providers, ["said-2"]) == {"said-2": 3}


@pytest.mark.parametrize(
    ("group", "path", "body"),
    [
        (
            "responses",
            "/v1/responses",
            {"input": "Weather in Lisbon?", "tools": [{"type": "function", **TOOLS[0]["function"]}]},
        ),
        (
            "messages",
            "/v1/messages",
            {
                "max_tokens": 500,
                "messages": MESSAGES,
                "tools": [{"name": "get_weather", "input_schema": TOOLS[0]["function"]["parameters"]}],
            },
        ),
    ],
)
@pytest.mark.parametrize("act", BAD[:3])
def test_other_surfaces_are_rescued(
    proxy: Proxy, providers: SimulatedProviders, group: str, path: str, body: Mapping[str, Any], act: Act
) -> None:
    """Whole answers of the Responses and Messages APIs too."""
    behave(providers, group, act)
    answer = post(proxy, path, {"model": group, **body}).raise_for_status()
    if group == "responses":
        (call,) = (item for item in answer.json()["output"] if item["type"] == "function_call")
        arguments = json.loads(call["arguments"])
    else:
        (call,) = (item for item in answer.json()["content"] if item["type"] == "tool_use")
        arguments = call["input"]
    assert (call["name"], set(arguments)) == ("get_weather", {"city", "days"})
    assert answer.headers["x-exacto-rescued"] == f"{group}-1"
    assert answer.headers["x-exacto-deployment"] == f"{group}-2"
    assert answer.headers["x-litellm-model-id"] == f"{group}-2"
    eventually(lambda: judged(proxy, group, f"{group}-1")[1] >= 1, True)

"""The usage that rescued and held streams report, with the real clients; and what LiteLLM counts of both answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import eventually
from tests.support.proxy.openai_client import asked, config, prices
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS
from tests.support.proxy.rescue_groups import BAD

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

FIRST, SECOND = (11, 3), (70, 30)
"""Prompt and completion tokens of the first and the second deployment's answers."""
RESPONSES_TOOLS: list[Any] = [{"type": "function", **TOOLS[0]["function"]}]
MESSAGES_TOOLS: list[Any] = [{"name": "get_weather", "input_schema": TOOLS[0]["function"]["parameters"]}]
USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


def _behave(providers: SimulatedProviders, group: str, act: Act, **more: Any) -> None:
    for level, does, (prompt, completion) in ((1, act, FIRST), (2, Act.VALID, SECOND)):
        providers.control.behave(
            f"{group}-{level}", always=does, prompt_tokens=prompt, completion_tokens=completion, **more
        )


def _chunks(proxy: Proxy, model: str, **more: Any) -> list[dict[str, Any]]:
    """The chunks of a chat stream as they are on the wire."""
    body = {"model": model, "messages": MESSAGES, "tools": TOOLS, "stream": True, **more}
    lines = proxy.request("POST", "/v1/chat/completions", json=body).text.splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(each) for each in data]


def _calls(chunk: dict[str, Any]) -> bool:
    return any(choice["delta"].get("tool_calls") or choice.get("finish_reason") for choice in chunk["choices"])


def _counted(usage: Any) -> tuple[int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"]


@pytest.mark.parametrize("preamble", [None, "Let me see."], ids=["silent", "talking"])
@pytest.mark.parametrize("act", [Act.VALID, *BAD])
def test_the_usage_chunk_of_chat_comes_last(
    proxy: Proxy, providers: SimulatedProviders, act: Act, preamble: str | None
) -> None:
    """Once, after the calls, and of the answer that the client has; its cost too."""
    _behave(providers, "streamed", act, preamble=preamble)
    chunks = _chunks(proxy, "streamed", **USAGE)
    assert [number for number, chunk in enumerate(chunks) if chunk.get("usage")] == [len(chunks) - 1]
    assert not _calls(chunks[-1])
    usage = chunks[-1]["usage"]
    delivered = FIRST if act is Act.VALID else SECOND
    assert _counted(usage) == delivered
    assert usage["total_tokens"] == sum(delivered)
    assert usage["cost"] == pytest.approx(sum(delivered) * 1e-6)


@pytest.mark.parametrize("act", [Act.VALID, Act.INVALID_JSON])
def test_the_stream_helper_has_the_usage(proxy: Proxy, providers: SimulatedProviders, act: Act) -> None:
    """``client.chat.completions.stream()`` takes the usage from the end of the stream."""
    _behave(providers, "streamed", act)
    helper: Any = proxy.client().chat.completions.stream
    with helper(model="streamed", messages=MESSAGES, tools=TOOLS, **USAGE) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls
    assert final.usage is not None
    assert _counted(final.usage.model_dump()) == (FIRST if act is Act.VALID else SECOND)


@pytest.mark.parametrize("act", [Act.VALID, Act.INVALID_JSON])
def test_no_usage_unless_asked_for(proxy: Proxy, providers: SimulatedProviders, act: Act) -> None:
    """LiteLLM itself asks providers for the usage, and does not pass it on."""
    _behave(providers, "streamed", act)
    chunks = _chunks(proxy, "streamed")
    assert [chunk.get("usage") for chunk in chunks] == [None] * len(chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


REPORTED = [
    ("native", Act.VALID),
    ("native", Act.INVALID_JSON),
    ("translated", Act.INVALID_JSON),  # of its own streams LiteLLM has no usage, and estimates it
]


@pytest.mark.parametrize("preamble", [None, "Let me see."], ids=["silent", "talking"])
@pytest.mark.parametrize(("group", "act"), [*REPORTED, ("claude", Act.VALID), ("claude", Act.INVALID_JSON)])
def test_usage_of_messages(
    proxy: Proxy, providers: SimulatedProviders, group: str, act: Act, preamble: str | None
) -> None:
    """The message that the client puts together has the delivered answer's usage, cached tokens included."""
    _behave(providers, group, act, preamble=preamble)
    # The prompt of the bad answer was in the cache, that of the other one is not.
    providers.control.behave(f"{group}-1", prompt_cache=True)
    for _ in range(2 if act is Act.INVALID_JSON else 1):
        with proxy.anthropic() as client:
            helper: Any = client.messages.stream
            with helper(model=group, max_tokens=500, messages=MESSAGES, tools=MESSAGES_TOOLS) as events:
                usage = events.get_final_message().usage
    prompt, completion = FIRST if act is Act.VALID else SECOND
    read = usage.cache_read_input_tokens or 0
    assert (usage.input_tokens + read, usage.output_tokens) == (prompt, completion)
    if act is not Act.VALID:
        assert read == 0


@pytest.mark.parametrize(("group", "act"), REPORTED)
def test_usage_of_responses(proxy: Proxy, providers: SimulatedProviders, group: str, act: Act) -> None:
    """The last event has the delivered answer's usage, and its cost."""
    _behave(providers, group, act)
    helper: Any = proxy.client().responses.stream
    with helper(model=group, input="Weather?", tools=RESPONSES_TOOLS) as events:
        usage = events.get_final_response().usage
    tokens = FIRST if act is Act.VALID else SECOND
    assert (usage.input_tokens, usage.output_tokens) == tokens
    if group == "native":
        assert usage.cost == pytest.approx(sum(tokens) * 1e-6)


@pytest.mark.parametrize(("group", "surface"), [("streamed", "chat"), ("native", "responses"), ("claude", "messages")])
def test_both_answers_are_billed_as_they_were(
    proxy: Proxy, providers: SimulatedProviders, spending: Path, group: str, surface: str
) -> None:
    """LiteLLM counts each attempt's own tokens under its own deployment."""

    def paid() -> list[tuple[str, int]]:
        lines = [json.loads(line) for line in spending.read_text().splitlines()]
        return sorted((one["deployment"], one["tokens"]) for one in lines if one["deployment"].startswith(f"{group}-"))

    _behave(providers, group, Act.INVALID_JSON)
    proxy.set_keys({})
    before = paid()
    if surface == "chat":
        _chunks(proxy, group, **USAGE)
    elif surface == "responses":
        list(proxy.client().responses.create(model=group, input="Weather?", tools=RESPONSES_TOOLS, stream=True))
    else:
        body = {"model": group, "max_tokens": 500, "messages": MESSAGES, "tools": MESSAGES_TOOLS, "stream": True}
        assert proxy.request("POST", "/v1/messages", json=body).status_code == 200
    assert asked(providers, (f"{group}-1", f"{group}-2")) == {f"{group}-1": 1, f"{group}-2": 1}
    wanted = sorted([*before, (f"{group}-1", sum(FIRST)), (f"{group}-2", sum(SECOND))])
    eventually(paid, wanted)


@pytest.fixture(scope="module")
def always(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A proxy that reports usage and cost in every stream; its second deployments cost ten times the first."""

    def entry(group: str, level: int, cost: float) -> dict[str, Any]:
        name, more = f"{group}-{level}", dict[str, Any]()
        if group == "claude":
            base = provider_server.api_base(name).removesuffix("/v1")
            more = {"model": "anthropic/claude-sonnet-4-5", "api_base": base}
        return deployment(provider_server, name, group, **more, **prices(cost, cost), order=level)

    models = [entry(group, level, cost) for group in ("chat", "claude") for level, cost in ((1, 1), (2, 10))]
    made = config(models, rescue={"enabled": True, "streams": True}, exploration={"share": 0})
    made["general_settings"] = {"always_include_stream_usage": True}
    made["litellm_settings"]["include_cost_in_streaming_usage"] = True
    return start_proxy(made)


@pytest.mark.parametrize("act", [Act.VALID, Act.INVALID_JSON])
def test_usage_in_every_stream(always: Proxy, providers: SimulatedProviders, act: Act) -> None:
    """``always_include_stream_usage`` of LiteLLM: the client asks for nothing; the cost is the delivered answer's."""
    _behave(providers, "chat", act)
    chunks = _chunks(always, "chat")
    assert [number for number, chunk in enumerate(chunks) if chunk.get("usage")] == [len(chunks) - 1]
    tokens, price = (FIRST, 1e-6) if act is Act.VALID else (SECOND, 10e-6)
    assert _counted(chunks[-1]["usage"]) == tokens
    assert chunks[-1]["usage"]["cost"] == pytest.approx(sum(tokens) * price)


def test_cost_in_messages(always: Proxy, providers: SimulatedProviders) -> None:
    """``include_cost_in_streaming_usage`` of LiteLLM: the cost beside the usage is that of the delivered answer."""
    _behave(providers, "claude", Act.INVALID_JSON)
    body = {"model": "claude", "max_tokens": 500, "messages": MESSAGES, "tools": MESSAGES_TOOLS, "stream": True}
    text = always.request("POST", "/v1/messages", json=body).text
    events = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]
    assert [event["type"] for event in events][-2:] == ["message_delta", "message_stop"]
    (usage,) = [event["usage"] for event in events if event["type"] == "message_delta"]
    assert (usage["input_tokens"], usage["output_tokens"]) == SECOND
    assert usage["cost"] == pytest.approx(sum(SECOND) * 10e-6)

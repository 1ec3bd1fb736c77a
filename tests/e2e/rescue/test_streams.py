"""Rescue of streams through a real proxy, on every surface, with the real clients: the client cannot tell."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from litellm.responses.litellm_completion_transformation import streaming_iterator

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import eventually, judged
from tests.support.proxy.openai_client import ask, asked
from tests.support.proxy.questions import MESSAGES, TOOLS
from tests.support.proxy.rescue_groups import BAD, behave

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.support.proxy.proxy import Proxy


@pytest.mark.parametrize("act", BAD)
def test_streams_are_rescued(proxy: Proxy, providers: SimulatedProviders, act: Act) -> None:
    """The client's stream carries the good call only, in one stream with one id, and names nobody in its headers."""
    behave(providers, "streamed", act)
    create: Any = proxy.client().chat.completions.create
    chunks = list(create(model="streamed", messages=MESSAGES, tools=TOOLS, stream=True,
                         stream_options={"include_usage": True}))  # fmt: skip
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert json.loads("".join(call.function.arguments or "" for call in calls)).keys() == {"city", "days"}
    assert [call.function.name for call in calls if call.function.name] == ["get_weather"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["tool_calls"]
    assert [chunk.usage.total_tokens > 0 for chunk in chunks if chunk.usage] == [True]
    # Where nothing was sent before the replacement, its deployment is known when the headers are sent.
    assert ask(proxy, "streamed", stream=True).deployment in (None, "streamed-2")
    assert asked(providers, ("streamed-1", "streamed-2")) == {"streamed-1": 2, "streamed-2": 2}


def test_a_stream_that_is_held_back_is_not_changed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Two good calls come as they were sent, piece by piece, with their ids."""
    behave(providers, "said", Act.VALID, calls=2, completion_tokens=11)
    create: Any = proxy.client().chat.completions.create
    chunks = list(create(model="said", messages=MESSAGES, tools=TOOLS, stream=True,
                         stream_options={"include_usage": True}))  # fmt: skip
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert len({call.id for call in calls if call.id}) == 2
    assert {call.index for call in calls} == {0, 1}
    assert len(calls) > 4
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [11]


NUMBERED = hasattr(streaming_iterator, "SEQUENCE_NUMBER_STAMPED_ON_EMISSION")
"""Whether LiteLLM numbers the events of a response that it translates; 1.106 gives some of them the number 1."""
PREAMBLE = "Let me look that up for you."
RESPONSES_TOOLS: list[Any] = [{"type": "function", **TOOLS[0]["function"]}]
MESSAGES_TOOLS: list[Any] = [{"name": "get_weather", "input_schema": TOOLS[0]["function"]["parameters"]}]


def _responses(proxy: Proxy, model: str, *, store: bool = False) -> tuple[list[Any], Any]:
    """The events of a stream of the Responses API, and the response that the client makes of them."""
    stream: Any = proxy.client().responses.stream
    with stream(model=model, input="Weather in Lisbon?", tools=RESPONSES_TOOLS, store=store) as events:
        return list(events), events.get_final_response()


def _message(proxy: Proxy, model: str) -> tuple[list[Any], Any]:
    """The events of a stream of the Messages API, and the message that the client makes of them."""
    with proxy.anthropic() as client:
        stream: Any = client.messages.stream
        with stream(model=model, max_tokens=500, messages=MESSAGES, tools=MESSAGES_TOOLS) as events:
            return list(events), events.get_final_message()


def _is_whole(events: list[Any], final: Any) -> None:
    """What a client may rely on of a stream of the Responses API: order, numbers, and that the end tells it all."""
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    if NUMBERED:
        numbers = [number for event in events if (number := getattr(event, "sequence_number", None)) is not None]
        assert numbers == sorted(set(numbers))
    added = [event for event in events if event.type == "response.output_item.added"]
    ended = [event for event in events if event.type == "response.output_item.done"]
    # LiteLLM ends a text after the calls that follow it.
    done = [event.item for event in sorted(ended, key=lambda event: event.output_index)]
    assert [event.output_index for event in added] == list(range(len(final.output)))
    assert [(item.type, item.id) for item in done] == [(item.type, item.id) for item in final.output]
    assert final.usage.total_tokens > 0


@pytest.mark.parametrize("preamble", [None, PREAMBLE], ids=["silent", "talking"])
@pytest.mark.parametrize("act", BAD[:3])
@pytest.mark.parametrize("group", ["native", "translated"])
def test_responses_are_rescued(
    proxy: Proxy, providers: SimulatedProviders, group: str, act: Act, preamble: str | None
) -> None:
    """Two bad calls give way to a good one, after the text that flowed; the response that ends it holds both."""
    behave(providers, group, act, preamble=preamble)
    providers.control.behave(f"{group}-1", calls=2)
    events, final = _responses(proxy, group, store=preamble is None)
    _is_whole(events, final)
    (call,) = (item for item in final.output if item.type == "function_call")
    assert json.loads(call.arguments).keys() == {"city", "days"}
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == call.arguments
    assert final.output_text == (preamble or "")
    if preamble is None:  # nothing was sent before: all of it is the other deployment's, by name too
        assert events[0].response.id == final.id
    assert asked(providers, (f"{group}-1", f"{group}-2")) == {f"{group}-1": 1, f"{group}-2": 1}
    eventually(lambda: judged(proxy, group, f"{group}-1")[1] >= 1, True)


@pytest.mark.parametrize(("group", "replaced"), [("native", False), ("translated", True)])
def test_a_stored_response_that_has_begun_is_not_replaced(
    proxy: Proxy, providers: SimulatedProviders, group: str, replaced: bool
) -> None:
    """Its id leads back to the bad call, and clients refuse a stream whose id changes; unless nobody stores it."""
    behave(providers, group, Act.INVALID_JSON, preamble=PREAMBLE)
    events, final = _responses(proxy, group, store=True)
    _is_whole(events, final)
    assert events[0].response.id == final.id
    assert final.output_text == PREAMBLE
    assert asked(providers, (f"{group}-1", f"{group}-2")) == {f"{group}-1": 1, f"{group}-2": int(replaced)}


@pytest.mark.parametrize("preamble", [None, PREAMBLE], ids=["silent", "talking"])
@pytest.mark.parametrize(
    ("group", "act"),
    [
        *itertools.product(["translated", "claude"], BAD),
        *(("native", act) for act in BAD[:3]),  # a response without a call does not say that it meant one
    ],
)
def test_messages_are_rescued(
    proxy: Proxy, providers: SimulatedProviders, group: str, act: Act, preamble: str | None
) -> None:
    """The same of the Messages API, whether LiteLLM translates the provider's chat or its Responses, or nothing."""
    behave(providers, group, act, preamble=preamble)
    events, final = _message(proxy, group)
    blocks = [event.index for event in events if event.type == "content_block_start"]
    assert blocks == list(range(len(final.content)))
    assert [event.index for event in events if event.type == "content_block_stop"] == blocks
    (call,) = (block for block in final.content if block.type == "tool_use")
    assert call.input.keys() == {"city", "days"}
    spoken = "".join(block.text for block in final.content if block.type == "text")
    assert spoken == (preamble or "")
    assert final.stop_reason == "tool_use"
    assert final.usage.input_tokens > 0
    assert final.usage.output_tokens > 0
    assert asked(providers, (f"{group}-1", f"{group}-2")) == {f"{group}-1": 1, f"{group}-2": 1}
    eventually(lambda: judged(proxy, group, f"{group}-2")[0] >= 1, True)


@pytest.mark.parametrize("second", [Act.INVALID_JSON, Act.TRUNCATED, 404])
@pytest.mark.parametrize("group", ["native", "translated", "claude"])
def test_events_come_as_they_were_without_a_valid_answer(
    proxy: Proxy, providers: SimulatedProviders, group: str, second: Any
) -> None:
    """The bad call arrives whole, in the events of its own stream."""
    behave(providers, group, Act.VALID, second)
    providers.control.behave(f"{group}-1", arguments='{"city": 1}', preamble=PREAMBLE)
    _, message = _message(proxy, group)
    assert [(block.type, getattr(block, "input", None)) for block in message.content] == [
        ("text", None),
        ("tool_use", {"city": 1}),
    ]
    if group != "claude":
        events, response = _responses(proxy, group)
        _is_whole(events, response)
        assert [getattr(item, "arguments", None) for item in response.output] == [None, '{"city": 1}']
    assert asked(providers, [f"{group}-2"])[f"{group}-2"] == (1 if group == "claude" else 2)


@pytest.mark.parametrize("act", [Act.VALID, Act.TEXT, Act.TRUNCATED, Act.DUPLICATE_IDS])
@pytest.mark.parametrize("group", ["native", "translated", "claude"])
def test_nothing_else_is_replaced(proxy: Proxy, providers: SimulatedProviders, group: str, act: Act) -> None:
    """Good calls, text and an answer cut short come as they are, and nobody else is asked."""
    behave(providers, group, act)
    body: dict[str, Any] = {"model": group, "stream": True}
    with proxy.anthropic() as client:
        create: Any = client.messages.create
        kinds = [event.type for event in create(**body, max_tokens=500, messages=MESSAGES, tools=MESSAGES_TOOLS)]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    if group != "claude":
        responses: Any = proxy.client().responses.create
        events = list(responses(**body, input="Weather?", tools=RESPONSES_TOOLS))
        assert events[0].type == "response.created"
        assert events[-1].type == ("response.incomplete" if act is Act.TRUNCATED else "response.completed")
    assert asked(providers, [f"{group}-2"]) == {f"{group}-2": 0}

"""Streams are read as they pass to the client, unchanged, and an error of the plugin ends the reading only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.scoring.answers.chat_stream import join_chunks
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.scoring.finish_reasons import observe_mapping
from exacto_plugin.litellm_hooks.scoring.seen_streams import (
    EventReader,
    native_reasons,
    seen_calls,
    watch_chunks,
    watch_events,
    watch_stream,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BLOCK = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
EVENTS = (
    {"type": "content_block_start", "index": 0, "content_block": BLOCK},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
)
BYTES = b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in EVENTS)


@pytest.fixture
def attempt() -> Iterator[Attempt]:
    """The attempt of the current request, which offers tools."""
    made = Attempt(Candidate(LiteLLMId("id"), DeploymentKey("key")), "g")
    token = CURRENT.set(RequestState(tools=True, attempts=[made]))
    yield made
    CURRENT.reset(token)


@pytest.fixture
def faults() -> FaultReporter:
    """Counts the plugin's errors."""
    return FaultReporter(lambda _stage: None)


def details() -> dict[str, Any]:
    """LiteLLM's details of the current attempt."""
    return {LOG_KEY: CURRENT.get(), "litellm_params": {"model_info": {"id": "id"}}}


async def _stream(*chunks: Any) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_bytes_of_messages_may_end_anywhere(attempt: Attempt, size: int, faults: FaultReporter) -> None:
    """The client gets the same pieces, and the call is put together from them."""
    pieces = [BYTES[at : at + size] for at in range(0, len(BYTES), size)]
    passed = [piece async for piece in watch_events(_stream(*pieces), "messages", faults)]
    assert passed == pieces
    seen = seen_calls(details())
    assert seen is not None
    assert seen.calls == (ToolCall("f", '{"a": 1}'),)
    assert seen.reasons == {"end_turn"}
    assert attempt.stream is not None


async def test_events_of_responses_are_read(attempt: Attempt, faults: FaultReporter) -> None:
    """Objects instead of bytes."""
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    event = {"type": "response.output_item.done", "output_index": 0, "item": item}
    assert [one async for one in watch_events(_stream(event), "responses", faults)] == [event]
    seen = seen_calls(details())
    assert seen is not None
    assert seen.calls == (ToolCall("f", "{}"),)


async def test_an_error_of_the_plugin_ends_the_reading_only(
    attempt: Attempt, faults: FaultReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest passes unread, and LiteLLM's own answer counts."""
    stream = watch_events(_stream(b"1", b"2"), "messages", faults)
    monkeypatch.setattr(type(attempt.stream), "feed", lambda *_: 1 / 0)
    assert [piece async for piece in stream] == [b"1", b"2"]
    assert seen_calls(details()) is None


def test_chunks_of_chat_are_those_of_litellm(attempt: Attempt) -> None:
    """They are read when the answer is judged; a stream that keeps none is not read."""

    class Stream:
        chunks: list[Any]

    stream = Stream()
    watch_chunks(stream)
    assert seen_calls(details()) is None
    stream.chunks = []
    watch_chunks(stream)
    function = {"name": "f", "arguments": "{}"}
    stream.chunks.append({"choices": [{"index": 0, "delta": {"tool_calls": [{"function": function}]}}]})
    seen = seen_calls(details())
    assert seen is not None
    assert seen.calls == (ToolCall("f", "{}"),)


def test_chunks_of_synchronous_chat_are_kept_where_litellm_keeps_none(attempt: Attempt, faults: FaultReporter) -> None:
    """The compiled router's synchronous stream has a list of chunks that stays empty."""

    class Stream:
        chunks: tuple[Any, ...] = ()
        logging_obj = "theirs"

        def __iter__(self) -> Iterator[Any]:
            yield {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]}

    stream = watch_stream(Stream(), "chat", faults, synchronous=True)
    assert stream.logging_obj == "theirs"
    assert len(list(stream)) == 1
    seen = seen_calls(details())
    assert seen is not None
    assert seen.calls == (ToolCall("f", "{}"),)


async def test_requests_without_tools_are_read_too(attempt: Attempt, faults: FaultReporter) -> None:
    """Their answers may be broken as well; an error that the provider reports in a stream is told, once or more."""
    state = CURRENT.get()
    assert state is not None
    state.tools = False
    told: list[Attempt] = []
    error = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n'
    passed = [one async for one in watch_events(_stream(BYTES, error), "messages", faults, told.append)]
    assert passed == [BYTES, error]
    assert told == [attempt]
    assert isinstance(attempt.stream, EventReader)


async def test_chunks_of_text_completions_are_kept(attempt: Attempt, faults: FaultReporter) -> None:
    """LiteLLM's own stream of them keeps none."""
    chunk = {"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]}
    assert [one async for one in watch_stream(_stream(chunk), "text", faults)] == [chunk]
    seen = seen_calls(details())
    assert seen is not None
    assert seen.reasons == {"stop"}


def test_reasons_of_streams_are_noted_as_the_provider_wrote_them(attempt: Attempt) -> None:
    """Only where LiteLLM's differ; those of whole answers are in the answer."""
    mapped = observe_mapping(lambda reason: {"model_length": "stop", "stop": "stop"}.get(reason, "stop"))
    assert [mapped("model_length"), mapped("stop"), mapped(None)] == ["stop"] * 3
    assert list(native_reasons(details(), None)) == []
    attempt.stream = object()  # type: ignore[assignment]
    assert list(native_reasons(details(), None)) == ["model_length"]


def test_chunks_of_litellms_own_class_are_joined_as_plain_ones_are() -> None:
    """Chunks of text only are passed over; calls, ends and further choices beside them are not."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"content": "Sunny", "role": "assistant"}, None),
        ({"content": None, "tool_calls": [call]}, None),
        ({"content": " today."}, None),
        ({"function_call": {"name": "g", "arguments": "{}"}}, None),
        ({}, "tool_calls"),
    ]
    chunks: list[Any] = [
        ModelResponseStream(choices=[StreamingChoices(index=0, delta=Delta(**delta), finish_reason=reason)])
        for delta, reason in deltas
    ]
    two = [StreamingChoices(index=place, delta=Delta(**deltas[place][0])) for place in (0, 1)]
    chunks += [ModelResponseStream(choices=two), ModelResponseStream(choices=[])]
    found = join_chunks(chunks)
    assert found == join_chunks([one.model_dump() for one in chunks])
    assert [[one.name for one in group] for group in found.groups] == [["f", "g"], ["f"]]
    assert found.reasons == {"tool_calls"}

"""Rescue of event streams: cut anywhere, they arrive as they were sent, or with one other answer whole at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import strategies as st
from litellm.types.llms.openai import GenericEvent, ResponsesAPIResponse
from pydantic import TypeAdapter

from exacto_plugin.demo.answer import Call, ChatRequest, Finish, SimulatedAnswer
from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.messages import message_events, whole_message
from exacto_plugin.demo.responses import response_events, whole_response
from exacto_plugin.litellm_hooks.rescue.messages import MessagesBuffer
from exacto_plugin.litellm_hooks.rescue.responses import ResponsesBuffer
from exacto_plugin.litellm_hooks.scoring.response import parse_response
from exacto_plugin.litellm_hooks.sse import event_data, split_events
from tests.fuzz.examples import fuzz

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.rescue.streams import StreamBuffer

ASK = ChatRequest("kimi")
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_arguments = st.sampled_from(['{"a": 1}', '{"a": "\\n\\n"}', "{}", '{"a"', "", "[]"]) | _texts
_objects = st.sampled_from(['{"a": 1}', "{}", '{"a": {"b": [null]}}'])


@st.composite
def said(draw: st.DrawFn, arguments: st.SearchStrategy[str] = _arguments) -> SimulatedAnswer:
    """An answer with text, calls, or both."""
    drawn = draw(st.lists(st.tuples(st.sampled_from(["f", "g"]), arguments), max_size=3))
    calls = tuple(Call(f"call_{place}", *one) for place, one in enumerate(drawn))
    finish = draw(st.sampled_from([Finish.CALLS, Finish.LENGTH])) if calls else Finish.STOP
    return SimulatedAnswer(Act.VALID, draw(_texts), calls, finish, 7, 5)


def _read(holding: StreamBuffer, chunks: list[Any]) -> list[Any]:
    pieces = [piece for chunk in chunks for piece in holding.feed(chunk)]
    return [*pieces, *holding.flush()]


def _cut(data: st.DataObject, whole: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def _snapshot(pieces: list[bytes]) -> Any:
    """What Anthropic's client makes of a stream."""
    events, rest = split_events(b"".join(pieces))
    assert rest == b""
    snapshot: Any = None
    for event in events:
        read = EVENT.validate_python(orjson.loads(event_data(event) or b""))
        if read.type != "message_stop":
            snapshot = accumulate_event(event=read, current_snapshot=snapshot, json_bufs={})
    return snapshot


@fuzz(said(), st.data())
def test_messages_that_nobody_replaces_arrive_byte_by_byte(answer: SimulatedAnswer, data: st.DataObject) -> None:
    """However the bytes are cut, all of them arrive, in their order, and the call is judged as it was sent."""
    wire = b"".join(event.encoded() for event in message_events(answer, ASK, "1"))
    holding = MessagesBuffer()
    assert b"".join(_read(holding, _cut(data, wire))) == wire
    assert holding.ended == bool(answer.calls)
    assert holding.has_sent_text == bool(answer.content)
    if answer.calls:
        told = parse_response({}, holding.answer()).calls
        assert [(call.name, call.arguments or "") for call in told] == [(c.name, c.arguments) for c in answer.calls]


@fuzz(said(), said(_objects), st.data())
def test_a_better_message_ends_the_stream(answer: SimulatedAnswer, other: SimulatedAnswer, data: st.DataObject) -> None:
    """The client gets the text so far and the other's blocks, numbered on, with the other's end and usage."""
    holding = MessagesBuffer()
    chunks = _cut(data, b"".join(event.encoded() for event in message_events(answer, ASK, "1")))
    pieces = [piece for chunk in chunks for piece in holding.feed(chunk)]
    if not holding.ended:
        return
    better = whole_message(other, ASK, "2")
    snapshot = _snapshot([*pieces, *holding.replacement(better)])
    blocks = [block.to_dict() for block in snapshot.content]
    texts = [answer.content] if answer.content else [other.content] if other.content else []
    assert [block["text"] for block in blocks if block["type"] == "text"] == texts
    assert [block["name"] for block in blocks if block["type"] == "tool_use"] == [call.name for call in other.calls]
    assert snapshot.stop_reason == better["stop_reason"]
    assert snapshot.usage.output_tokens == better["usage"]["output_tokens"]


def _events(answer: SimulatedAnswer, identity: str) -> list[Any]:
    events = []
    for event in response_events(answer, ASK, identity, 1):
        assert not isinstance(event.data, bytes)
        fields = dict(event.data)
        if "response" in fields:
            fields["response"] = ResponsesAPIResponse(**fields["response"])
        if "item" in fields:
            fields["item"] = GenericEvent(**fields["item"])
        events.append(GenericEvent(**fields))
    return events


@fuzz(said())
def test_responses_that_nobody_replaces_arrive_event_by_event(answer: SimulatedAnswer) -> None:
    """The same events in the same order under the same numbers."""
    events = _events(answer, "1")
    holding = ResponsesBuffer()
    assert _read(holding, events) == events
    assert holding.ended == bool(answer.calls)


@fuzz(said(), said())
def test_a_better_response_ends_the_stream(answer: SimulatedAnswer, other: SimulatedAnswer) -> None:
    """Items are numbered on, events too, and the last one holds all that was told."""
    holding = ResponsesBuffer()
    pieces = [piece for event in _events(answer, "1") for piece in holding.feed(event)]
    if not holding.ended or answer.finish is not Finish.CALLS:
        return
    better = ResponsesAPIResponse(**whole_response(other, ASK, "2", 1))
    pieces += holding.replacement(better)
    assert [piece.sequence_number for piece in pieces] == list(range(len(pieces)))
    items = [piece for piece in pieces if piece.type == "response.output_item.added"]
    assert [piece.output_index for piece in items] == list(range(len(items)))
    final = pieces[-1].response
    assert [item.id for item in final.output] == [piece.item.id for piece in items]
    called = [item.arguments for item in final.output if item.type == "function_call"]
    assert called == [call.arguments for call in other.calls]
    deltas = [piece.delta for piece in pieces if piece.type == "response.output_text.delta"]
    if answer.content or other.calls:
        assert "".join(deltas) == (answer.content or other.content)
    assert final.id == pieces[0].response.id == ("resp_1" if answer.content else better.id)


def test_an_error_releases_what_waits() -> None:
    """A message that breaks off inside a call arrives as far as it came, with the error."""
    call = SimulatedAnswer(Act.VALID, "", (Call("call_0", "f", '{"a": 1}'),), Finish.CALLS, 7, 5)
    *begun, _, _ = [event.encoded() for event in message_events(call, ASK, "1")]
    wire = [*begun, b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n', b": bye\n\n"]
    holding = MessagesBuffer()
    assert [piece for chunk in wire for piece in holding.feed(chunk)] == wire
    assert holding.flush() == []


def test_what_only_one_deployment_can_read_is_noticed() -> None:
    """A signed thought that the client has: another deployment's call would not go with it."""
    signed = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}
    holding = MessagesBuffer()
    holding.feed(b"data: " + orjson.dumps(signed) + b"\n\n")
    assert holding.has_sent_signature
    sealed = {"type": "reasoning", "id": "rs", "encrypted_content": "e"}
    responses = ResponsesBuffer()
    event: dict[str, Any] = {"type": "response.output_item.done", "output_index": 0, "item": GenericEvent(**sealed)}
    responses.feed(GenericEvent(**event))
    assert responses.has_sent_signature

"""The end that another deployment's answer puts to a stream, event by event."""

from __future__ import annotations

import json
from typing import Any

from litellm.types.llms.openai import GenericEvent, ResponsesAPIResponse

from exacto_plugin.litellm_hooks.rescue.messages import MessagesBuffer
from exacto_plugin.litellm_hooks.rescue.responses import ResponsesBuffer
from exacto_plugin.litellm_hooks.sse import event_data


def _event(**data: Any) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def test_no_count_of_the_replaced_message_stays() -> None:
    """Clients keep a number of ``message_start`` until another one comes: what the other answer lacks is 0."""
    started = {"input_tokens": 1, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 30, "output_tokens": 1}
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    buffer = MessagesBuffer()
    for event in (
        _event(type="message_start", message={"id": "m", "usage": {**started, "service_tier": "standard"}}),
        _event(type="content_block_start", index=0, content_block=block),
        _event(type="content_block_stop", index=0),
        _event(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}),
        _event(type="message_stop"),
    ):
        buffer.feed(event)
    priced = buffer.priced().usage
    assert (priced.prompt_tokens, priced.completion_tokens) == (431, 9)
    answer = {"content": [block], "stop_reason": "tool_use", "usage": {"input_tokens": 70, "output_tokens": 30}}
    (told,) = (
        json.loads(event_data(event) or b"") for event in buffer.replacement(answer) if b"message_delta" in event
    )
    assert told["usage"] == {
        "input_tokens": 70,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "output_tokens": 30,
    }


def _response(*output: Any) -> ResponsesAPIResponse:
    return ResponsesAPIResponse.model_validate({"id": "r", "created_at": 1, "output": output})


def _late_end(text: str) -> list[Any]:
    """A text and a call, as LiteLLM translates a chat: the text ends after the call."""
    message, call = {"type": "message", "id": "m"}, {"type": "function_call", "id": "f", "arguments": ""}
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response()},
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.output_text.delta", "output_index": 0, "delta": text},
        {"type": "response.output_item.added", "output_index": 1, "item": call},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{"},
        {"type": "response.output_text.done", "output_index": 0, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {"type": "response.output_item.done", "output_index": 1, "item": {**call, "arguments": "{"}},
        {"type": "response.completed", "response": _response(message, call)},
    ]
    return [GenericEvent.model_validate({**one, "sequence_number": number}) for number, one in enumerate(told)]


def test_the_end_of_a_text_waits_with_the_call_before_it() -> None:
    """A good call leaves the order as it was; another answer's call begins after the end of the text."""
    events = _late_end("Let me see.")
    kept, buffer = ResponsesBuffer(), ResponsesBuffer()
    now = [piece for event in events for piece in kept.feed(event)]
    assert [*now, *kept.flush()] == events
    now = [piece for event in events for piece in buffer.feed(event)]
    better = {"type": "function_call", "id": "g", "call_id": "c", "name": "f", "arguments": "{}"}
    told = [*now, *buffer.replacement(_response(better))]
    assert [event.sequence_number for event in told] == list(range(len(told)))
    assert [(event.type.removeprefix("response."), getattr(event, "output_index", None)) for event in told] == [
        ("created", None),
        ("output_item.added", 0),
        ("output_text.delta", 0),
        ("output_text.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("function_call_arguments.delta", 1),
        ("function_call_arguments.done", 1),
        ("output_item.done", 1),
        ("completed", None),
    ]


def test_numbers_of_a_stream_stay_as_they_came() -> None:
    """LiteLLM 1.106 begins at 1, leaves numbers out, and gives some events none or an earlier one."""
    events = _late_end("Let me see.")
    for event, number in zip(events, (1, 2, 4, 5, 6, None, None, 1, None), strict=True):
        event.sequence_number = number
    kept, buffer = ResponsesBuffer(), ResponsesBuffer()
    now = [piece.sequence_number for event in events for piece in kept.feed(event)]
    assert [*now, *(piece.sequence_number for piece in kept.flush())] == [1, 2, 4, 5, 6, None, None, 1, None]
    now = [piece.sequence_number for event in events for piece in buffer.feed(event)]
    better = _response({"type": "message", "id": "n", "content": []})
    told = [*now, *(piece.sequence_number for piece in buffer.replacement(better))]
    assert [number for number in told if number is not None] == sorted({number for number in told if number})


def test_text_after_a_call_is_sent_at_once_and_numbered_anew() -> None:
    """It overtakes what waits, so that all numbers follow the order in which the client gets the events."""
    events = _late_end("Let me see.")
    late = events[2].model_copy(update={"delta": " So.", "sequence_number": 5})
    buffer = ResponsesBuffer()
    now = [piece for event in (*events[:5], late, *events[5:]) for piece in buffer.feed(event)]
    assert [getattr(event, "delta", None) for event in now] == [None, None, "Let me see.", " So."]
    assert [event.sequence_number for event in (*now, *buffer.flush())] == list(range(len(events) + 1))

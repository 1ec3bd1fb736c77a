"""The end that another deployment's answer puts to a stream, event by event."""

from __future__ import annotations

import json
from typing import Any

from exacto_plugin.litellm_hooks.rescue.messages import MessagesBuffer
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

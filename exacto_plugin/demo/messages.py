"""Anthropic's Messages API on the wire, whole and streamed.

A whole answer carries a call's input as JSON, not as text, so it cannot contain broken JSON; it is sent as a string.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.demo.answer import ChatRequest, Finish, SimulatedAnswer
from exacto_plugin.demo.wire import StreamEvent, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FINISH: Final[Mapping[Finish, str]] = {
    Finish.STOP: "end_turn",
    Finish.CALLS: "tool_use",
    Finish.LENGTH: "max_tokens",
    Finish.ERROR: "error",
}


def whole_message(answer: SimulatedAnswer, ask: ChatRequest, identity: str) -> dict[str, Any]:
    """Return the body of an answer that is not streamed."""
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": identity})
    if answer.content:
        blocks.append({"type": "text", "text": answer.content})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)} for call in answer.calls
    ]
    usage = {"usage": _usage(answer)} if answer.reports_usage else {}
    return {**_head(ask, identity), "content": blocks, **_ending(answer), **usage}


def message_events(answer: SimulatedAnswer, ask: ChatRequest, identity: str) -> Iterator[StreamEvent]:
    """Yield a stream: start, blocks with their deltas, stop reason and usage, stop."""
    start = {**_head(ask, identity), "content": [], "stop_reason": None, "stop_sequence": None}
    begun = {"usage": {**_usage(answer), "output_tokens": 1}} if answer.reports_usage else {}
    yield _event("message_start", message={**start, **begun})
    blocks = 0
    if answer.reasoning:
        thinking = {"type": "thinking", "thinking": "", "signature": ""}
        yield _event("content_block_start", index=blocks, content_block=thinking)
        for piece in pieces(answer.reasoning):
            delta = {"type": "thinking_delta", "thinking": piece}
            yield _event("content_block_delta", len(piece), index=blocks, delta=delta)
        signature = {"type": "signature_delta", "signature": identity}
        yield _event("content_block_delta", index=blocks, delta=signature)
        yield _event("content_block_stop", index=blocks)
        blocks += 1
    if answer.content:
        yield _event("content_block_start", index=blocks, content_block={"type": "text", "text": ""})
        for piece in pieces(answer.content):
            delta = {"type": "text_delta", "text": piece}
            yield _event("content_block_delta", len(piece), index=blocks, delta=delta)
        yield _event("content_block_stop", index=blocks)
        blocks += 1
    for index, call in enumerate(answer.calls, blocks):
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield _event("content_block_start", len(call.name), names_tool=True, index=index, content_block=block)
        for piece in pieces(call.arguments):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield _event("content_block_delta", len(piece), index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    counted: dict[str, Any] = {"usage": {"output_tokens": answer.completion_tokens}} if answer.reports_usage else {}
    yield _event("message_delta", delta=_ending(answer), **counted)
    yield _event("message_stop")


def _event(name: str, characters: int = 0, *, names_tool: bool = False, **data: Any) -> StreamEvent:
    return StreamEvent({"type": name, **data}, name, characters, names_tool)


def _head(ask: ChatRequest, identity: str) -> dict[str, Any]:
    return {"id": f"msg_{identity}", "type": "message", "role": "assistant", "model": ask.model}


def _ending(answer: SimulatedAnswer) -> dict[str, Any]:
    return {"stop_reason": _FINISH[answer.finish], "stop_sequence": None}


def _usage(answer: SimulatedAnswer) -> dict[str, Any]:
    return {
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": answer.completion_tokens,
    }


def _input(arguments: str) -> Any:
    try:
        return json.loads(arguments) if arguments else {}
    except ValueError:
        return arguments

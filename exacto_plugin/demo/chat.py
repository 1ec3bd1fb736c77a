"""OpenAI's chat and text completions on the wire, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.demo.answer import ChatRequest, Finish, SimulatedAnswer
from exacto_plugin.demo.wire import DONE, StreamEvent, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FINISH: Final[Mapping[Finish, str]] = {
    Finish.STOP: "stop",
    Finish.CALLS: "tool_calls",
    Finish.LENGTH: "length",
    Finish.ERROR: "error",
}


def usage(answer: SimulatedAnswer) -> dict[str, Any]:
    """Return the usage object of chat and text completions."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }


def _reported(answer: SimulatedAnswer) -> dict[str, Any]:
    return {"usage": usage(answer)} if answer.reports_usage else {}


def whole_chat(answer: SimulatedAnswer, ask: ChatRequest, identity: str, created: int) -> dict[str, Any]:
    """Return the body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content or None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[answer.finish]}
    head = {"id": f"chatcmpl-{identity}", "object": "chat.completion", "created": created, "model": ask.model}
    return {**head, "choices": [choice], **_reported(answer)}


def chat_events(answer: SimulatedAnswer, ask: ChatRequest, identity: str, created: int) -> Iterator[StreamEvent]:
    """Yield a stream: role, text, calls, finish reason, usage if requested.

    Each call is sent as its name first and then its arguments.
    """
    head = {"id": f"chatcmpl-{identity}", "object": "chat.completion.chunk", "created": created, "model": ask.model}

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    yield StreamEvent(chunk({"role": "assistant", "content": None if answer.calls else ""}))
    for piece in pieces(answer.reasoning):
        yield StreamEvent(chunk({"reasoning_content": piece}), characters=len(piece))
    for piece in pieces(answer.content):
        yield StreamEvent(chunk({"content": piece}), characters=len(piece))
    for index, call in enumerate(answer.calls):
        first = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield StreamEvent(chunk({"tool_calls": [first]}), characters=len(call.name), names_tool=True)
        for piece in pieces(call.arguments):
            yield StreamEvent(
                chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}), characters=len(piece)
            )
    yield StreamEvent(chunk({}, _FINISH[answer.finish]))
    if ask.include_usage and answer.reports_usage:
        yield StreamEvent({**head, "choices": [], "usage": usage(answer)})
    yield StreamEvent(DONE)


def whole_text(answer: SimulatedAnswer, ask: ChatRequest, identity: str, created: int) -> dict[str, Any]:
    """Return the body of a text completion that is not streamed."""
    choice = {"index": 0, "text": answer.content, "logprobs": None, "finish_reason": _FINISH[answer.finish]}
    head = {"id": f"cmpl-{identity}", "object": "text_completion", "created": created, "model": ask.model}
    return {**head, "choices": [choice], **_reported(answer)}


def text_events(answer: SimulatedAnswer, ask: ChatRequest, identity: str, created: int) -> Iterator[StreamEvent]:
    """Yield a streamed text completion."""
    head = {"id": f"cmpl-{identity}", "object": "text_completion", "created": created, "model": ask.model}

    def chunk(text: str, finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]}

    for piece in pieces(answer.content):
        yield StreamEvent(chunk(piece), characters=len(piece))
    yield StreamEvent(chunk("", _FINISH[answer.finish]))
    if ask.include_usage and answer.reports_usage:
        yield StreamEvent({**head, "choices": [], "usage": usage(answer)})
    yield StreamEvent(DONE)

"""OpenAI's Responses API on the wire, whole and streamed.

LiteLLM calls it for its own ``/v1/responses`` and more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from exacto_plugin.demo.answer import Call, ChatRequest, Finish, SimulatedAnswer
from exacto_plugin.demo.wire import StreamEvent, pieces

_STATUS: Final[Mapping[Finish, str]] = {Finish.LENGTH: "incomplete", Finish.ERROR: "failed"}
"""The status of an answer that is not completed."""


def whole_response(answer: SimulatedAnswer, ask: ChatRequest, identity: str, created: int) -> dict[str, Any]:
    """Return the body of an answer that is not streamed."""
    status = _STATUS.get(answer.finish, "completed")
    items = [_call_item(call, status) for call in answer.calls]
    if _has_message(answer):
        items.insert(0, _message_item(identity, answer.content, "completed" if items else status))
    if answer.reasoning:
        items.insert(0, _reasoning_item(identity, answer.reasoning))
    return {**_head(ask, identity, created), "output": items, **_ending(answer, status)}


def response_events(answer: SimulatedAnswer, ask: ChatRequest, identity: str, created: int) -> Iterator[StreamEvent]:
    """Yield a stream: created, items with deltas, completed or incomplete; numbered."""
    for number, event in enumerate(_events(answer, ask, identity, created)):
        assert isinstance(event.data, Mapping)
        data = {"type": event.name, "sequence_number": number, **event.data}
        yield StreamEvent(data, event.name, event.characters, event.names_tool)


def _events(answer: SimulatedAnswer, ask: ChatRequest, identity: str, created: int) -> Iterator[StreamEvent]:
    started = {**_head(ask, identity, created), "output": [], "status": "in_progress", "usage": None}
    yield StreamEvent({"response": started}, "response.created")
    yield StreamEvent({"response": started}, "response.in_progress")
    status = _STATUS.get(answer.finish, "completed")
    told = int(bool(answer.reasoning))
    if told:
        yield from _reasoning_events(answer.reasoning, identity)
    if _has_message(answer):
        yield from _message_events(answer.content, identity, "completed" if answer.calls else status, told)
        told += 1
    for index, call in enumerate(answer.calls, told):
        yield from _call_events(call, index, status)
    yield StreamEvent({"response": whole_response(answer, ask, identity, created)}, f"response.{status}")


def _call_events(call: Call, index: int, status: str) -> Iterator[StreamEvent]:
    begun = {**_call_item(call, "in_progress"), "arguments": ""}
    where = {"output_index": index, "item_id": begun["id"]}
    yield StreamEvent(
        {"output_index": index, "item": begun}, "response.output_item.added", len(call.name), names_tool=True
    )
    for piece in pieces(call.arguments):
        yield StreamEvent({**where, "delta": piece}, "response.function_call_arguments.delta", len(piece))
    done = {**where, "name": call.name, "arguments": call.arguments}
    yield StreamEvent(done, "response.function_call_arguments.done")
    yield StreamEvent({"output_index": index, "item": _call_item(call, status)}, "response.output_item.done")


def _has_message(answer: SimulatedAnswer) -> bool:
    """Return whether there is a message; it is empty where there is nothing else."""
    return bool(answer.content) or not (answer.calls or answer.reasoning)


def _reasoning_item(identity: str, text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": f"rs_{identity}", "summary": [{"type": "summary_text", "text": text}]}


def _reasoning_events(text: str, identity: str) -> Iterator[StreamEvent]:
    item = _reasoning_item(identity, text)
    where = {"output_index": 0, "item_id": item["id"], "summary_index": 0}
    yield StreamEvent({"output_index": 0, "item": {**item, "summary": []}}, "response.output_item.added")
    part = {"type": "summary_text", "text": ""}
    yield StreamEvent({**where, "part": part}, "response.reasoning_summary_part.added")
    for piece in pieces(text):
        yield StreamEvent({**where, "delta": piece}, "response.reasoning_summary_text.delta", len(piece))
    yield StreamEvent({**where, "text": text}, "response.reasoning_summary_text.done")
    yield StreamEvent({**where, "part": {**part, "text": text}}, "response.reasoning_summary_part.done")
    yield StreamEvent({"output_index": 0, "item": item}, "response.output_item.done")


def _message_events(content: str, identity: str, status: str, place: int = 0) -> Iterator[StreamEvent]:
    item = _message_item(identity, content, status)
    where = {"output_index": place, "item_id": item["id"], "content_index": 0}
    begun = {**item, "content": [], "status": "in_progress"}
    yield StreamEvent({"output_index": place, "item": begun}, "response.output_item.added")
    yield StreamEvent({**where, "part": _part("")}, "response.content_part.added")
    for piece in pieces(content):
        yield StreamEvent({**where, "delta": piece, "logprobs": []}, "response.output_text.delta", len(piece))
    yield StreamEvent({**where, "text": content, "logprobs": []}, "response.output_text.done")
    yield StreamEvent({**where, "part": _part(content)}, "response.content_part.done")
    yield StreamEvent({"output_index": place, "item": item}, "response.output_item.done")


def _head(ask: ChatRequest, identity: str, created: int) -> dict[str, Any]:
    return {
        "id": f"resp_{identity}",
        "object": "response",
        "created_at": created,
        "model": ask.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def _ending(answer: SimulatedAnswer, status: str) -> dict[str, Any]:
    cut = status == "incomplete"
    usage = {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    failed = {"error": {"code": "server_error", "message": "simulated failure"}} if status == "failed" else {}
    return {
        "status": status,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        **failed,
        **({"usage": usage} if answer.reports_usage else {}),
    }


def _call_item(call: Call, status: str) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{call.id}",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": status,
    }


def _message_item(identity: str, content: str, status: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{identity}",
        "role": "assistant",
        "content": [_part(content)],
        "status": status,
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

"""Answers that are odd and good, from ``tests/data/odd_answers.jsonl``, in LiteLLM's form for each surface.

Short ones, emoji, other scripts, code, talk about errors and tokens, refusals, calls only, reasoning with text, and
what a caller asked for: stop sequences, token limits, a begun answer, a text to repeat.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litellm import ModelResponse, TextCompletionResponse, Usage
from litellm.types.llms.openai import ResponsesAPIResponse
from litellm.types.utils import ModelResponseStream

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).parents[1] / "data" / "odd_answers.jsonl"
PIECE = 3
_FINISH = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal", "tool_calls": "tool_use"}


@dataclass(frozen=True)
class OddAnswer:
    """One answer, with what its request had."""

    kind: str
    text: str
    reasoning: str = ""
    refusal: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    finish: str = "stop"
    request: dict[str, Any] = field(default_factory=dict)
    asked: str = "Who was Ada Lovelace?"
    begun: str = ""

    @property
    def reason(self) -> str:
        """The finish reason of chat."""
        return "tool_calls" if self.calls else {"filter": "content_filter"}.get(self.finish, self.finish)

    @property
    def pieces(self) -> list[str]:
        """The text as a stream brings it."""
        return [self.text[place : place + PIECE] for place in range(0, len(self.text), PIECE)]

    def details(self, call_type: str, *, stream: bool) -> dict[str, Any]:
        """LiteLLM's ``model_call_details``."""
        messages = [{"role": "user", "content": self.asked}]
        if self.begun:
            messages.append({"role": "assistant", "content": self.begun})
        return {"call_type": call_type, "stream": stream, "messages": messages, "optional_params": dict(self.request)}


def odd_answers() -> list[OddAnswer]:
    """All of them."""
    return [OddAnswer(**json.loads(line)) for line in FILE.read_text().splitlines()]


def chat(answer: OddAnswer) -> ModelResponse:
    """A chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = [
            {"id": f"c{place}", "type": "function", "function": call} for place, call in enumerate(answer.calls)
        ]
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.refusal:
        message["refusal"] = answer.refusal
    choice = {"index": 0, "message": message, "finish_reason": answer.reason}
    return ModelResponse(choices=[choice], usage=Usage(prompt_tokens=9, completion_tokens=4, total_tokens=13))


def chat_chunks(answer: OddAnswer) -> list[ModelResponseStream]:
    """Its stream."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": answer.reasoning}] if answer.reasoning else []
    deltas += [{"refusal": answer.refusal}] if answer.refusal else []
    deltas += [{"content": piece} for piece in answer.pieces]
    for place, call in enumerate(answer.calls):
        deltas.append({"tool_calls": [{"index": place, "id": f"c{place}", "type": "function", "function": call}]})
    chunks = [ModelResponseStream(choices=[{"index": 0, "delta": delta}]) for delta in deltas]  # type: ignore[list-item]
    end = {"index": 0, "delta": {}, "finish_reason": answer.reason}
    return [*chunks, ModelResponseStream(choices=[end])]  # type: ignore[list-item]


def text(answer: OddAnswer) -> TextCompletionResponse:
    """A text completion, which has neither calls nor reasoning."""
    choice = {"index": 0, "text": answer.text, "finish_reason": answer.reason}
    made = TextCompletionResponse(choices=[choice])
    made.usage = Usage(prompt_tokens=9, completion_tokens=4, total_tokens=13)
    return made


def response(answer: OddAnswer) -> ResponsesAPIResponse:
    """A response."""
    items: list[dict[str, Any]] = []
    if answer.reasoning:
        items.append({"type": "reasoning", "id": "r", "summary": []})
    parts: list[dict[str, Any]] = (
        [{"type": "output_text", "text": answer.text, "annotations": []}] if answer.text else []
    )
    parts += [{"type": "refusal", "refusal": answer.refusal}] if answer.refusal else []
    items.append({"type": "message", "id": "m", "role": "assistant", "content": parts, "status": "completed"})
    items += [
        {"type": "function_call", "id": f"f{place}", "call_id": f"c{place}", **call}
        for place, call in enumerate(answer.calls)
    ]
    cut = {"length": "max_output_tokens", "filter": "content_filter"}.get(answer.finish)
    more = {"status": "incomplete", "incomplete_details": {"reason": cut}} if cut else {"status": "completed"}
    usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
    return ResponsesAPIResponse(id="r", created_at=1, output=items, usage=usage, object="response", **more)  # type: ignore[arg-type]


def response_events(answer: OddAnswer) -> list[dict[str, Any]]:
    """Its stream."""
    whole = response(answer).model_dump()
    done = [
        {"type": "response.output_item.done", "output_index": place, "item": item}
        for place, item in enumerate(whole["output"])
    ]
    return [*done, {"type": "response.completed", "response": whole}]


def message(answer: OddAnswer) -> dict[str, Any]:
    """A message."""
    blocks = list(_blocks(answer))
    usage = {"input_tokens": 9, "output_tokens": 4}
    reason = "refusal" if answer.refusal else _FINISH[answer.finish if not answer.calls else "tool_calls"]
    return {"type": "message", "role": "assistant", "content": blocks, "stop_reason": reason, "usage": usage}


def message_events(answer: OddAnswer) -> Iterator[bytes]:
    """Its stream."""
    whole = message(answer)
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**whole, "content": []}}]
    for place, block in enumerate(whole["content"]):
        kind = block["type"]
        name = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}[kind]
        deltas = answer.pieces if kind == "text" else [block.get("thinking") or json.dumps(block.get("input"))]
        type_ = {"text": "text_delta", "thinking": "thinking_delta"}.get(kind, "input_json_delta")
        start = {**block, **({"text": ""} if kind == "text" else {}), **({"input": {}} if kind == "tool_use" else {})}
        events.append({"type": "content_block_start", "index": place, "content_block": start})
        events += [
            {"type": "content_block_delta", "index": place, "delta": {"type": type_, name: delta}} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": place})
    end = {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}, "usage": whole["usage"]}
    for event in [*events, end, {"type": "message_stop"}]:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _blocks(answer: OddAnswer) -> Iterator[dict[str, Any]]:
    if answer.reasoning:
        yield {"type": "thinking", "thinking": answer.reasoning, "signature": "s"}
    if answer.text or answer.refusal:
        yield {"type": "text", "text": answer.text or answer.refusal}
    for place, call in enumerate(answer.calls):
        yield {"type": "tool_use", "id": f"c{place}", "name": call["name"], "input": json.loads(call["arguments"])}

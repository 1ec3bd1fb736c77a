"""Answers with tool calls, and the ways in which a provider may cut them into the chunks of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from litellm import ModelResponse
from litellm.types.utils import ModelResponseStream

from exacto_plugin.core.scoring.evaluation import ToolCall

TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}},
    {"type": "function", "function": {"name": "g", "parameters": {"required": ["b"], "type": "object"}}},
]
_HEAD: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o"}


@dataclass(frozen=True)
class Said:
    """One answer, before it is put into any form."""

    calls: tuple[ToolCall, ...]
    content: str
    finish: str


_arguments = st.sampled_from(['{"a": 1}', '{"a": "x"}', "{}", '{"b": null}', '{"a": 1', "", " ", "[]", "{}{}", "null"])
_calls = st.builds(ToolCall, st.sampled_from(["f", "g", "h"]), _arguments | st.text(max_size=6))
answers = st.builds(
    Said,
    st.lists(_calls, max_size=3).map(tuple),
    st.text(max_size=5),
    st.sampled_from(["tool_calls", "tool_calls", "stop", "length", "content_filter"]),
)


def whole(said: Said) -> ModelResponse:
    """The answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": said.content or None}
    if said.calls:
        message["tool_calls"] = [
            {"id": f"call_{place}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for place, call in enumerate(said.calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": said.finish}
    return ModelResponse(**_HEAD, object="chat.completion", choices=[choice])


def _pieces(draw: st.DrawFn, text: object) -> list[str]:
    assert isinstance(text, str)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def chunked(draw: st.DrawFn, said: Said) -> list[ModelResponseStream]:
    """The same answer in chunks: text, then calls one after the other or in turns, each begun by its name."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}] if draw(st.booleans()) else []
    deltas += [{"content": piece} for piece in _pieces(draw, said.content)] if said.content else []
    queues: list[list[dict[str, Any]]] = []
    for place, call in enumerate(said.calls):
        first, *rest = _pieces(draw, call.arguments)
        begin = {"index": place, "id": f"call_{place}", "type": "function"}
        queues.append([{**begin, "function": {"name": call.name, "arguments": first}}])
        queues[-1] += [{"index": place, "function": {"arguments": piece}} for piece in rest]
    mixed, at_once = draw(st.booleans()), draw(st.booleans())
    while any(queues):
        ready = [queue for queue in queues if queue]
        place = draw(st.integers(0, len(ready) - 1)) if mixed else 0
        deltas.append({"tool_calls": [ready[place].pop(0)]})
    # The reason may come by itself or with the last piece.
    if deltas and at_once:
        parts = [(delta, None) for delta in deltas[:-1]] + [(deltas[-1], said.finish)]
    else:
        parts = [(delta, None) for delta in deltas] + [({}, said.finish)]
    choices: list[list[Any]] = [[{"index": 0, "delta": delta, "finish_reason": finish}] for delta, finish in parts]
    return [ModelResponseStream(**_HEAD, choices=each) for each in choices]

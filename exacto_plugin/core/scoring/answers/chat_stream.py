"""Joins the chunks of a chat stream to tool calls, as clients do.

A delta belongs to the call of its ``index``; without one, to the call of its ``id``, and without that to the call at
its place in the chunk. An id is optional. A name may arrive in pieces, and some servers repeat it in every chunk.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.core.scoring.answers.calls import AnswerCalls
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.fields import get_field, get_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_USAGE_CHUNKS: Final = 8
"""Chunks at the end of a stream in which its usage is looked for."""


class _JoinedCall:
    """One call, as far as its deltas have arrived."""

    __slots__ = ("arguments", "custom", "id", "name")

    def __init__(self) -> None:
        self.name = ""
        self.id = ""
        self.custom = False
        self.arguments: list[str] = []

    def add(self, delta: Any, identity: str, *, custom: bool = False) -> None:
        self.id = self.id or identity
        self.custom = self.custom or custom
        self.name = _continued(self.name, get_text(delta, "name"))
        piece = get_field(delta, "input" if custom else "arguments")
        if piece is not None:
            self.arguments.append(piece if isinstance(piece, str) else json.dumps(piece, default=str))

    def call(self) -> ToolCall:
        return ToolCall(self.name, "".join(self.arguments), self.id, custom=self.custom)


def _continued(name: str, piece: str) -> str:
    """Return a name with its next piece, which may be the name once more."""
    if piece == name:
        return name
    return piece if name and piece.startswith(name) else name + piece


def join_chunks(chunks: Sequence[Any]) -> AnswerCalls:
    """Return the calls of a stream.

    Args:
        chunks: in their order, in OpenAI's form.
    """
    choices: dict[int, dict[object, _JoinedCall]] = {}
    reasons: set[str] = set()
    for chunk in chunks:
        if _has_text_only(chunk):
            continue
        for choice in get_field(chunk, "choices") or ():
            reason = get_field(choice, "finish_reason")
            if isinstance(reason, str) and reason:
                reasons.add(reason)
            delta = get_field(choice, "delta")
            if not (get_field(delta, "tool_calls") or get_field(delta, "function_call") is not None):
                continue  # text, as in most chunks
            for key, piece, identity, custom in _pieces(delta):
                calls = choices.setdefault(get_field(choice, "index") or 0, {})
                calls.setdefault(key, _JoinedCall()).add(piece, identity, custom=custom)
    tokens = _output_tokens(chunks)
    groups = tuple(tuple(each.call() for each in calls.values()) for _, calls in sorted(choices.items()))
    return AnswerCalls(groups, reasons=frozenset(reasons), output_tokens=tokens, estimated=tokens is None)


def _has_text_only(chunk: Any) -> bool:
    """Check for a chunk of LiteLLM's own class whose choice neither calls nor ends.

    False for any other form. Most chunks have one such choice. A stream of 300 is joined in 90 us of processor time,
    without this check in 280.
    """
    try:
        (choice,) = chunk.__dict__["choices"]
        known = choice.__pydantic_extra__ or choice.__dict__
        more = known["delta"].__pydantic_extra__
        return known["finish_reason"] is None and more["tool_calls"] is None and more["function_call"] is None
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _output_tokens(chunks: Sequence[Any]) -> int | None:
    """Return the tokens that a stream reports, which it does at its end."""
    counts = (get_field(get_field(chunk, "usage"), "completion_tokens") for chunk in reversed(chunks[-_USAGE_CHUNKS:]))
    return next((count for count in counts if isinstance(count, int)), None)


def _pieces(delta: Any) -> Iterator[tuple[object, Any, str, bool]]:
    """Yield the parts of a delta: call key, piece, id, and if it is custom."""
    for place, call in enumerate(get_field(delta, "tool_calls") or ()):
        index, identity = get_field(call, "index"), get_text(call, "id")
        key = index if isinstance(index, int) else identity or place
        function, custom = get_field(call, "function"), get_field(call, "custom")
        if function is not None:
            yield key, function, identity, False
        elif custom is not None:
            yield key, custom, identity, True
    legacy = get_field(delta, "function_call")
    if legacy is not None:
        yield "function_call", legacy, "", False

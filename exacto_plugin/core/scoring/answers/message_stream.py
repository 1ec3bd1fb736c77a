"""Joins the events of a Messages stream to tool calls, block by block.

The arguments of a call are the pieces of its block; without any, the input at the start of the block. Stores no text
of an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from exacto_plugin.core.scoring.answers.calls import CALL_BLOCK, AnswerCalls, is_providers_block
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.fields import get_field, get_text

if TYPE_CHECKING:
    from collections.abc import Mapping


class MessageEvents:
    """The calls of one message, as far as its events have arrived."""

    def __init__(self) -> None:
        self._started: dict[object, Mapping[str, Any]] = {}
        self._pieces: dict[object, list[str]] = {}
        self._others = False
        self._reason = ""
        self._tokens: int | None = None
        self._spoke = False
        self._reasoned = False
        self.has_error = False
        """True once the provider has reported an error."""

    def feed_data(self, data: bytes) -> None:
        """Read the data of one server-sent event; data that are no event are ignored."""
        if b'"thinking_delta"' in data:
            self._reasoned = True
            return
        if self._spoke and b'"text_delta"' in data:
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        self.feed(event)

    def feed(self, event: Any) -> None:
        """Read one event."""
        kind = get_field(event, "type")
        self.has_error = self.has_error or kind == "error"
        if kind == "content_block_start":
            self._start(get_field(event, "index"), get_field(event, "content_block"))
        elif kind == "content_block_delta":
            delta = get_field(event, "delta")
            if get_field(delta, "type") == "input_json_delta":
                self._pieces.setdefault(get_field(event, "index"), []).append(get_text(delta, "partial_json"))
            self._spoke = self._spoke or bool(get_text(delta, "text").strip())
            self._reasoned = self._reasoned or bool(get_text(delta, "thinking"))
        elif kind == "message_delta":
            self._reason = get_text(get_field(event, "delta"), "stop_reason") or self._reason
            tokens = get_field(get_field(event, "usage"), "output_tokens")
            self._tokens = tokens if isinstance(tokens, int) else self._tokens

    def _start(self, index: object, block: Any) -> None:
        if get_field(block, "type") == CALL_BLOCK:
            self._started[index] = block
        self._others = self._others or is_providers_block(get_text(block, "type"))

    def answer(self) -> AnswerCalls:
        """Return the calls so far."""
        calls = tuple(self._call(index, block) for index, block in self._started.items())
        reasons = frozenset({self._reason} if self._reason else ())
        return AnswerCalls(
            (calls,),
            self._others,
            reasons,
            self._tokens,
            estimated=not self._tokens,
            complete=bool(reasons),
            spoke=self._spoke,
            reasoned=self._reasoned,
        )

    def _call(self, index: object, block: Mapping[str, Any]) -> ToolCall:
        text = "".join(self._pieces.get(index, ()))
        return ToolCall(get_text(block, "name"), text or get_field(block, "input"), get_text(block, "id"))

"""Collects the output items of a Responses stream.

Each item is complete in the event that ends it; the last event of the stream may lack them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from exacto_plugin.core.scoring.answers.calls import AnswerCalls, items_calls
from exacto_plugin.core.scoring.fields import get_field

_ITEM_DONE: Final = "response.output_item.done"
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")


class ResponseEvents:
    """The items of one response, as far as their events have arrived."""

    def __init__(self) -> None:
        self._items: dict[object, Any] = {}
        self._ended = False
        self._tokens: int | None = None

    def feed(self, event: Any) -> None:
        """Read one event."""
        kind = get_field(event, "type")
        if kind == _ITEM_DONE:  # LiteLLM's event types are an enum of strings
            index = get_field(event, "output_index")
            self._items[len(self._items) if index is None else index] = get_field(event, "item")
        if kind in _ENDS:
            self._ended = True
            tokens = get_field(get_field(get_field(event, "response"), "usage"), "output_tokens")
            self._tokens = tokens if isinstance(tokens, int) else None

    def answer(self) -> AnswerCalls:
        """Return the calls so far."""
        found = items_calls(self._items.values())
        return replace(found, complete=self._ended, output_tokens=self._tokens, estimated=not self._tokens)

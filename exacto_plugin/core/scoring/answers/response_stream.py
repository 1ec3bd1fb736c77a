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

    def feed(self, event: Any) -> None:
        """Read one event."""
        kind = get_field(event, "type")
        if kind == _ITEM_DONE:  # LiteLLM's event types are an enum of strings
            index = get_field(event, "output_index")
            self._items[len(self._items) if index is None else index] = get_field(event, "item")
        self._ended = self._ended or kind in _ENDS

    def answer(self) -> AnswerCalls:
        """Return the calls so far."""
        return replace(items_calls(self._items.values()), complete=self._ended)

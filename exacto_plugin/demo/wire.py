"""Wire format common to the surfaces: stream events, bytes, and text deltas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PIECE_CHARACTERS: Final = 16
"""Characters of one delta, about four tokens: usual for providers."""

DONE: Final = b"data: [DONE]\n\n"
"""The end of a chat or text stream."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event."""

    data: Mapping[str, Any] | bytes
    """A JSON object, or the event's bytes."""
    name: str | None = None
    """Value of the ``event:`` line; None without one."""
    characters: int = 0
    """Generated characters in it, for pacing."""
    names_tool: bool = False
    """True if it has a tool's name, and nothing of its arguments yet."""

    def encoded(self) -> bytes:
        """Return the event as it is sent."""
        if isinstance(self.data, bytes):
            return self.data
        line = b"data: " + orjson.dumps(self.data) + b"\n\n"
        return line if self.name is None else b"event: " + self.name.encode() + b"\n" + line


def pieces(text: str) -> Iterator[str]:
    """Split a text into deltas."""
    for start in range(0, len(text), _PIECE_CHARACTERS):
        yield text[start : start + _PIECE_CHARACTERS]

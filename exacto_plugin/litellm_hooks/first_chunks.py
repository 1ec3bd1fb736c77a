"""Streams whose first chunk was already read, with that chunk put back in front.

Every other attribute is the stream's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from inspect import BoundArguments

NO_CHUNK: Final = object()
"""Stands for the first chunk of a stream that ended without any."""

_READ: Final = object()


class _Resumed:
    """A stream, its first chunk, and the iterator over the rest."""

    def __init__(self, stream: Any, first: object, rest: Any) -> None:
        self._stream = stream
        self._first = first
        self._rest = rest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _taken(self) -> object:
        """Return the first chunk once, then a marker that it was read."""
        first = self._first
        if first is not NO_CHUNK:
            self._first = _READ
        return first


class ResumedStream(_Resumed):
    """An asynchronous stream with its first chunk in front again."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        first = self._taken()
        if first is NO_CHUNK:
            raise StopAsyncIteration
        return await anext(self._rest) if first is _READ else first


class ResumedSyncStream(_Resumed):
    """A synchronous stream with its first chunk in front again."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        first = self._taken()
        if first is NO_CHUNK:
            raise StopIteration
        return next(self._rest) if first is _READ else first


def restore_first_chunk(given: BoundArguments, *, synchronous: bool = False) -> bool:
    """Put the chunk that LiteLLM read from a stream in front of it again.

    LiteLLM's arguments then say that no chunk was read.

    Args:
        given: the arguments with which LiteLLM returns a stream, changed in place: ``model_response``, and since 1.107
            ``first_chunk`` with ``chunk`` (None when there was none) and ``rest``.
        synchronous: whether the stream is read without an event loop.

    Returns:
        False when the chunk has an unknown form; then nothing is changed, and the stream cannot be read from its start.
    """
    taken = given.arguments.get("first_chunk")
    if taken is None:
        return True
    if not hasattr(taken, "chunk") or not hasattr(taken, "rest"):
        return False
    kind = ResumedSyncStream if synchronous else ResumedStream
    first = NO_CHUNK if taken.chunk is None else taken.chunk
    given.arguments["model_response"] = kind(given.arguments["model_response"], first, taken.rest)
    given.arguments["first_chunk"] = None
    return True

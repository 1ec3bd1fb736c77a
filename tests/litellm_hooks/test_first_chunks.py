"""Streams whose first chunk LiteLLM read already."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.litellm_hooks.first_chunks import restore_first_chunk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class _Stream:
    """A stream whose iteration is another object's, as that of LiteLLM's MCP streams."""

    model = "m"

    def __init__(self, chunks: list[str]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[str]:
        return iter(self._chunks)

    async def __aiter__(self) -> AsyncIterator[str]:
        for chunk in self._chunks:
            yield chunk


def _hand_out(model_response: Any, messages: Any, first_chunk: Any = None) -> None: ...


def _given(*args: Any, **kwargs: Any) -> inspect.BoundArguments:
    return inspect.signature(_hand_out).bind(*args, **kwargs)


async def _all(stream: Any) -> list[str]:
    return [chunk async for chunk in stream]


@pytest.mark.parametrize("chunks", [["a", "b", "c"], ["a"], []])
async def test_the_chunk_comes_first_again(chunks: list[str]) -> None:
    """Both kinds of stream give all their chunks once and in order, and LiteLLM is told that it read none."""
    stream = _Stream(chunks)
    rest = aiter(stream)
    taken = SimpleNamespace(chunk=await anext(rest, None), rest=rest)
    given = _given(stream, [], first_chunk=taken)
    assert restore_first_chunk(given)
    assert given.arguments["first_chunk"] is None
    assert given.arguments["model_response"].model == "m"
    assert await _all(given.arguments["model_response"]) == chunks
    assert await _all(given.arguments["model_response"]) == []
    waiting = iter(stream)
    given = _given(stream, [], SimpleNamespace(chunk=next(waiting, None), rest=waiting))
    assert restore_first_chunk(given, synchronous=True)
    assert list(given.arguments["model_response"]) == chunks


def test_streams_from_their_start() -> None:
    """Without a chunk that was read, or with one of an unknown form, nothing is changed."""
    stream = _Stream(["a"])
    given = _given(stream, [])
    assert restore_first_chunk(given)
    assert given.arguments == {"model_response": stream, "messages": []}
    unknown = object()
    given = _given(stream, [], unknown)
    assert not restore_first_chunk(given)
    assert given.arguments == {"model_response": stream, "messages": [], "first_chunk": unknown}

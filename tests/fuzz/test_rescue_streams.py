"""Rescue of streams: text flows in its order, calls come last and whole, and a better answer replaces them whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import litellm
from hypothesis import strategies as st

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.routing.rescue import AnswerQuality
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.request.call_details import RescuableAttempt
from exacto_plugin.litellm_hooks.request.state import RequestState
from exacto_plugin.litellm_hooks.rescue.chat import ChatBuffer
from exacto_plugin.litellm_hooks.rescue.streams import BufferedStream
from exacto_plugin.litellm_hooks.scoring.response import parse_response
from tests.fuzz.asgi import run
from tests.fuzz.examples import fuzz
from tests.fuzz.streams import Said, answers, chunked, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from litellm.types.utils import ModelResponseStream


class _Stream:
    """LiteLLM's stream, as far as it is used."""

    def __init__(self, chunks: list[ModelResponseStream]) -> None:
        self.chunks = chunks
        self.logging_obj: Any = MagicMock(model_call_details={})

    async def __aiter__(self) -> AsyncIterator[ModelResponseStream]:
        for chunk in self.chunks:
            yield chunk


class _Rescue:
    """Finds every call bad, and has a better answer or none."""

    hold_s = 60.0

    def __init__(self, better: Said | None) -> None:
        self.faults = FaultReporter(lambda _stage: None)
        self._better = better

    def quality(self, _details: Any, built: Any) -> AnswerQuality:
        """Bad whenever there is a call."""
        return AnswerQuality(outcome=Outcome.INVALID_JSON if parse_response({}, built).calls else None)

    async def replace_answer(self, *_asked: Any, **_how: Any) -> Any:
        """The other answer."""
        return whole(self._better) if self._better is not None else None


def _text(response: Any) -> str:
    return response.choices[0].message.content or ""


@fuzz(answers, st.none() | answers, st.data())
def test_a_held_stream_says_all_of_one_answer(sent: Said, other: Said | None, data: st.DataObject) -> None:
    """Without a better answer the client gets what was sent; with one, its calls and its end, after the text so far."""
    chunks = data.draw(chunked(sent))
    before = [chunk.model_dump_json() for chunk in chunks]
    rescue: Any = _Rescue(other)
    attempt: Any = MagicMock(quality=None, cost=None)
    stream = _Stream(chunks)
    asked: Any = RescuableAttempt(None, {}, stream.logging_obj)  # type: ignore[arg-type]
    held = BufferedStream(stream, ChatBuffer(stream), rescue, RequestState(attempts=[attempt]), attempt, asked)

    async def read() -> list[Any]:
        return [piece async for piece in held]

    pieces = run(read())
    assert rescue.faults.counts == {}
    assert [chunk.model_dump_json() for chunk in chunks] == before
    called = [bool(piece.choices[0].delta.tool_calls) for piece in pieces if piece.choices]
    spoken = [bool(piece.choices[0].delta.content) for piece in pieces if piece.choices]
    assert True not in called or True not in spoken[called.index(True) + 1 :]
    seen = litellm.stream_chunk_builder(pieces, messages=[])
    assert seen is not None
    rescued = other is not None and bool(sent.calls) and any(piece not in chunks for piece in pieces)
    told = other if rescued and other is not None else sent
    calls = tuple(replace(call, arguments=call.arguments or "{}") for call in told.calls)
    assert parse_response({}, seen).calls == calls
    assert _text(seen) == (sent.content or (told.content if rescued else ""))

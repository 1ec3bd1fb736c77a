"""Streams: however an answer is cut into chunks, LiteLLM's assembly of it gets the verdict of the whole answer."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import litellm
from hypothesis import strategies as st

from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.litellm_hooks.scoring.response import parse_response
from tests.fuzz.examples import fuzz
from tests.fuzz.streams import TOOLS, Said, answers, chunked, whole

if TYPE_CHECKING:
    from collections.abc import Sequence


@functools.cache
def _evaluator() -> Evaluator:
    return Evaluator()


def _verdict(response: Any) -> tuple[object, ...]:
    answer = parse_response({}, response)
    found = _evaluator().evaluate_all(answer.calls, TOOLS)
    return answer.skip_reason, answer.lost, tuple(call.name for call in answer.calls), found


@fuzz(answers, st.data())
def test_a_stream_gets_the_verdict_of_the_whole_answer(sent: Said, data: st.DataObject) -> None:
    """Names, arguments and the reason to end may arrive in any pieces."""
    # LiteLLM's assembly writes "{}" where no arguments came, so an evaluator never sees the empty text of a stream.
    said = replace(sent, calls=tuple(replace(call, arguments=call.arguments or "{}") for call in sent.calls))
    expected = whole(said)
    assert parse_response({}, expected).calls == said.calls
    chunks: Sequence[Any] = data.draw(chunked(sent))
    assembled = litellm.stream_chunk_builder(list(chunks), messages=[])
    assert parse_response({}, assembled).calls == said.calls
    assert _verdict(assembled) == _verdict(expected)

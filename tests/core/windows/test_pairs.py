"""Answers of two deployments to one request, compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.windows.pairs import LEAST_PAIRS, NEWEST, PairedAnswer, PairedAnswers

A, B, C = (DeploymentKey(name) for name in "abc")


def _of(deployment: DeploymentKey, tokens: int | None, *, valid: bool = True) -> PairedAnswer:
    return PairedAnswer(deployment, tokens, valid)


@given(st.lists(st.integers(10, 10_000), min_size=LEAST_PAIRS, max_size=60), st.integers(-50, 50), st.booleans())
def test_a_constant_offset_is_found_from_either_side(prompts: list[int], offset: int, swapped: bool) -> None:
    """Whatever the prompts are and whoever answered first; an equal count is no offset."""
    pairs = PairedAnswers()
    for tokens in prompts:
        both = (_of(A, tokens), _of(B, tokens + offset))
        pairs.add("kimi", *(reversed(both) if swapped else both))
    for deployment, other, sign in ((A, B, -1), (B, A, 1)):
        (found,) = pairs.of("kimi", deployment)
        assert (found.other, found.pairs, found.offset, found.share) == (other, len(prompts), sign * offset, 1.0)
        assert found.is_constant is (offset != 0)


def test_another_tokenizer_is_no_constant_offset() -> None:
    """A tenth more of each prompt, whose lengths differ."""
    pairs = PairedAnswers()
    for number in range(100):
        pairs.add("kimi", _of(A, 100 + 17 * number), _of(B, round(1.1 * (100 + 17 * number))))
    (found,) = pairs.of("kimi", B)
    assert found.offset is not None
    assert found.offset > 0
    assert not found.is_constant


@pytest.mark.parametrize("odd", [0, 3])
def test_a_few_odd_ones_change_nothing(odd: int) -> None:
    """The median is robust, and the share tells how many agree."""
    pairs = PairedAnswers()
    for number in range(LEAST_PAIRS):
        pairs.add("kimi", _of(A, 500), _of(B, 618 if number >= odd else 9_000))
    (found,) = pairs.of("kimi", B)
    assert (found.offset, found.share, found.is_constant) == (118, 1 - odd / LEAST_PAIRS, True)


def test_too_few_tell_nothing() -> None:
    """Neither of requests nor of prompts; failures have no prompt, and count for validity."""
    pairs = PairedAnswers()
    for _ in range(LEAST_PAIRS - 1):
        pairs.add("kimi", _of(A, 100), _of(B, 200))
    assert pairs.of("kimi", A) == []
    pairs.add("kimi", _of(A, None, valid=False), _of(B, 200))
    (found,) = pairs.of("kimi", A)
    assert (found.pairs, found.counted, found.offset, found.share) == (20, 19, None, None)
    assert (found.valid, found.other_valid, found.is_constant) == (0.95, 1.0, False)


def test_memory_is_bounded() -> None:
    """The newest requests of a bounded number of pairs, none with itself; those that are gone are forgotten."""
    pairs = PairedAnswers(most=1)
    for _ in range(NEWEST + 50):
        pairs.add("kimi", _of(A, 1), _of(B, 2))
        pairs.add("kimi", _of(A, 1), _of(C, 2))
        pairs.add("kimi", _of(C, 1), _of(C, 2))
    (found,) = pairs.of("kimi", A)
    assert (found.other, found.pairs) == (B, NEWEST)
    pairs.retain([("kimi", A), ("kimi", C), ("glm", B)])
    assert pairs.of("kimi", A) == []

"""Rescue's decisions: never a worse answer, never more attempts or more time than allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.routing.rescue import AnswerQuality, RescueBudget, choose_answer

JUDGEMENTS = st.builds(
    AnswerQuality,
    outcome=st.none() | st.sampled_from(Outcome),
    lost=st.booleans(),
    excused=st.booleans(),
    incomplete=st.booleans(),
    has_text=st.booleans(),
)


@pytest.mark.parametrize("outcome", [Outcome.INVALID_JSON, Outcome.UNKNOWN_NAME, Outcome.SCHEMA_MISMATCH])
def test_bad_calls_are_bad(outcome: Outcome) -> None:
    """The three ways in which a call can be bad; but not in an answer that was cut short, and not by the caller."""
    assert AnswerQuality(outcome).bad
    assert not AnswerQuality(outcome, incomplete=True).bad
    assert not AnswerQuality(outcome, excused=True).bad


@pytest.mark.parametrize(
    "judgement", [AnswerQuality(Outcome.VALID), AnswerQuality(Outcome.UNSCORED), AnswerQuality(has_text=True)]
)
def test_the_rest_is_not(judgement: AnswerQuality) -> None:
    """What is valid, what nobody could check, and an answer without a call."""
    assert not judgement.bad


def test_a_lost_call_is_bad() -> None:
    """It was meant, and the client has nothing of it."""
    assert AnswerQuality(lost=True).bad


@given(
    first=JUDGEMENTS.filter(lambda judgement: judgement.bad),
    others=st.lists(st.none() | JUDGEMENTS, max_size=4),
    text_welcome=st.booleans(),
)
def test_never_worse(first: AnswerQuality, others: list[AnswerQuality | None], text_welcome: bool) -> None:
    """Whoever replaces a bad answer is neither bad nor unchecked nor cut, has lost no call, and is the first such; with
    nobody like that the first answer stays."""
    judgements = [first, *others]
    won = choose_answer(judgements, allow_text=text_welcome)
    serving = [
        number
        for number, judgement in enumerate(judgements)
        if judgement is not None and judgement.is_usable(allow_text=text_welcome)
    ]
    assert won == (serving[0] if serving else 0)
    if won:
        winning = judgements[won]
        assert winning is not None
        assert not winning.bad
        assert not winning.incomplete
        assert not winning.lost
        assert winning.outcome in (Outcome.VALID, None)
        assert winning.outcome is Outcome.VALID or (winning.has_text and text_welcome)


@given(
    attempts=st.integers(1, 5),
    seconds=st.floats(0.1, 100),
    asked=st.integers(0, 6),
    elapsed_s=st.floats(0, 200),
    untried=st.integers(0, 3),
)
def test_patience_ends(attempts: int, seconds: float, asked: int, elapsed_s: float, untried: int) -> None:
    """Time is left only while attempts, time and somebody to ask are left, and never more than is left of the whole."""
    left_s = RescueBudget(attempts, seconds).left_s(asked, elapsed_s, untried)
    assert (left_s > 0) == (asked < attempts and elapsed_s < seconds and untried > 0)
    assert elapsed_s + left_s <= max(seconds, elapsed_s) + 1e-9

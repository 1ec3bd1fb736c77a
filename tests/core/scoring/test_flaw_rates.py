"""Shares of answers with each flaw over an hour and a day."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import DeploymentKey, Flaw, Sample
from exacto_plugin.core.scoring.flaws import WINDOWS_S, FlawRates

A = DeploymentKey("a")
NOW = 1_800_000_000.0


def _answer(at: float, *flaws: Flaw, ok: bool = True, deployment: DeploymentKey = A) -> Sample:
    return Sample("kimi", deployment, at, ok=ok, flaws=flaws)


@given(
    st.lists(st.tuples(st.floats(0.0, 120_000.0), st.sampled_from([(), (Flaw.EMPTY,), (Flaw.CORRUPT,)])), max_size=60)
)
def test_each_window_has_the_answers_of_its_periods(answers: list[tuple[float, tuple[Flaw, ...]]]) -> None:
    """However they arrive, what is within a window counts, and what is a period older than it does not."""
    rates = FlawRates()
    for ago, flaws in sorted(answers, reverse=True):
        rates.add(_answer(NOW - ago, *flaws))
    found = {one.window_s: one for one in rates.of("kimi", A, NOW)}
    for window_s, width_s in zip(WINDOWS_S, (300.0, 3600.0), strict=True):
        within = [one for one in answers if one[0] <= window_s]
        beyond = [one for one in answers if one[0] <= window_s + width_s]
        counted = found[window_s].answers if window_s in found else 0
        assert len(within) <= counted <= len(beyond)
        shown = found[window_s].counts if window_s in found else {}
        least, most = (Counter(flaw for _, flaws in some for flaw in flaws) for some in (within, beyond))
        assert all(least[flaw] <= shown.get(flaw, 0) <= most[flaw] for flaw in Flaw)


def test_failures_count_where_they_came_inside_an_answer() -> None:
    """A refused connection is no answer; an error body is, with its flaw."""
    rates = FlawRates()
    rates.add(_answer(NOW, ok=False))
    assert rates.of("kimi", A, NOW) == []
    rates.add(_answer(NOW, Flaw.PROVIDER_ERROR, ok=False))
    assert [(one.answers, one.counts) for one in rates.of("kimi", A, NOW)] == [(1, {Flaw.PROVIDER_ERROR: 1})] * 2


def test_a_window_that_began_before_the_first_answer_has_its_time() -> None:
    """After a restart nothing older is known, so the time of the first answer is told instead of the window."""
    rates = FlawRates()
    for ago in (1800.0, 1801.0, 0.0):
        rates.add(_answer(NOW - ago))
    assert [one.since for one in rates.of("kimi", A, NOW)] == [NOW - 1801.0] * 2
    assert [one.since for one in rates.of("kimi", A, NOW + 7200.0)] == [NOW - 1801.0]
    rates.add(_answer(NOW + 100_000.0))
    assert [one.since for one in rates.of("kimi", A, NOW + 100_000.0)] == [None, None]


def test_deployments_are_bounded_and_forgotten() -> None:
    """Names beyond the limit take no memory; one that is no longer served is forgotten."""
    rates = FlawRates(most=1)
    rates.add(_answer(NOW))
    rates.add(_answer(NOW, deployment=DeploymentKey("b")))
    assert rates.of("kimi", A, NOW)
    assert not rates.of("kimi", "b", NOW)
    rates.retain([("kimi", "b")])
    assert not rates.of("kimi", A, NOW)

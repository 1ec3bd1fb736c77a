"""The time of a change of calls, against seeded calls whose change is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.tiers.change_point import CallHistory, ChangePoint, call_histories, change_point
from exacto_plugin.core.windows.windows import Retention, Windows

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_750_003_200.0 + 25 * 60.0
USUAL = 0.01
TRIES = 60


def history(failing: Callable[[float], float], seed: int, calls: float = 5.0, hours: int = 26) -> CallHistory:
    """Calls of each minute up to ``NOW``, in the tiles that windows keep them in."""
    draw, windows = np.random.default_rng(seed), Windows(Retention(), 100)
    windows.resize(1)
    for minute in range(hours * 60):
        at = NOW - 60.0 * (hours * 60 - minute) + 30.0
        for _ in range(int(draw.poisson(calls))):
            outcome = Outcome.INVALID_JSON if draw.random() < failing(at) else Outcome.VALID
            windows.record(0, Sample("g", DeploymentKey("d"), at, tools_offered=True, outcome=outcome))
    windows.blocks[0].flush(NOW)
    (found,) = call_histories(windows.blocks, [0], NOW)
    return found


def found_in(told: CallHistory, *, worse: bool = True, since: float = 0.0) -> ChangePoint:
    """The change, which there must be."""
    found = change_point(told, since, USUAL, worse=worse)
    assert found is not None
    return found


@pytest.mark.parametrize(("rate", "minutes", "least"), [(0.3, 9, 0.95), (0.18, 12, 0.85)])
def test_a_sudden_change_is_found_within_minutes(rate: float, minutes: int, least: float) -> None:
    """Within 5 minutes as often as the calls allow; the interval holds it mostly."""
    onset = NOW - 60.0 * minutes
    found = [found_in(history(lambda at: rate if at >= onset else USUAL, seed, hours=3)) for seed in range(TRIES)]
    assert np.mean([abs(one.at - onset) <= 300.0 for one in found]) >= least
    assert np.mean([one.earliest <= onset <= one.latest for one in found]) >= 0.85
    assert np.mean([one.gradual for one in found]) <= 0.05
    assert np.mean([one.bad / one.calls for one in found]) == pytest.approx(rate, abs=0.04)


def drawn(failing: Callable[[float], float], tiles: CallHistory, seed: int) -> CallHistory:
    """Calls of each minute up to ``NOW``, 5 on average, in the tiles of a history of windows."""
    draw = np.random.default_rng(seed)
    minutes = np.arange(tiles.start[0], NOW, 60.0) + 30.0
    place = np.searchsorted(tiles.start, minutes, side="right") - 1
    calls = draw.poisson(5.0, len(minutes))
    bad = draw.binomial(calls, [failing(at) for at in minutes])
    counts = np.zeros_like(tiles.counts)
    for row, numbers in ((0, calls), (1, calls), (2, bad)):
        np.add.at(counts[row], place, numbers)
    return CallHistory(NOW, tiles.start, counts)


def step(minutes: float, rate: float) -> Callable[[float], float]:
    """The share of bad calls that changes at once."""
    return lambda at: rate if at >= NOW - 60.0 * minutes else USUAL


def rise(minutes: float, top: float) -> Callable[[float], float]:
    """The share of bad calls that rises up to ``NOW``."""
    return lambda at: USUAL + (top - USUAL) * max(0.0, 1.0 - (NOW - at) / (60.0 * minutes))


@pytest.mark.parametrize(
    ("failing", "minutes", "most_bias", "gradual"),
    [
        (step(12, 0.18), 12, 2.0, (0.0, 0.1)),
        (step(30, 0.1), 30, 5.0, (0.0, 0.1)),
        (rise(80, 0.11), 80, 17.0, (0.2, 1.0)),
        (rise(90, 0.15), 90, 10.0, (0.5, 1.0)),
        (rise(60, 0.2), 60, 7.0, (0.5, 1.0)),
    ],
)
def test_the_interval_holds_the_onset_as_often_as_it_says(
    failing: Callable[[float], float], minutes: int, most_bias: float, gradual: tuple[float, float]
) -> None:
    """Of sudden changes and of slow rises, whose most likely time is late; the time told is less so."""
    tiles, onset = history(lambda _: 0.0, 1, calls=0.1), NOW - 60.0 * minutes
    found = [found_in(drawn(failing, tiles, 9000 + seed)) for seed in range(200)]
    assert np.mean([one.earliest <= onset <= one.latest for one in found]) >= 0.92
    assert abs(np.mean([one.at - onset for one in found])) / 60.0 <= most_bias
    assert gradual[0] <= np.mean([one.gradual for one in found]) <= gradual[1]


def test_a_slow_rise_is_told_with_its_interval() -> None:
    """From 1 % to 15 % within 90 minutes: the interval is wide and holds the beginning mostly."""
    onset = NOW - 5400.0
    found = [found_in(history(rise(90, 0.15), seed, hours=5)) for seed in range(30)]
    assert np.mean([one.earliest <= onset <= one.latest for one in found]) >= 0.9
    gradual = [one for one in found if one.gradual]
    assert len(gradual) >= 8
    assert np.mean([one.share for one in gradual]) == pytest.approx(0.15, abs=0.04)


def test_the_counts_are_those_of_the_calls() -> None:
    """From the change on; before it in its hour; and in the hour of the change of tier."""
    onset = NOW - 600.0
    told = history(lambda at: 1.0 if at >= onset else 0.0, 1, hours=2)
    found = found_in(told)
    assert (found.at, found.bad) == (onset, found.calls)
    calls, bad = told.judged()
    assert found.calls == calls[told.start >= onset].sum() == bad.sum()
    assert found.before["calls"] == calls[(told.start >= NOW - 1500.0) & (told.start < onset)].sum()
    assert found.before["bad"] == 0
    assert (found.most_calls, found.most_bad) == (calls[told.start >= found.earliest].sum(), found.bad)
    assert (found.called_until, found.bad_until) == (onset, None)
    assert found.so_far == {
        **dict.fromkeys(("unknown_name", "schema_mismatch", "lost"), 0),
        "answers": found.before["answers"] + found.calls,
        "calls": found.before["calls"] + found.calls,
        "bad": found.calls,
        "invalid_json": found.calls,
    }


def test_the_calls_before_are_counted() -> None:
    """Those on which the share before rests, and those of the time before the last change of tier too."""
    onset = NOW - 600.0
    told = history(lambda at: 1.0 if at >= onset else 0.0, 1, hours=2)
    calls, _ = told.judged()
    before = calls[told.start < onset].sum()
    found = found_in(told)
    assert (found.usual_calls, found.calls_before) == (before, before)
    found = found_in(told, since=onset)
    assert (found.at, found.usual_calls, found.calls_before) == (onset, 0, before)
    found = found_in(told.since(onset))
    assert (found.usual_calls, found.calls_before) == (0, 0)


def test_a_recovery_is_found_too() -> None:
    """The share falls; what came before the time asked for does not count."""
    fixed = NOW - 1800.0
    told = history(lambda at: 0.3 if NOW - 7200.0 <= at < fixed else 0.0, 3, hours=4)
    found = found_in(told, worse=False, since=NOW - 7200.0)
    assert abs(found.at - fixed) <= 300.0
    assert found.share < 0.01 < 0.2 < found.usual


def test_calls_without_a_change_tell_none() -> None:
    """All good, none since the time asked for, or all bad where a fall is looked for."""
    good, bad = history(lambda _: 0.0, 1, hours=2), history(lambda _: 1.0, 1, hours=2)
    assert change_point(good, 0.0, USUAL, worse=True) is None
    assert change_point(good, NOW, USUAL, worse=True) is None
    assert change_point(bad, 0.0, USUAL, worse=False) is None


def test_pinned_calls_count_where_the_router_chose_few() -> None:
    """A rule may judge by them; beside others they are no random sample."""
    counts = np.zeros((8, 3), np.int64)
    counts[1], counts[3], counts[6], counts[7] = [20, 20, 20], [0, 10, 10], [20, 20, 20], [0, 10, 10]
    start = (NOW - np.array([180, 120, 60])).astype(np.int64)
    found = found_in(CallHistory(NOW, start, counts))
    assert (found.at, found.calls, found.bad) == (NOW - 120.0, 40, 20)
    counts[1] += 30
    assert change_point(CallHistory(NOW, start, counts), 0.0, USUAL, worse=True) is None


def test_a_tier_that_began_within_a_minute_leaves_its_calls() -> None:
    """A first verdict seconds before a derank; and a history without a call has none to leave out."""
    told = history(lambda at: 0.5, 1, hours=1)
    last = told.since(NOW - 20.0)
    assert last.start[0] <= NOW - 20.0
    assert last.counts.sum() > 0
    assert len(CallHistory(NOW, told.start[:0], told.counts[:, :0]).since(NOW - 20.0).start) == 0


def test_a_cause_before_the_last_tier_is_found_where_no_call_came_after_it() -> None:
    """All calls came before the first verdict, and the derank a recompute after it."""
    onset = NOW - 600.0
    told = history(lambda at: 0.0 if at > NOW - 120.0 else 0.5 if at >= onset else USUAL, 1, hours=3)
    found = found_in(told, since=NOW - 60.0)
    assert abs(found.at - onset) <= 60.0
    assert change_point(told, NOW - 60.0, USUAL, worse=False) is None

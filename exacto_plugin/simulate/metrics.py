"""Figures of one preset's trace, one value per repetition.

Presets can be compared pair by pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.model import Tier
from exacto_plugin.simulate.scenario import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.simulate.trace import Trace
    from exacto_plugin.simulate.world import EventEffect

SETTLED_H = 24.0
"""A derank counts as false after this many hours near the best.

No window reaches back further with its usual retention, so no bad call is left to explain the derank."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Detection times of one kind of event. Repetitions are pooled."""

    found_min: tuple[float, ...]
    """Minutes until detection, ascending; detected events only."""
    events: int
    """Number of events."""

    @property
    def median_min(self) -> float | None:
        """Median in minutes over all events; None when fewer than half were detected."""
        return self.quantile_min(0.5)

    def quantile_min(self, share: float) -> float | None:
        """Return the minutes within which this share of all events was detected.

        None when fewer were ever detected.
        """
        place = math.ceil(share * self.events) - 1
        return self.found_min[place] if 0 <= place < len(self.found_min) else None


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one preset. Arrays have one entry per repetition."""

    user_error: NDArray[np.float64]
    """Share of tool calls that failed, from ``measure_from_h`` on."""
    default_error: NDArray[np.float64]
    """The same with a lottery by price among all."""
    oracle_error: NDArray[np.float64]
    """The same with a lottery by price among those known to be good."""
    cost_ratio: NDArray[np.float64]
    """Spend as a multiple of the lottery's."""
    probe_share: NDArray[np.float64]
    """Share of requests that were probes."""
    unserved_share: NDArray[np.float64]
    false_deranks_per_day: NDArray[np.float64]
    derank_count: NDArray[np.float64]
    detection: Timing
    readmission: Timing
    newcomer: Timing

    @property
    def regret(self) -> NDArray[np.float64]:
        """User error minus the oracle's."""
        return self.user_error - self.oracle_error

    @property
    def reduction(self) -> tuple[float, float]:
        """Share of the default's errors that is avoided, and its margin.

        A ratio of means, because a mean of ratios would be dominated by the repetitions where the default is good.
        """
        default = float(self.default_error.mean())
        if not default:
            return math.nan, math.nan
        left = float(self.user_error.mean()) / default
        _, margin = mean_and_margin(self.user_error - left * self.default_error)
        return 1.0 - left, margin / default


def first_hour(hours: int, measure_from_h: float) -> int:
    """Return the hour from which on routing counts; the last one of a shorter run."""
    return min(hours - 1, math.floor(measure_from_h))


def figures(trace: Trace, measure_from_h: float) -> Figures:
    """Compute all figures of a trace; routing counts from ``measure_from_h`` on."""
    first = first_hour(trace.hours, measure_from_h)
    calls, bad, spend = (column[first:].sum(axis=0) for column in (trace.calls, trace.bad, trace.spend))
    default, oracle = trace.default[:, first:].sum(axis=1), trace.oracle[:, first:].sum(axis=1)
    requests = trace.picks[first:].sum(axis=(0, 2))
    deranked = [change for change in trace.changes if change.tier == Tier.DERANKED]
    false = [change.repetition for change in deranked if change.good_for_h >= SETTLED_H]
    days = trace.hours / 24.0
    return Figures(
        _ratio(bad, calls),
        _ratio(default[1], default[0]),
        _ratio(oracle[1], oracle[0]),
        _ratio(spend, default[2]),
        _ratio(trace.probes[first:].sum(axis=0), requests),
        _ratio(trace.unserved[first:].sum(axis=0), requests + trace.unserved[first:].sum(axis=0)),
        np.bincount(np.array(false, np.int64), minlength=trace.repetitions) / days,
        np.bincount(np.array([c.repetition for c in deranked], np.int64), minlength=trace.repetitions).astype(float),
        _timing(trace, EventKind.BREAK),
        _timing(trace, EventKind.FIX),
        _timing(trace, EventKind.NEWCOMER),
    )


def mean_and_margin(values: NDArray[np.float64] | Sequence[float]) -> tuple[float, float]:
    """Return the mean over repetitions and the half width of its 95 % interval.

    By Student's t; NaN with one repetition.
    """
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return float(array.mean()), math.nan
    return float(array.mean()), float(student_975(len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array)))


def student_975(freedom: int) -> float:
    """Return the 97.5 % point of Student's t.

    Exact for 1 and 2, else Hill's expansion, within 0.2 % from 3 on.
    """
    z = 1.959963984540054
    if freedom == 1:
        return 12.7062047
    if freedom == 2:
        return 4.30265273
    terms = (
        (z**3 + z) / 4.0,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96.0,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160.0,
    )
    return z + math.fsum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def _timing(trace: Trace, kind: EventKind) -> Timing:
    """Return the time from each event of a kind to the change of tier that answers it.

    Counted are breaks of deployments that are not deranked yet, fixes of deployments that are, and newcomers; the
    latter two only if they are truly good then. The change must come before the next event of the same deployment.
    """
    found: list[float] = []
    events = 0
    for happening in trace.happenings:
        if happening.kind is not kind:
            continue
        minutes = _answer(trace, happening)
        if minutes is None:
            continue
        events += 1
        if minutes < math.inf:
            found.append(minutes)
    return Timing(tuple(sorted(found)), events)


def _answer(trace: Trace, event: EventEffect) -> float | None:
    """Return the minutes until an event was detected, infinite if never.

    None when there was nothing to detect.
    """
    changes = [c for c in trace.changes if (c.repetition, c.place) == (event.repetition, event.place)]
    before = [change.tier for change in changes if change.at_h <= event.at_h]
    deranked = bool(before) and before[-1] == Tier.DERANKED
    if event.kind in (EventKind.BREAK, EventKind.FIX) and deranked is (event.kind is EventKind.BREAK):
        return None
    if event.good is (event.kind is EventKind.BREAK):
        return None
    others = [
        other.at_h
        for other in trace.happenings
        if (other.repetition, other.place) == (event.repetition, event.place) and other.at_h > event.at_h
    ]
    until_h = min(others, default=math.inf)
    for change in changes:
        if not event.at_h < change.at_h <= until_h:
            continue
        answered = {
            EventKind.BREAK: change.tier == Tier.DERANKED,
            EventKind.FIX: change.previous == Tier.DERANKED,
            EventKind.NEWCOMER: change.tier == Tier.VERIFIED_GOOD,
        }[event.kind]
        if answered:
            return (change.at_h - event.at_h) * 60.0
    return math.inf


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))

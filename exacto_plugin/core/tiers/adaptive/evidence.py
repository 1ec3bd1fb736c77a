"""Evidence on tool calls, read from the windows at each recompute.

``history`` says which calls count, and which are bad.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.stats.dispersion import CommonPeriods, dispersion, limited_dispersion
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.tiers.adaptive.caller_limits import (
    LEAST_WEIGHT,
    factors_of_cells,
    fresh_weights,
    limited_mix,
    trial_weight,
    window_weights,
)
from exacto_plugin.core.tiers.adaptive.history import CALLS, THREE_DAYS_S, evidence_series
from exacto_plugin.core.tiers.adaptive.parameters import TRIAL_CALLS
from exacto_plugin.core.windows.increments import CALLERS, CounterKind, HistogramKind
from exacto_plugin.core.windows.windows import ALL_ROWS, ROWS, select_rows
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.history import EvidenceCounters, EvidenceSeries
    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.windows.windows import Rows, WindowBlock

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

WINDOWS_S = (300.0, 900.0, 3600.0, 21_600.0, 86_400.0, THREE_DAYS_S)
"""Windows of the derank tests, then three days."""

QUARTER, HOUR, DAY = 1, 2, 4
"""Indices of 15 minutes, the hour and the day in ``WINDOWS_S``."""

BUCKETS = 4
"""Number of case-mix buckets by complexity."""

_TRAFFIC = (
    CounterKind.ANSWERED,
    CounterKind.FAILED,
    CounterKind.OFFERED,
    CounterKind.CALLED,
    CounterKind.UNSCORED,
    CounterKind.LOST,
)

_MINUTE_S = 60.0


def reach_of(rule: AdaptiveParameters) -> float:
    """Return the seconds that evidence reaches back at most."""
    return max(THREE_DAYS_S, rule.quiet_ttl_s)


_SHAPES = {
    "calls": (len(WINDOWS_S),),
    "bad": (len(WINDOWS_S),),
    "weight_calls": (len(WINDOWS_S),),
    "weight_bad": (len(WINDOWS_S),),
    "dispersion_sum": (),
    "pairs": (),
    "offered_day": (),
    "offered_hour": (),
    "meant_day": (),
    "load": (),
    "minutes": (),
    "by_caller": (CALLERS,),
    "mix_calls": (BUCKETS,),
    "mix_bad": (BUCKETS,),
    "fresh_calls": (),
    "fresh_bad": (),
    "fresh_from": (),
    "burst_calls": (),
    "burst_bad": (),
    "account_calls": (len(WINDOWS_S),),
    "account_bad": (len(WINDOWS_S),),
    "by_account": (CALLERS,),
    "quiet_calls": (),
    "quiet_bad": (),
}


@wire(
    "calls bad weight_calls weight_bad pairs offered_day offered_hour meant_day load minutes by_caller "
    "mix_calls mix_bad fresh_calls fresh_bad fresh_from burst_calls burst_bad account_calls account_bad by_account "
    "quiet_calls quiet_bad",
    dispersion_sum="surprise",
)
class Evidence:
    """Measurements of one recompute; slots are the last axis.

    The attributes are in the order in which verification reads them.
    """

    __slots__ = (*_SHAPES, "_common_periods", "_counters", "_dispersion_revisions")

    calls: Floats
    """Calls since the evidence start, in each of ``WINDOWS_S``; as is ``bad``."""
    bad: Floats
    weight_calls: Floats
    """Factor on the calls of each window that limits every key.
    ``weight_bad`` is the factor on the bad calls."""
    weight_bad: Floats
    dispersion_sum: Floats
    """Sum of squared rate changes between half-hours of a day.
    The unit is the variance of independent calls."""
    pairs: Floats
    """Number of such changes."""
    offered_day: Floats
    """Answers to requests with tools, over a day and over an hour."""
    offered_hour: Floats
    meant_day: Floats
    """Answers of the day that attempted a call."""
    load: Floats
    """Requests a minute: the larger average of the last 15 minutes and the hour."""
    minutes: Floats
    """Lower bound of the distinct minutes of a day with a measured speed."""
    by_caller: Floats
    """Calls of a day by the number of the key."""
    mix_calls: Floats
    """Calls of a day by complexity, as is ``mix_bad``."""
    mix_bad: Floats
    fresh_calls: Floats
    """Deranked deployments: the latest calls or the whole trial, the bad ones and their start.
    Every caller is limited, as in ``burst_bad``."""
    fresh_bad: Floats
    fresh_from: Floats
    burst_calls: Floats
    """Deranked deployments: calls and bad calls since the trial began."""
    burst_bad: Floats
    account_calls: Floats
    """As ``weight_calls``, for accounts; ``account_bad`` as ``weight_bad``."""
    account_bad: Floats
    by_account: Floats
    """Calls of a day by the number of the account."""
    quiet_calls: Floats
    """Calls since the evidence start within the time to live of quiet groups, as is
    ``quiet_bad``; NaN where it is three days, which ``calls`` has."""
    quiet_bad: Floats

    def __init__(self, counters: EvidenceCounters = CALLS) -> None:
        """Start without measurements of the calls, or answers, that ``counters`` tell."""
        self._counters = counters
        self._dispersion_revisions: dict[int, tuple[int, int]] = {}
        self._common_periods = CommonPeriods()
        for name, shape in _SHAPES.items():
            setattr(self, name, np.zeros((*shape, 0)))

    def resize(self, slots: int) -> None:
        """Resize the arrays to slots below ``slots``."""
        if (more := slots - self.dispersion_sum.shape[-1]) > 0:
            for name, shape in _SHAPES.items():
                setattr(self, name, np.append(getattr(self, name), np.zeros((*shape, more)), axis=-1))

    def forget(self, slots: Collection[int]) -> None:
        """Erase the measurements of some slots."""
        for name in _SHAPES:
            getattr(self, name)[..., list(slots)] = 0
        for slot in slots:
            self._common_periods.forget(*divmod(slot, ROWS))

    def measure(
        self,
        number: int,
        window_block: WindowBlock,
        now: float,
        memory: AdaptiveState,
        rule: AdaptiveParameters,
        rows: Rows = ALL_ROWS,
    ) -> None:
        """Read some rows of a window block; see ``measure_dispersion`` for the rest."""
        wanted = np.arange(ROWS)[rows]
        slots = number * ROWS + wanted
        self._measure_windows(slots, window_block, now, rule, rows)
        self._measure_traffic(slots, window_block, now, rows)
        self._measure_callers(slots, window_block, now, rule, rows)
        self._measure_limited(slots, wanted, window_block, now, memory, rule)

    def _measure_limited(
        self,
        slots: NDArray[np.intp],
        rows: NDArray[np.intp],
        window_block: WindowBlock,
        now: float,
        memory: AdaptiveState,
        rule: AdaptiveParameters,
    ) -> None:
        """Measure the slots whose evidence does not reach back as far as the windows."""
        deranked, epoch = memory.cause[slots] > 0, np.minimum(memory.epoch[slots], now)
        reach_s = reach_of(rule)
        limited = np.flatnonzero(window_block.seen[rows] & (deranked | (epoch > now - reach_s)))
        if len(limited):
            own, since = rows[limited], epoch[limited]
            history = evidence_series(window_block, own, now, reach_s, self._counters, float(since.min()))
            history = history.since(since)
            self._measure_epochs(slots[limited], history, now, rule)
            kept = deranked[limited]
            self._measure_deranked(slots[limited[kept]], history.of(kept), now, memory, rule)

    def _sums(self, window_block: WindowBlock, now: float, window_s: float, rows: Rows) -> tuple[Integers, Integers]:
        """Return calls and bad calls over a window, of some rows."""
        return self._counters.split(select_rows(window_block.sums(self._counters.columns, now, window_s), rows))

    def _measure_windows(
        self, slots: NDArray[np.intp], window_block: WindowBlock, now: float, rule: AdaptiveParameters, rows: Rows
    ) -> None:
        for place, window_s in enumerate(WINDOWS_S):
            self.calls[place, slots], self.bad[place, slots] = self._sums(window_block, now, window_s, rows)
        self.quiet_calls[slots] = self.quiet_bad[slots] = np.nan
        if rule.quiet_ttl_s != THREE_DAYS_S:
            quiet = self._sums(window_block, now, rule.quiet_ttl_s, rows)
            self.quiet_calls[slots], self.quiet_bad[slots] = quiet

    def measure_dispersion(
        self, number: int, window_block: WindowBlock, now: float, memory: AdaptiveState, rule: AdaptiveParameters
    ) -> NDArray[np.bool_]:
        """Measure the dispersion if a half-hour ended; return the rows that changed.

        Every row is measured, so that a common cause counts from the next ended half-hour on without samples as well.
        """
        here = slice(number * ROWS, (number + 1) * ROWS)
        width_s = _half_hours(window_block)
        # Ended periods change only with late samples, so this is computed every half-hour only.
        if self._dispersion_revisions.get(number) == (revision := window_block.revision(now, width_s)):
            return np.zeros(ROWS, np.bool_)
        self._dispersion_revisions[number] = revision
        before = self.dispersion_sum[here].copy(), self.pairs[here].copy()
        series = window_block.series(self._counters.columns, now, width_s, WINDOWS_S[DAY])
        calls, bad = self._counters.split(series)
        begins = (revision[0] + np.arange(1 - len(calls), 0)) * width_s
        cause = memory.common_begin[here], memory.common_end[here]
        apart = ~self._common_periods.touched(number, begins, width_s, cause)
        total, self.pairs[here] = dispersion(calls[:-1] * apart, bad[:-1] * apart)
        weight = window_weights(self, here, DAY, rule).bad
        self.dispersion_sum[here] = limited_dispersion(total, self.pairs[here], weight)
        return np.asarray((self.dispersion_sum[here] != before[0]) | (self.pairs[here] != before[1]))

    def _measure_epochs(
        self, slots: NDArray[np.intp], history: EvidenceSeries, now: float, rule: AdaptiveParameters
    ) -> None:
        """Measure slots whose evidence started within a window."""
        for place, window_s in enumerate(WINDOWS_S):
            self.calls[place, slots], self.bad[place, slots] = history.sums(now - window_s)
        if rule.quiet_ttl_s != THREE_DAYS_S:
            self.quiet_calls[slots], self.quiet_bad[slots] = history.sums(now - rule.quiet_ttl_s)

    def _measure_deranked(
        self,
        slots: NDArray[np.intp],
        history: EvidenceSeries,
        now: float,
        memory: AdaptiveState,
        rule: AdaptiveParameters,
    ) -> None:
        weights = fresh_weights(self, slots, now - memory.epoch[slots], WINDOWS_S[: DAY + 1], rule)
        wanted = rule.fresh_calls * memory.phi[slots] / np.maximum(weights.calls, LEAST_WEIGHT)
        calls, bad, since = history.latest(wanted)
        # From the start of its minute: only probes reach these deployments.
        begun = np.floor(np.nan_to_num(memory.burst_from[slots], nan=np.inf) / _MINUTE_S) * _MINUTE_S
        burst = history.since(begun)
        if rule.trial_share > 0:
            # The latest calls may be too few to be below a low threshold, however clean they are.
            whole = burst.latest(wanted * max(1.0, TRIAL_CALLS / rule.fresh_calls))
            longer = (whole[0] > calls) & (whole[1] * calls <= bad * whole[0])
            calls, bad = np.where(longer, whole[0], calls), np.where(longer, whole[1], bad)
            since = np.where(longer, np.maximum(whole[2], begun), since)
        self.fresh_calls[slots], self.fresh_from[slots] = calls * weights.calls, since
        self.fresh_bad[slots] = np.minimum(bad * weights.bad, self.fresh_calls[slots])
        weight = trial_weight(self, slots, now - begun, WINDOWS_S[: DAY + 1], rule)
        self.burst_calls[slots], self.burst_bad[slots] = burst.calls.sum(axis=0), burst.bad.sum(axis=0) * weight

    def _measure_traffic(self, slots: NDArray[np.intp], window_block: WindowBlock, now: float, rows: Rows) -> None:
        if self._counters is not CALLS:
            self.offered_hour[slots], _ = self._sums(window_block, now, WINDOWS_S[HOUR], rows)
            self.offered_day[slots], _ = self._sums(window_block, now, WINDOWS_S[DAY], rows)
            return
        quarter, hour, day = (
            select_rows(window_block.sums(_TRAFFIC, now, WINDOWS_S[place]), rows) for place in (QUARTER, HOUR, DAY)
        )
        self.load[slots] = np.maximum((quarter[0] + quarter[1]) / 15.0, (hour[0] + hour[1]) / 60.0)
        self.offered_hour[slots] = hour[2]
        self.offered_day[slots] = day[2]
        self.meant_day[slots] = day[3:].sum(axis=0)
        (fine_s, reach_s), coarse_s = window_block.counter_widths[0], _half_hours(window_block)
        minutes = window_block.occupied(CounterKind.TIMED, now, fine_s, reach_s)
        minutes = minutes + window_block.occupied(CounterKind.TIMED, now, coarse_s, WINDOWS_S[DAY], reach_s)
        self.minutes[slots] = minutes[rows]

    def _measure_callers(
        self, slots: NDArray[np.intp], window_block: WindowBlock, now: float, rule: AdaptiveParameters, rows: Rows
    ) -> None:
        def cells(first: HistogramKind, last: HistogramKind, window_s: float) -> NDArray[np.integer]:
            return select_rows(window_block.cells(first, last, now, window_s), rows)

        if self._counters is not CALLS:
            kind = HistogramKind.CHECKED_CALLERS
            self._limit_callers(slots, [cells(kind, kind, window_s) for window_s in WINDOWS_S[: DAY + 1]], rule)
            return
        last = HistogramKind.CALLERS
        windows = [
            cells(HistogramKind.CASE_MIX if place == DAY else last, last, window_s)
            for place, window_s in enumerate(WINDOWS_S[: DAY + 1])
        ]
        self._limit_callers(slots, windows, rule)
        mix = windows[DAY][0].reshape(BINS // 4, 2, 2, len(slots))[:BUCKETS, 0].astype(np.int64)
        self.mix_calls[:, slots] = mix.sum(axis=1)
        self.mix_bad[:, slots] = limited_mix(mix.sum(axis=1), mix[:, 1], window_weights(self, slots, DAY, rule).bad)

    def _limit_callers(
        self, slots: NDArray[np.intp], windows: Sequence[NDArray[np.integer]], rule: AdaptiveParameters
    ) -> None:
        """Set the factors that limit every caller, from the cells of each window."""
        keys, accounts = factors_of_cells(windows, rule.caller_share)
        names = (("weight_calls", "weight_bad", "by_caller"), ("account_calls", "account_bad", "by_account"))
        for (calls, bad, by_number), found in zip(names, (keys, accounts), strict=True):
            for column, factors in ((calls, found[0]), (bad, found[1])):
                getattr(self, column)[: DAY + 1, slots] = factors
                getattr(self, column)[DAY + 1, slots] = factors[DAY]
            getattr(self, by_number)[:, slots] = found[2]


def _half_hours(window_block: WindowBlock) -> int:
    """Return the seconds of the finest periods that cover a day."""
    return next(width_s for width_s, reach_s in window_block.counter_widths if reach_s >= WINDOWS_S[DAY])

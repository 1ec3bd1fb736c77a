"""Evidence on tool calls, read from the windows at each recompute.

A *call* here is a router-chosen answer that attempted a tool call: evaluated, or lost in another form. It is *bad*
when the arguments were no JSON, the tool does not exist, the arguments do not match the schema or the call was lost.
Calls with a deployment pinned by the caller are excluded, because they are no random sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.stats.concentration import caller_factors
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.tiers.adaptive.caller_limits import (
    LEAST_WEIGHT,
    fresh_weights,
    limited_mix,
    trial_weight,
    window_weights,
)
from exacto_plugin.core.tiers.adaptive.dispersion import dispersion, limited_dispersion
from exacto_plugin.core.windows.increments import CALLERS, FAULTS, CounterKind, HistogramKind
from exacto_plugin.core.windows.windows import ROWS
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.windows.windows import WindowBlock

    Floats = NDArray[np.float64]

WINDOWS_S = (300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 259_200.0)
"""Windows of the derank tests, then the longest time to live."""

QUARTER, HOUR, DAY = 1, 2, 4
"""Indices of 15 minutes, the hour and the day in ``WINDOWS_S``."""

BUCKETS = 4
"""Number of case-mix buckets by complexity."""

COLUMNS = (CounterKind.CALLED, *FAULTS, CounterKind.LOST, CounterKind.PINNED_CALLED, CounterKind.PINNED_FAULTY)

_TRAFFIC = (
    CounterKind.ANSWERED,
    CounterKind.FAILED,
    CounterKind.OFFERED,
    CounterKind.CALLED,
    CounterKind.UNSCORED,
    CounterKind.LOST,
)

_MINUTE_S = 60.0


def calls_and_bad(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return router-chosen calls and bad calls of counters ``COLUMNS``.

    The counters are along the first axis. In the example 10 answers called a tool and 2 more lost their calls; 3 calls
    were pinned, one of them bad.

    >>> calls, bad = calls_and_bad(np.array([[10], [1], [0], [2], [2], [3], [1]]))
    >>> calls.tolist(), bad.tolist()
    ([9], [4])
    """
    called, json, name, schema, lost, pinned, pinned_bad = counts
    return called + lost - pinned, json + name + schema + lost - pinned_bad


class EvidenceSeries(NamedTuple):
    """History of some rows without gaps, oldest first.

    Tiles of minutes are the newest, then 5 minutes, then half-hours.
    """

    start: NDArray[np.int64]
    """Start of each tile, UTC seconds."""
    calls: NDArray[np.int64]
    """Of shape ``[tile, row]``, as is ``bad``."""
    bad: NDArray[np.int64]

    def since(self, at: NDArray[np.float64]) -> EvidenceSeries:
        """Set tiles that began before a row's time to 0."""
        counted = self.start[:, np.newaxis] >= at
        return EvidenceSeries(self.start, self.calls * counted, self.bad * counted)

    def of(self, rows: NDArray[np.bool_]) -> EvidenceSeries:
        """Select some rows."""
        return EvidenceSeries(self.start, self.calls[:, rows], self.bad[:, rows])

    def sums(self, at: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sum calls and bad calls of the tiles that began at ``at`` or later."""
        first = int(np.searchsorted(self.start, at))
        return self.calls[first:].sum(axis=0), self.bad[first:].sum(axis=0)

    def latest(self, wanted: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Sum the newest tiles that hold ``wanted`` calls of each row.

        Returns calls, bad calls and the start of the oldest of these tiles; all tiles if there are fewer calls.

        >>> column = lambda *numbers: np.array(numbers)[:, np.newaxis]
        >>> series = EvidenceSeries(np.array([0, 60, 120]), column(10, 20, 30), column(5, 2, 1))
        >>> [part.tolist() for part in series.latest(np.array([40.0]))]
        [[50], [3], [60]]
        """
        calls = np.cumsum(self.calls[::-1], axis=0)
        bad = np.cumsum(self.bad[::-1], axis=0)
        reached = calls >= wanted
        place = np.where(reached.any(axis=0), reached.argmax(axis=0), len(calls) - 1)
        rows = np.arange(calls.shape[1])
        return calls[place, rows], bad[place, rows], self.start[::-1][place]


def evidence_series(window_block: WindowBlock, rows: NDArray[np.intp], now: float) -> EvidenceSeries:
    """Read the history of some rows of a window block."""
    starts: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64]] = []
    end = np.inf
    widths = window_block.counter_widths
    for place, (width_s, reach_s) in enumerate(widths):
        series = window_block.series(COLUMNS, now, width_s, reach_s, rows)
        start = (int(now // width_s) - np.arange(series.shape[1])[::-1]) * width_s
        coarser_s = widths[place + 1][0] if place + 1 < len(widths) else 1
        begin = -(-int(start[0]) // coarser_s) * coarser_s
        own = (start >= begin) & (start < end)
        starts.insert(0, start[own])
        counts.insert(0, series[:, own])
        end = begin
    calls, bad = calls_and_bad(np.concatenate(counts, axis=1))
    return EvidenceSeries(np.concatenate(starts), calls, bad)


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
}


@wire(
    "calls bad weight_calls weight_bad pairs offered_day offered_hour meant_day load minutes by_caller "
    "mix_calls mix_bad fresh_calls fresh_bad fresh_from burst_calls burst_bad account_calls account_bad by_account",
    dispersion_sum="surprise",
)
class Evidence:
    """Measurements of one recompute; slots are the last axis.

    The attributes are in the order in which verification reads them.
    """

    __slots__ = (*_SHAPES, "_dispersion_revisions")

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
    """Deranked deployments: the latest calls, the bad ones and their start.
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

    def __init__(self) -> None:
        self._dispersion_revisions: dict[int, tuple[int, int]] = {}
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

    def measure(
        self, number: int, window_block: WindowBlock, now: float, memory: AdaptiveState, rule: AdaptiveParameters
    ) -> None:
        """Read one window block."""
        here = slice(number * ROWS, (number + 1) * ROWS)
        epoch = np.minimum(memory.epoch[here], now)
        self._measure_windows(number, window_block, now)
        self._measure_traffic(here, window_block, now)
        self._measure_callers(here, window_block, now, rule)
        self._measure_dispersion(number, window_block, now, rule)
        deranked = memory.cause[here] > 0
        limited = np.flatnonzero(window_block.seen & (deranked | (epoch > now - WINDOWS_S[-1])))
        if len(limited):
            history = evidence_series(window_block, limited, now).since(epoch[limited])
            self._measure_epochs(number * ROWS + limited, history, now)
            kept = deranked[limited]
            self._measure_deranked(number * ROWS + limited[kept], history.of(kept), now, memory, rule)

    def _measure_windows(self, number: int, window_block: WindowBlock, now: float) -> None:
        here = slice(number * ROWS, (number + 1) * ROWS)
        for place, window_s in enumerate(WINDOWS_S):
            self.calls[place, here], self.bad[place, here] = calls_and_bad(window_block.sums(COLUMNS, now, window_s))

    def _measure_dispersion(self, number: int, window_block: WindowBlock, now: float, rule: AdaptiveParameters) -> None:
        here = slice(number * ROWS, (number + 1) * ROWS)
        width_s, _ = window_block.counter_widths[-1]
        # Ended periods change only with late samples, so this is computed every half-hour only.
        if self._dispersion_revisions.get(number) != (revision := window_block.revision(now, width_s)):
            self._dispersion_revisions[number] = revision
            calls, bad = calls_and_bad(window_block.series(COLUMNS, now, width_s, WINDOWS_S[DAY]))
            total, self.pairs[here] = dispersion(calls[:-1], bad[:-1])
            weight = window_weights(self, here, DAY, rule).bad
            self.dispersion_sum[here] = limited_dispersion(total, self.pairs[here], weight)

    def _measure_epochs(self, slots: NDArray[np.intp], history: EvidenceSeries, now: float) -> None:
        """Measure slots whose evidence started within a window."""
        for place, window_s in enumerate(WINDOWS_S):
            self.calls[place, slots], self.bad[place, slots] = history.sums(now - window_s)

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
        calls, bad, self.fresh_from[slots] = history.latest(wanted)
        self.fresh_calls[slots] = calls * weights.calls
        self.fresh_bad[slots] = np.minimum(bad * weights.bad, self.fresh_calls[slots])
        # From the start of its minute: only probes reach these deployments.
        begun = np.floor(np.nan_to_num(memory.burst_from[slots], nan=np.inf) / _MINUTE_S) * _MINUTE_S
        burst = history.since(begun)
        weight = trial_weight(self, slots, now - begun, WINDOWS_S[: DAY + 1], rule)
        self.burst_calls[slots], self.burst_bad[slots] = burst.calls.sum(axis=0), burst.bad.sum(axis=0) * weight

    def _measure_traffic(self, here: slice, window_block: WindowBlock, now: float) -> None:
        quarter, hour, day = (window_block.sums(_TRAFFIC, now, WINDOWS_S[place]) for place in (QUARTER, HOUR, DAY))
        self.load[here] = np.maximum((quarter[0] + quarter[1]) / 15.0, (hour[0] + hour[1]) / 60.0)
        self.offered_hour[here] = hour[2]
        self.offered_day[here] = day[2]
        self.meant_day[here] = day[3:].sum(axis=0)
        (fine_s, reach_s), (coarse_s, _) = window_block.counter_widths[0], window_block.counter_widths[-1]
        minutes = window_block.occupied(CounterKind.TIMED, now, fine_s, reach_s)
        self.minutes[here] = minutes + window_block.occupied(CounterKind.TIMED, now, coarse_s, WINDOWS_S[DAY], reach_s)

    def _measure_callers(self, here: slice, window_block: WindowBlock, now: float, rule: AdaptiveParameters) -> None:
        windows = [
            window_block.cells(
                HistogramKind.CASE_MIX if place == DAY else HistogramKind.CALLERS, HistogramKind.CALLERS, now, window_s
            )
            for place, window_s in enumerate(WINDOWS_S[: DAY + 1])
        ]
        # Sums of 16-bit cells over all callers stay below 2**23; wider cells need int64.
        kind = np.int32 if max(cells.itemsize for cells in windows) <= 2 else np.int64
        keys = self._limits_of(windows, 0, kind, rule)
        # Without accounts the keys are counted twice, and counting costs more than comparing.
        accounts = keys if _have_one_number(windows) else self._limits_of(windows, 2 * CALLERS, kind, rule)
        names = (("weight_calls", "weight_bad", "by_caller"), ("account_calls", "account_bad", "by_account"))
        for (calls, bad, by_number), found in zip(names, (keys, accounts), strict=True):
            for column, factors in ((calls, found[0]), (bad, found[1])):
                getattr(self, column)[: DAY + 1, here] = factors
                getattr(self, column)[DAY + 1, here] = factors[DAY]
            getattr(self, by_number)[:, here] = found[2]
        mix = windows[DAY][0].reshape(BINS // 4, 2, 2, ROWS)[:BUCKETS, 0].astype(np.int64)
        self.mix_calls[:, here] = mix.sum(axis=1)
        self.mix_bad[:, here] = limited_mix(mix.sum(axis=1), mix[:, 1], window_weights(self, here, DAY, rule).bad)

    @staticmethod
    def _limits_of(
        windows: Sequence[NDArray[np.integer]], first: int, kind: type[np.integer], rule: AdaptiveParameters
    ) -> tuple[Floats, Floats, NDArray[np.integer]]:
        """Return both factors and the calls of a day by number, from cell ``first`` on."""
        calls, bad = np.zeros((2, DAY + 1, CALLERS, ROWS), kind)
        for place, cells in enumerate(windows):
            bad[place] = cells[-1, first + 1 : first + 2 * CALLERS : 2]
            np.add(cells[-1, first : first + 2 * CALLERS : 2], bad[place], out=calls[place])
        return *caller_factors(calls, bad, rule.caller_share), calls[DAY]


def _have_one_number(windows: Sequence[NDArray[np.integer]]) -> bool:
    """Return True if the cells of accounts equal those of keys."""
    return all(np.array_equal(cells[-1, : 2 * CALLERS], cells[-1, 2 * CALLERS :]) for cells in windows)

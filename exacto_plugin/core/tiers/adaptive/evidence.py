"""Evidence: what the windows say about tool calls, read once per recompute for the adaptive rule.

A *call* here is a router-chosen answer that attempted a tool call: judged, or lost in another form. It is *bad* when
the arguments were no JSON, the tool does not exist, the schema does not fit or the call was lost. Calls where the
caller pinned the deployment are left out: who pins is not a random sample. No threshold and no tier lives here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.stats.concentration import caller_weight_cap
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.windows.increments import CALLERS, FAULTS, CounterKind, HistogramKind
from exacto_plugin.core.windows.windows import ROWS
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.windows.windows import WindowBlock

    Floats = NDArray[np.float64]

WINDOWS_S = (300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 259_200.0)
"""The windows that may derank, and the longest time to live."""

QUARTER, HOUR, DAY = 1, 2, 4
"""Places of 15 minutes, the hour and the day in ``WINDOWS_S``."""

BUCKETS = 4
"""Case-mix buckets by complexity."""

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

_MAX_DISPERSION = 25.0
"""Largest share of a pair of half-hours in the dispersion, so that one step does not pass for clusters."""


def calls_and_bad(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Router-chosen calls and the bad ones of them, from the counters ``COLUMNS`` along the first axis."""
    called, json, name, schema, lost, pinned, pinned_bad = counts
    return called + lost - pinned, json + name + schema + lost - pinned_bad


class EvidenceSeries(NamedTuple):
    """A few rows' whole history, seamless: by minutes, then by 5 minutes, then by half-hours; oldest first."""

    start: NDArray[np.int64]
    """When each tile begins, UTC seconds."""
    calls: NDArray[np.int64]
    """Of shape ``[tile, row]``, as is ``bad``."""
    bad: NDArray[np.int64]

    def since(self, at: NDArray[np.float64]) -> EvidenceSeries:
        """Without the tiles that began before a row's time; the others stay where they are."""
        counted = self.start[:, np.newaxis] >= at
        return EvidenceSeries(self.start, self.calls * counted, self.bad * counted)

    def of(self, rows: NDArray[np.bool_]) -> EvidenceSeries:
        """Of some rows."""
        return EvidenceSeries(self.start, self.calls[:, rows], self.bad[:, rows])

    def sums(self, at: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Calls and bad ones of each row in the tiles that began at a time or later."""
        first = int(np.searchsorted(self.start, at))
        return self.calls[first:].sum(axis=0), self.bad[first:].sum(axis=0)

    def latest(self, wanted: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Calls, bad ones and the begin of the newest tiles that hold ``wanted`` calls of each row, all if fewer."""
        calls = np.cumsum(self.calls[::-1], axis=0)
        bad = np.cumsum(self.bad[::-1], axis=0)
        reached = calls >= wanted
        place = np.where(reached.any(axis=0), reached.argmax(axis=0), len(calls) - 1)
        rows = np.arange(calls.shape[1])
        return calls[place, rows], bad[place, rows], self.start[::-1][place]


def evidence_series(slab: WindowBlock, rows: NDArray[np.intp], now: float) -> EvidenceSeries:
    """Read the tiles of some rows of a slab."""
    starts: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64]] = []
    end = np.inf
    widths = slab.counter_widths
    for place, (width_s, reach_s) in enumerate(widths):
        series = slab.series(COLUMNS, now, width_s, reach_s, rows)
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
    "surprise": (),
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
}


@wire(
    "calls bad weight_calls weight_bad surprise pairs offered_day offered_hour meant_day load minutes by_caller "
    "mix_calls mix_bad fresh_calls fresh_bad fresh_from burst_calls burst_bad"
)
class Evidence:
    """All measurements of one recompute, by slot along the last axis; in the order in which verification reads them."""

    __slots__ = (*_SHAPES, "_dispersion_revisions")

    calls: Floats
    """Calls of the current evidence epoch in each of ``WINDOWS_S``, as is ``bad``."""
    bad: Floats
    weight_calls: Floats
    """Factor on the calls of each window that limits the largest caller, as is ``weight_bad`` on the bad ones."""
    weight_bad: Floats
    surprise: Floats
    """Sum of squared changes between half-hours of a day, in units of what independent calls would show."""
    pairs: Floats
    """How many such changes."""
    offered_day: Floats
    """Answers to requests with tools, over a day and over an hour."""
    offered_hour: Floats
    meant_day: Floats
    """Of the day's, those that attempted a call."""
    load: Floats
    """Requests a minute, the larger of the last 15 minutes' and the last hour's average."""
    minutes: Floats
    """A lower bound on the distinct minutes of a day with a measured speed."""
    by_caller: Floats
    """A day's calls by caller number."""
    mix_calls: Floats
    """A day's calls by complexity, as is ``mix_bad``."""
    mix_bad: Floats
    fresh_calls: Floats
    """Of deranked ones: the most recent calls, the bad ones among them and when they began."""
    fresh_bad: Floats
    fresh_from: Floats
    burst_calls: Floats
    """Of deranked ones: calls since the trial in progress began, and the bad ones."""
    burst_bad: Floats

    def __init__(self) -> None:
        self._dispersion_revisions: dict[int, tuple[int, int]] = {}
        for name, shape in _SHAPES.items():
            setattr(self, name, np.zeros((*shape, 0)))

    def resize(self, slots: int) -> None:
        """Make room for slots below ``slots``."""
        if (more := slots - self.surprise.shape[-1]) > 0:
            for name, shape in _SHAPES.items():
                setattr(self, name, np.append(getattr(self, name), np.zeros((*shape, more)), axis=-1))

    def forget(self, slots: Collection[int]) -> None:
        """Drop what was measured of some slots."""
        for name in _SHAPES:
            getattr(self, name)[..., list(slots)] = 0

    def measure(
        self, number: int, slab: WindowBlock, now: float, memory: AdaptiveState, rule: AdaptiveParameters
    ) -> None:
        """Read one slab."""
        here = slice(number * ROWS, (number + 1) * ROWS)
        epoch = np.minimum(memory.epoch[here], now)
        self._measure_windows(number, slab, now)
        self._measure_traffic(here, slab, now)
        self._measure_callers(here, slab, now, rule)
        deranked = memory.cause[here] > 0
        limited = np.flatnonzero(slab.seen & (deranked | (epoch > now - WINDOWS_S[-1])))
        if len(limited):
            history = evidence_series(slab, limited, now).since(epoch[limited])
            self._measure_epochs(number * ROWS + limited, history, now)
            kept = deranked[limited]
            self._measure_deranked(number * ROWS + limited[kept], history.of(kept), memory, rule)

    def _measure_windows(self, number: int, slab: WindowBlock, now: float) -> None:
        here = slice(number * ROWS, (number + 1) * ROWS)
        for place, window_s in enumerate(WINDOWS_S):
            self.calls[place, here], self.bad[place, here] = calls_and_bad(slab.sums(COLUMNS, now, window_s))
        width_s, _ = slab.counter_widths[-1]
        # What is over stays as it is but for late samples, so this is done anew every half-hour only.
        if self._dispersion_revisions.get(number) != (revision := slab.revision(now, width_s)):
            self._dispersion_revisions[number] = revision
            calls, bad = calls_and_bad(slab.series(COLUMNS, now, width_s, WINDOWS_S[DAY]))
            self.surprise[here], self.pairs[here] = dispersion(calls[:-1], bad[:-1])

    def _measure_epochs(self, slots: NDArray[np.intp], history: EvidenceSeries, now: float) -> None:
        """Evidence of those whose epoch began within a window."""
        for place, window_s in enumerate(WINDOWS_S):
            self.calls[place, slots], self.bad[place, slots] = history.sums(now - window_s)

    def _measure_deranked(
        self, slots: NDArray[np.intp], history: EvidenceSeries, memory: AdaptiveState, rule: AdaptiveParameters
    ) -> None:
        wanted = rule.fresh_calls * memory.phi[slots]
        self.fresh_calls[slots], self.fresh_bad[slots], self.fresh_from[slots] = history.latest(wanted)
        # From the beginning of its minute on: nothing but probes reaches them anyway.
        begun = np.floor(np.nan_to_num(memory.burst_from[slots], nan=np.inf) / _MINUTE_S) * _MINUTE_S
        burst = history.since(begun)
        self.burst_calls[slots], self.burst_bad[slots] = burst.calls.sum(axis=0), burst.bad.sum(axis=0)

    def _measure_traffic(self, here: slice, slab: WindowBlock, now: float) -> None:
        quarter, hour, day = (slab.sums(_TRAFFIC, now, WINDOWS_S[place]) for place in (QUARTER, HOUR, DAY))
        self.load[here] = np.maximum((quarter[0] + quarter[1]) / 15.0, (hour[0] + hour[1]) / 60.0)
        self.offered_hour[here] = hour[2]
        self.offered_day[here] = day[2]
        self.meant_day[here] = day[3:].sum(axis=0)
        (fine_s, reach_s), (coarse_s, _) = slab.counter_widths[0], slab.counter_widths[-1]
        minutes = slab.occupied(CounterKind.TIMED, now, fine_s, reach_s)
        self.minutes[here] = minutes + slab.occupied(CounterKind.TIMED, now, coarse_s, WINDOWS_S[DAY], reach_s)

    def _measure_callers(self, here: slice, slab: WindowBlock, now: float, rule: AdaptiveParameters) -> None:
        windows = [
            slab.cells(
                HistogramKind.CASE_MIX if place == DAY else HistogramKind.CALLERS, HistogramKind.CALLERS, now, window_s
            )
            for place, window_s in enumerate(WINDOWS_S[: DAY + 1])
        ]
        # Cells of 16 bits make up less than 2**23 over all callers; where there are wider ones, any number.
        kind = np.int32 if max(cells.itemsize for cells in windows) <= 2 else np.int64
        calls, bad = np.zeros((2, DAY + 1, CALLERS, ROWS), kind)
        for place, cells in enumerate(windows):
            bad[place] = cells[-1, 1 : 2 * CALLERS : 2]
            np.add(cells[-1, : 2 * CALLERS : 2], bad[place], out=calls[place])
        weights = caller_weight_cap(calls, bad, rule.caller_share)
        for column, factors in zip((self.weight_calls, self.weight_bad), weights, strict=True):
            column[: DAY + 1, here] = factors
            column[DAY + 1, here] = factors[DAY]
        self.by_caller[:, here] = calls[DAY]
        mix = windows[DAY][0].reshape(BINS // 4, 2, 2, ROWS)[:BUCKETS, 0].astype(np.int64)
        self.mix_calls[:, here] = mix.sum(axis=1)
        self.mix_bad[:, here] = mix[:, 1]


def dispersion(calls: NDArray[np.int64], bad: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """How much rates change from one period to the next, and over how many pairs; input ``[period, row]``.

    Each squared change is in units of the variance that independent calls would have, so the mean over many pairs is
    the design effect. Neighbours are compared instead of each with the mean: a break or a day's rhythm, which is no
    clustering, then adds one pair and not all. (Measured
    three hours after one of 14 deployments broke from 1 % to 25 %: 1.02 instead of 3.36.)
    """
    total = calls.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = bad.sum(axis=0) / total
        rates = bad / calls
        squared_change = (rates[1:] - rates[:-1]) ** 2 / (rate * (1 - rate) * (1 / calls[1:] + 1 / calls[:-1]))
    known = np.isfinite(squared_change)
    return np.minimum(np.where(known, squared_change, 0.0), _MAX_DISPERSION).sum(axis=0), known.sum(axis=0).astype(
        np.float64
    )

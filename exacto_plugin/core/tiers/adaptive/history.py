"""Calls and bad calls of deployments, and their history without gaps.

A *call* here is a router-chosen answer that attempted a tool call: evaluated, or lost in another form. It is *bad*
when the arguments were no JSON, the tool does not exist, the arguments do not match the schema or the call was lost.
Calls with a deployment pinned by the caller are excluded, because they are no random sample.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.lasting_ring import LASTING
from exacto_plugin.core.windows.passing import tile_start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.windows.windows import WindowBlock

    Floats = NDArray[np.float64]

COLUMNS = LASTING
"""The counters that tell calls and bad calls."""

THREE_DAYS_S = 259_200.0
"""How far back all counters reach."""


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


class Counts(NamedTuple):
    """Calls and bad calls, before division by the design effect.

    Every caller is already limited.
    """

    calls: Floats
    bad: Floats

    def rate(self) -> Floats:
        """Return the share of bad calls; NaN without calls.

        >>> Counts(np.array([40.0, 0.0]), np.array([2.0, 0.0])).rate().tolist()
        [0.05, nan]
        """
        rate = np.full(np.shape(self.calls), np.nan)
        np.divide(self.bad, self.calls, out=rate, where=self.calls > 0)
        return rate


class EvidenceCounters(NamedTuple):
    """The counters of one kind of evidence."""

    columns: tuple[CounterKind, ...]
    split: Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64]]]
    """Returns all and the bad ones of these counters, which are along the first axis."""


CALLS = EvidenceCounters(COLUMNS, calls_and_bad)
ANSWERS = EvidenceCounters((CounterKind.CHECKED, CounterKind.BROKEN), lambda counts: (counts[0], counts[1]))


class EvidenceSeries(NamedTuple):
    """History of some rows without gaps, oldest first.

    Tiles of minutes are the newest, then 5 minutes, half-hours and 6 hours.
    """

    start: NDArray[np.int64]
    """Start of each tile, UTC seconds."""
    calls: NDArray[np.int64]
    """Of shape ``[tile, row]``, as is ``bad``: those of the newest tiles, before which there are none."""
    bad: NDArray[np.int64]

    def since(self, at: NDArray[np.float64]) -> EvidenceSeries:
        """Set tiles that began before a row's time to 0."""
        counted = self.start[-len(self.calls) :, np.newaxis] >= at
        return EvidenceSeries(self.start, self.calls * counted, self.bad * counted)

    def of(self, rows: NDArray[np.bool_]) -> EvidenceSeries:
        """Select some rows."""
        return EvidenceSeries(self.start, self.calls[:, rows], self.bad[:, rows])

    def sums(self, at: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sum calls and bad calls of the tiles that began at ``at`` or later."""
        first = int(np.searchsorted(self.start[-len(self.calls) :], at))
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
        enough, place = reached.any(axis=0), reached.argmax(axis=0)
        place[~enough] = len(calls) - 1
        rows = np.arange(calls.shape[1])
        return calls[place, rows], bad[place, rows], np.where(enough, self.start[::-1][place], self.start[0])


def evidence_series(
    window_block: WindowBlock,
    rows: NDArray[np.intp],
    now: float,
    reach_s: float = THREE_DAYS_S,
    counters: EvidenceCounters = CALLS,
    since: float = -math.inf,
) -> EvidenceSeries:
    """Read the history of some rows of a window block.

    Args:
        window_block: the windows.
        rows: the rows.
        now: UTC seconds.
        reach_s: how far back the tiles reach.
        counters: the counters to read.
        since: counts of tiles that began before this time are not read.
    """
    start, counts = read_series(window_block, rows, now, reach_s, counters.columns, since)
    calls, bad = counters.split(counts)
    return EvidenceSeries(start, calls, bad)


def read_series(
    window_block: WindowBlock,
    rows: NDArray[np.intp],
    now: float,
    reach_s: float,
    columns: Sequence[CounterKind],
    since: float = -math.inf,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the starts of tiles without gaps, and counts ``[counter, tile, row]``.

    The counts are those of the tiles that began at ``since`` or later, and at least of the newest tile.
    """
    starts: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64]] = []
    end = np.inf
    widths = window_block.counter_widths
    needed = next((place for place, (_, reach) in enumerate(widths, start=1) if reach >= reach_s), len(widths))
    widths = widths[:needed]
    since = min(since, now // widths[0][0] * widths[0][0])
    for place, (width_s, ring_s) in enumerate(widths):
        window_s = min(ring_s, reach_s)
        start = (int(now // width_s) - np.arange(math.ceil(window_s / width_s) + 1)[::-1]) * width_s
        coarser_s = widths[place + 1][0] if place + 1 < len(widths) else 1
        begin = tile_start(now, width_s, window_s, coarser_s)
        own = (start >= begin) & (start < end)
        starts.insert(0, start[own])
        if (read := own & (start >= since)).any():
            series = window_block.series(columns, now, width_s, min(window_s, now - since + width_s), rows)
            counts.insert(0, series[:, read[-series.shape[1] :]])
        end = begin
    return np.concatenate(starts), np.concatenate(counts, axis=1)

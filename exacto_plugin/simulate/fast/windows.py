"""The cumulated counts of a fast run by recompute interval, as windows.

A rule reads an ``IntervalBlock`` as it reads a ``WindowBlock``: a window is the difference of two cumulated sums, and
begins where the windows of ``core.windows`` with their usual retention begin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.windows import ROWS, WindowBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.windows.increments import HistogramKind

COUNTED = (
    CounterKind.ANSWERED,
    CounterKind.CALLED,
    CounterKind.SCHEMA_MISMATCH,
    CounterKind.LOST,
    CounterKind.BROKEN,
)
"""The counters that are added by ``IntervalWindows.add``, in this order.
``OFFERED`` and ``CHECKED`` equal the first."""

COARSE_S = 1800
"""Seconds of the coarse periods, which an interval has to divide."""

_PLACES = {int(kind): place for place, kind in enumerate(COUNTED)} | {
    int(CounterKind.OFFERED): 0,
    int(CounterKind.CHECKED): 0,
}

_FINE_REACH_S, _REACH_S = 21_600, 259_200
_LASTING_S, _LASTING_REACH_S = 21_600, 604_800
_CELLS_FINE_S, _CELLS_COARSE_S, _CELLS_REACH_S = 3600, 7200, 86_400


class IntervalWindows:
    """Cumulated counts of all rows.

    Args:
        rows: number of rows, rounded up to whole blocks.
        interval_s: seconds between two recomputes, a divisor of ``COARSE_S``.
        cells: the cells ``kind * BINS + bin`` that can be counted, ascending.
    """

    def __init__(self, rows: int, interval_s: int, cells: NDArray[np.int64]) -> None:
        blocks = -(-rows // ROWS)
        self.interval_s = interval_s
        self.cell_numbers = cells
        self.steps = 0
        """Intervals added so far."""
        self.seen = np.zeros(blocks * ROWS, np.bool_)
        self._kept = (_REACH_S + 2 * COARSE_S) // interval_s + 2
        self._counts = np.zeros((len(COUNTED), 2 * self._kept, len(self.seen)), np.int64)
        self._base = -self._kept
        """Step of the first entry of the counts; they are 0 before the start."""
        self._older: dict[int, NDArray[np.int64]] = {}
        """Counts at the starts of the longest periods, by step."""
        self._cells = {0: np.zeros((len(cells), len(self.seen)), np.int32)}
        self._of_window: dict[int, NDArray[np.int64]] = {}
        self._cells_of_window: dict[int, NDArray[np.int32]] = {}
        self.blocks = [IntervalBlock(self, number) for number in range(blocks)]

    def add(self, counts: NDArray[np.int64], cells: NDArray[np.int64]) -> None:
        """Add the counts of the next interval.

        Args:
            counts: of ``COUNTED``, shape ``[counter, row]``; the last ones may be left out.
            cells: of ``cell_numbers``, shape ``[cell, row]``.
        """
        rows = counts.shape[1]
        at = self.steps - self._base + 1
        if at == self._counts.shape[1]:
            self._counts[:, : self._kept] = self._counts[:, -self._kept :].copy()
            self._base += self._kept
            at -= self._kept
        newest = self._counts[:, at]
        newest[:] = self._counts[:, at - 1]
        newest[: len(counts), :rows] += counts
        if (self.steps + 1) * self.interval_s % _LASTING_S == 0:
            self._older[self.steps + 1] = newest.copy()
            self._older.pop(self.steps + 1 - (_LASTING_REACH_S // _LASTING_S + 1) * _LASTING_S // self.interval_s, None)
        total = self._cells[self.steps].copy()
        total[:, :rows] += cells.astype(np.int32)
        self.steps += 1
        self.seen[:rows] |= counts[0] > 0
        self._cells[self.steps] = total
        self._cells = {step: sums for step, sums in self._cells.items() if self._is_needed(step)}
        self._of_window, self._cells_of_window = {}, {}

    def counts(self, window_s: float) -> NDArray[np.int64]:
        """Return the counts of all counters over a window, ``[counter, row]``."""
        width_s = self.interval_s if window_s <= _FINE_REACH_S else COARSE_S if window_s <= _REACH_S else _LASTING_S
        first = max(0, self._first(min(window_s, _LASTING_REACH_S), width_s))
        if first not in self._of_window:
            table = np.zeros((len(CounterKind), len(self.seen)), np.int64)
            table[list(COUNTED)] = self._at(self.steps) - self._at(first)
            table[CounterKind.OFFERED] = table[CounterKind.CHECKED] = table[CounterKind.ANSWERED]
            self._of_window[first] = table
        return self._of_window[first]

    def series(
        self, columns: Sequence[int], width_s: int, window_s: float, rows: NDArray[np.intp] | slice
    ) -> NDArray[np.int64]:
        """Return the counts of some rows, ``[column, period, row]``, oldest first."""
        stride = width_s // self.interval_s
        first = self._first(window_s, width_s)
        periods = math.ceil(window_s / width_s)
        result = np.zeros((len(columns), periods + 1, len(self.seen[rows])), np.int64)
        for into, column in zip(result, columns, strict=True):
            if (place := _PLACES.get(column)) is not None:
                ends = self._ends(place, range(first, first + periods * stride + 1, stride))[:, rows]
                np.subtract(ends[1:], ends[:-1], out=into[:-1])
                into[-1] = self._at(self.steps)[place, rows] - ends[-1]
        return result

    def _ends(self, place: int, steps: range) -> NDArray[np.int64]:
        """Return a counter's cumulated counts at some steps, ``[step, row]``."""
        if steps.start >= self._base:
            return self._counts[place, steps.start - self._base : steps.stop - self._base : steps.step]
        return np.stack([self._at(step)[place] for step in steps])

    def _at(self, step: int) -> NDArray[np.int64]:
        """Return the cumulated counts at a step, ``[counter, row]``; 0 before the start."""
        if step >= self._base:
            return self._counts[:, step - self._base]
        return self._older.get(step, np.zeros_like(self._counts[:, 0]))

    def cells(self, window_s: float) -> NDArray[np.int32]:
        """Return the counts of ``cell_numbers`` over a window, ``[cell, row]``."""
        width_s = self.interval_s if window_s <= _CELLS_FINE_S else _CELLS_COARSE_S
        first = max(0, self._first(min(window_s, _CELLS_REACH_S), width_s))
        if first not in self._cells_of_window:
            self._cells_of_window[first] = self._cells[self.steps] - self._cells[first]
        return self._cells_of_window[first]

    def _first(self, window_s: float, width_s: int) -> int:
        """Return the number of intervals before a window of whole periods.

        Negative where the window begins before the start.
        """
        elapsed_s = self.steps * self.interval_s
        begin_s = elapsed_s // width_s * width_s - math.ceil(window_s / width_s) * width_s
        return begin_s // self.interval_s

    def _is_needed(self, step: int) -> bool:
        """Check if a later window can begin at a step."""
        age_s = (self.steps - step) * self.interval_s
        whole = step * self.interval_s % _CELLS_COARSE_S == 0
        return age_s <= _CELLS_FINE_S or (whole and age_s <= _CELLS_REACH_S + _CELLS_COARSE_S)


class IntervalBlock(WindowBlock):
    """The rows of one block of ``IntervalWindows``, to be read only."""

    def __init__(self, windows: IntervalWindows, number: int) -> None:
        self._windows = windows
        self._rows = slice(number * ROWS, (number + 1) * ROWS)
        self.dropped = 0
        self.seen = windows.seen[self._rows]
        self._tables: dict[tuple[int, int, float], NDArray[np.int32]] = {}

    @property
    def counter_widths(self) -> tuple[tuple[int, int], ...]:
        """Seconds per period and total seconds, finest first."""
        return (self._windows.interval_s, _FINE_REACH_S), (COARSE_S, _REACH_S), (_LASTING_S, _LASTING_REACH_S)

    def sums(self, columns: Sequence[int], now: float, window_s: float) -> NDArray[np.int64]:
        """Return counts over the last ``window_s`` seconds, ``[column, row]``."""
        return self._windows.counts(window_s)[list(columns), self._rows]

    def series(
        self,
        columns: Sequence[int],
        now: float,
        width_s: int,
        window_s: float,
        rows: NDArray[np.intp] | None = None,
    ) -> NDArray[np.int64]:
        """Return counts per period, ``[column, period, row]``, oldest first."""
        wanted = self._rows if rows is None else rows + self._rows.start
        return self._windows.series(columns, width_s, window_s, wanted)

    def revision(self, now: float, width_s: int) -> tuple[int, int]:
        """Return the number of the current period, since no answer comes late."""
        return int(now // width_s), 0

    def occupied(self, column: int, now: float, width_s: int, window_s: float, but_s: float = 0.0) -> NDArray[np.int64]:
        """Count the periods of ``width_s`` seconds with a count above 0, by row."""
        if column not in _PLACES:
            return np.zeros(ROWS, np.int64)
        counts = self.series((column,), now, width_s, window_s)[0]
        ended = len(counts) - (math.ceil(but_s / width_s) + 1 if but_s else 0)
        return np.asarray((counts[:ended] > 0).sum(axis=0, dtype=np.int64))

    def cells(self, first: HistogramKind, last: HistogramKind, now: float, window_s: float) -> NDArray[np.integer]:
        """Return cells of the kinds ``first`` to ``last``, ``[kind, bin, row]``.

        A read-only view that is valid until the next interval.
        """
        key = (int(first), int(last), window_s)
        if (table := self._tables.get(key)) is None:
            # Other cells stay 0.
            table = self._tables[key] = np.zeros(((last - first + 1) * BINS, ROWS), np.int32)
        numbers = self._windows.cell_numbers
        begin, end = np.searchsorted(numbers, (first * BINS, (last + 1) * BINS))
        if begin < end:
            table[numbers[begin:end] - first * BINS] = self._windows.cells(window_s)[begin:end, self._rows]
        return table.reshape(last - first + 1, BINS, ROWS)

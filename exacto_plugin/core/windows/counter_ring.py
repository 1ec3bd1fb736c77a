"""Ring buffers of dense counters in time buckets, for a fixed number of rows.

A ring retains the newest ``buckets`` periods of ``width_s`` seconds, each under its absolute number (time / width).
The result is therefore independent of the order of samples and of changes of the clock: a period that is no longer
retained is rejected, and a position with another period is cleared before use. Sums over the newest periods are
updated by adding the counts that enter and subtracting those that leave, because summing a day at every recompute
costs several times as much. All arithmetic is on integers, so both ways give equal sums.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from exacto_plugin.core.stats.integers import narrowest
from exacto_plugin.core.stats.zero_pages import clear, widened, zeros
from exacto_plugin.core.windows.passing import passed_periods

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

SMALLEST: np.dtype[np.integer] = np.dtype(np.uint8)
"""Initial type of counts. It is widened when a count exceeds it, which is rare."""

MOST = 2**44
"""Largest count of one addition.
Applies to ``Windows.add``, a saved state and a shared batch; a larger number is damaged data: it takes 2,000 million
answers a second for two hours. Half a million such counts fit into int64."""

EMPTY = np.iinfo(np.int64).min
"""Period number of a position that holds no period."""

MOST_SUMS = 16
"""Largest number of running sums of a ring; the adaptive rule and the sorts read
thirteen of the finest histograms, and sixteen where broken answers derank. With fewer, every recompute starts all of
them anew."""


class RunningSum:
    """Sums over the newest ``span`` ended periods of a ring and the current one."""

    __slots__ = ("current", "span", "total")

    def __init__(self, span: int, total: NDArray[np.integer]) -> None:
        self.span = span
        self.total = total
        self.current = EMPTY
        """The current period at the last reading; ``EMPTY`` before the first."""

    def reset(self) -> None:
        """Reset the sums to 0."""
        clear(self.total)

    def covers(self, period: int) -> bool:
        """Return True if a period is part of the sums."""
        return self.current - self.span <= period <= self.current


_Run = TypeVar("_Run", bound=RunningSum)


class SparseCounts(NamedTuple):
    """Sparse counts of some rows of a ring.

    Three arrays of one length; each key occurs once in a period.
    """

    periods: NDArray[np.int64]
    keys: NDArray[np.int64]
    counts: NDArray[np.int64]


class RingBuffer(Generic[_Run]):
    """Base of both kinds of rings: the period of each position, and running sums."""

    __slots__ = ("_spans", "_sums", "buckets", "periods", "width_s")

    def __init__(self, width_s: int, buckets: int) -> None:
        self.width_s = width_s
        self._spans: frozenset[int] = frozenset()
        """Spans that were read so far, in periods."""
        self.buckets = buckets
        # One more position for the current period and one for a sample that is ahead of the recompute.
        self.periods: NDArray[np.int64] = np.full(buckets + 2, EMPTY, np.int64)
        self._sums: list[_Run] = []

    def period(self, at: float) -> int:
        """Return the absolute number of the period of the time ``at``."""
        return int(at // self.width_s)

    def position_for(self, period: int, now_period: int) -> int | None:
        """Return the position for a period; None when it is not retained.

        A position that holds another period is cleared first.
        """
        if not now_period - self.buckets <= period <= now_period + 1:
            return None
        position = period % len(self.periods)
        if (stamp := int(self.periods[position])) != period:
            if stamp != EMPTY:
                for run in self._sums:
                    if run.covers(stamp):
                        self.count(run, [position], entering=False)
                self.clear(position)
            self.periods[position] = period
        return position

    def positions_for(self, periods: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the positions for the periods of another ring.

        ``kept`` becomes False for periods that are too old for this ring. The current time is taken from the newest
        period of both rings.
        """
        newest = int(max(self.periods.max(), periods[kept].max(initial=EMPTY)))
        found = {period: self.position_for(period, newest - 1) for period in np.unique(periods[kept]).tolist()}
        kept &= np.isin(periods, [period for period, position in found.items() if position is not None])
        return np.array([found[period] for period in periods[kept].tolist()], np.int64)

    def live(self, now: float, window_s: float) -> NDArray[np.intp]:
        """Return the positions of the last ``window_s`` seconds, in no order.

        The current period is added to those of the window, so that the window is complete: the result covers between
        ``window_s`` and ``window_s + width_s`` seconds.
        """
        current = self.period(now)
        return np.flatnonzero((self.periods >= current - self.span(window_s)) & (self.periods <= current))

    def span(self, window_s: float) -> int:
        """Return the number of whole periods in a window."""
        return min(self.buckets, math.ceil(window_s / self.width_s))

    def watched_span(self, window_s: float) -> int:
        """Return the number of whole periods in a window that is read; see ``passed``."""
        span = self.span(window_s)
        if span not in self._spans:
            self._spans |= {span}
        return span

    def passed(self, before: float, now: float, edges: tuple[tuple[int, int], ...]) -> list[int]:
        """Return the positions whose counts are read differently than before.

        That is, the periods that began, ended or left a window that was read so far.

        Args:
            before: UTC seconds of the last reading.
            now: not before ``before``.
            edges: further starts of windows, then and now; periods that begin between them are read differently.
        """
        was, current = self.period(before), self.period(now)
        if current - was > self.buckets:
            return np.flatnonzero(self.periods != EMPTY).tolist()
        return self._retained(passed_periods(self.width_s, was, current, self._spans, edges))

    def advance(self, run: _Run, now: float) -> None:
        """Advance running sums to the time ``now``, which may be before the last one."""
        current, before = self.period(now), run.current
        if current == before:
            return
        moved, run.current = abs(current - before), current
        if moved * 2 > run.span:
            run.reset()
            self.count(run, self._retained(range(current - run.span, current + 1)), entering=True)
            return
        newer, older = range(min(before, current) + 1, max(before, current) + 1), min(before, current) - run.span
        forward = current > before
        self.count(run, self._retained(newer), entering=forward)
        self.count(run, self._retained(range(older, older + moved)), entering=not forward)

    def _retained(self, periods: Iterable[int]) -> list[int]:
        """The positions of those periods that the ring holds."""
        positions = [(period, period % len(self.periods)) for period in periods]
        return [position for period, position in positions if self.periods[position] == period]

    def _start_run(self, run: _Run, now: float) -> _Run:
        """Add running sums as of ``now``, and drop the oldest if there are too many."""
        self._sums = [*self._sums[-MOST_SUMS + 1 :], run]
        self.advance(run, now)
        return run

    def count(self, run: _Run, positions: Sequence[int], *, entering: bool) -> None:
        """Add some positions to running sums, or subtract them."""
        raise NotImplementedError

    def clear(self, position: int) -> None:
        """Clear one position."""
        raise NotImplementedError


class CounterRing(RingBuffer[RunningSum]):
    """Ring of dense counters, stored as ``[column, position, row]``.

    >>> ring = CounterRing(width_s=60, buckets=3, columns=1, rows=2)
    >>> ring.add([10, 11], 11, np.array([[[1, 0], [2, 5]]]))
    [True, True]
    >>> ring.sums([0], now=11 * 60.0, window_s=60.0).tolist(), ring.sums([0], now=13 * 60.0, window_s=60.0).tolist()
    ([[3, 5]], [[0, 0]])
    """

    __slots__ = ("_data", "revision")

    def __init__(self, width_s: int, buckets: int, columns: int, rows: int) -> None:
        super().__init__(width_s, buckets)
        self._data: NDArray[np.integer] = zeros((columns, buckets + 2, rows), SMALLEST)
        self.revision = 0
        """Raised when counts of an ended period change, or rows are erased."""

    def clear(self, position: int) -> None:
        """Set all counters of one position to 0."""
        self._data[self._data[:, position].any(axis=1), position] = 0

    def count(self, run: RunningSum, positions: Sequence[int], *, entering: bool) -> None:
        """Add some positions to running sums, or subtract them."""
        if positions:
            counts = self._data[:, positions].sum(axis=1, dtype=np.int64)
            columns = np.flatnonzero(counts.any(axis=1))
            run.total[columns] += counts[columns] if entering else -counts[columns]

    def add(self, periods: Sequence[int], now_period: int, counts: NDArray[np.int64]) -> list[bool]:
        """Add counts of shape ``[column, period, row]`` to some periods.

        Returns which of the periods are retained.
        """
        positions = [self.position_for(period, now_period) for period in periods]
        retained = [position is not None for position in positions]
        if not all(retained):
            kept = [place for place, found in enumerate(positions) if found is not None]
            periods, counts = [periods[place] for place in kept], counts[:, kept]
        # Columns without counts are not written; see ``stats.zero_pages``.
        columns = np.flatnonzero(counts.max(axis=(1, 2), initial=0))
        if not len(columns):
            return retained
        self.revision += min(periods) < now_period
        added = counts[columns]
        for run in self._sums:
            covered = [place for place, period in enumerate(periods) if run.covers(period)]
            if covered:
                run.total[columns] += (added if len(covered) == len(periods) else added[:, covered]).sum(axis=1)
        # Period by period, which takes a third of the time that selecting all of them takes.
        for place, position in enumerate(position for position in positions if position is not None):
            self._write((columns, position), self._data[columns, position] + added[:, place])
        return retained

    def _write(self, where: tuple[NDArray[np.integer] | int, ...], counts: NDArray[np.int64]) -> None:
        """Set counters, in a wider type if necessary."""
        fitting = narrowest(int(counts.max()))
        if fitting.itemsize > self._data.itemsize:
            self._data = widened(self._data, fitting)
        self._data[where] = counts

    def read(self, rows: NDArray[np.intp]) -> SparseCounts:
        """Return the counts of some rows; the keys are ``column * all rows + row``."""
        held = np.flatnonzero(self.periods != EMPTY)
        columns, places, at = np.nonzero(self._data[:, held[:, np.newaxis], rows])
        counts = self._data[columns, held[places], rows[at]].astype(np.int64)
        return SparseCounts(self.periods[held[places]], columns * self._data.shape[2] + rows[at], counts)

    def counts_of(self, rings: Mapping[int, SparseCounts]) -> SparseCounts | None:
        """Return the counts for this ring among those of all rings, by width."""
        return rings.get(self.width_s)

    def add_counts(self, cells: SparseCounts) -> None:
        """Add the counts of another ring of equal width.

        Periods that are too old for this ring and columns that it lacks are left out. Each key occurs at most once in
        a period.
        """
        columns, rows = np.divmod(cells.keys, self._data.shape[2])
        kept = columns < len(self._data)
        positions = self.positions_for(cells.periods, kept)
        if not len(positions):
            return
        self.revision += 1
        periods, columns, rows, counts = cells.periods[kept], columns[kept], rows[kept], cells.counts[kept]
        for run in self._sums:
            covered = (periods >= run.current - run.span) & (periods <= run.current)
            np.add.at(run.total, (columns[covered], rows[covered]), counts[covered])
        where = (columns, positions, rows)
        self._write(where, self._data[where] + counts)

    def series(
        self, columns: Sequence[int], now: float, window_s: float, rows: NDArray[np.intp] | None = None
    ) -> NDArray[np.int64]:
        """Return counts per period, ``[column, period, row]``, oldest first.

        Zeros for periods without samples. ``rows`` limits the result to some rows, in their order (None: all).
        """
        positions = self.live(now, window_s)
        length = self.span(window_s) + 1
        result = np.zeros((len(columns), length, self._data.shape[2] if rows is None else len(rows)), np.int64)
        places = self.periods[positions] - (self.period(now) - length + 1)
        for number, column in enumerate(columns):
            found = self._data[column, positions]
            result[number, places] = found if rows is None else found[:, rows]
        return result

    def occupied(self, column: int, now: float, window_s: float, but_s: float = 0.0) -> NDArray[np.int64]:
        """Count the periods of the window with a count above 0, by row.

        The newest ``but_s`` seconds are left out.
        """
        current = self.period(now)
        newest = current - (self.watched_span(but_s) + 1 if but_s else 0)
        positions = np.flatnonzero((self.periods >= current - self.watched_span(window_s)) & (self.periods <= newest))
        return np.asarray((self._data[column, positions] > 0).sum(axis=0, dtype=np.int64))

    def sums(self, columns: Sequence[int], now: float, window_s: float) -> NDArray[np.int64]:
        """Return counts over the window, shape ``[column, row]``."""
        span = self.watched_span(window_s)
        run = next((run for run in self._sums if run.span == span), None)
        if run is None:
            total = zeros((self._data.shape[0], self._data.shape[2]), np.dtype(np.int64))
            run = self._start_run(RunningSum(span, total), now)
        self.advance(run, now)
        return np.asarray(run.total[list(columns)], np.int64)

    def rows_at(self, positions: Sequence[int]) -> NDArray[np.bool_]:
        """Return the rows with a count at some positions, as a mask."""
        return np.asarray(self._data[:, positions].any(axis=(0, 1)))

    def forget(self, rows: Sequence[int]) -> None:
        """Set the counters of some rows to 0."""
        self.revision += 1
        gone = np.asarray(rows, np.intp)
        columns, positions, at = np.nonzero(self._data[:, :, gone])
        self._data[columns, positions, gone[at]] = 0
        for run in self._sums:
            run.total[:, rows] = 0

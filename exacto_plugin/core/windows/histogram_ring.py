"""Ring buffers of sparse histograms, for a fixed number of rows.

Each period holds only the cells that occurred, under a number, the key of the cell; ``minute_buffer`` defines the
keys. Sums over the newest periods are dense arrays, so reading them has no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.stats.integers import largest_of, narrowest
from exacto_plugin.core.stats.zero_pages import widened, zeros
from exacto_plugin.core.windows.counter_ring import SMALLEST, RingBuffer, RunningSum, SparseCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_DENSE_FROM = 128
"""With more than one key per this many possible keys, counting into a dense
array is faster than sorting the keys."""


_STEP_VALUES = 2**8
"""Number of differences between two keys that fit into the byte stored with the
second one."""


class SparseHistogram:
    """Sorted unique cell keys with their counts.

    Of a key, 8 bits of its difference to the key before it are stored; the rest of the few larger differences is
    stored apart. So most cells take 2 bytes.
    """

    __slots__ = ("_excess", "_first_keys", "_large", "_large_bounds", "_steps", "bounds", "counts", "largest")

    def __init__(self, keys: NDArray[np.uint32], counts: NDArray[np.integer], sections: NDArray[np.uint32]) -> None:
        """Set the keys and counts.

        ``sections`` has the first key of each range that is read separately, and the end of the last one.
        """
        steps = np.zeros(len(keys), np.uint32)
        np.subtract(keys[1:], keys[:-1], out=steps[1:])
        self._steps = steps.astype(np.uint8)
        large = np.flatnonzero(steps >= _STEP_VALUES)
        self._large = large.astype(np.uint32)
        """Places of the keys with a larger difference."""
        self._excess = steps[large] // _STEP_VALUES * _STEP_VALUES
        self.largest = int(counts.max(initial=0))
        """The largest count."""
        self.counts = counts.astype(narrowest(self.largest), copy=False)
        self.bounds: list[int] = keys.searchsorted(sections).tolist()
        self._first_keys = [int(keys[place]) if place < len(keys) else 0 for place in self.bounds]
        self._large_bounds: list[int] = large.searchsorted(self.bounds).tolist()

    @property
    def keys(self) -> NDArray[np.uint32]:
        """The keys, ascending."""
        return self.keys_of(0, len(self.bounds) - 1).astype(np.uint32)

    def keys_of(self, first: int, end: int, origin: int = 0) -> NDArray[np.intp]:
        """Return the keys of the sections ``first`` to before ``end``, less ``origin``."""
        begin, stop = self.bounds[first], self.bounds[end]
        keys = self._steps[begin:stop].astype(np.intp)
        large = slice(self._large_bounds[first], self._large_bounds[end])
        keys[self._large[large] - begin] += self._excess[large]
        keys[:1] = self._first_keys[first] - origin
        return np.cumsum(keys, out=keys)


def merge(keys: NDArray[np.uint32], counts: NDArray[np.integer], sections: NDArray[np.uint32]) -> SparseHistogram:
    """Merge histograms by adding the counts of equal keys.

    >>> sections = np.array([0, 8], np.uint32)
    >>> one = merge(np.array([5, 2, 5], np.uint32), np.array([1, 4, 2]), sections)
    >>> one.keys.tolist(), one.counts.tolist()
    ([2, 5], [4, 3])
    """
    end = int(sections[-1])
    fitting = narrowest(int(counts.sum(dtype=np.int64)))
    # Both of one type: adding is 20 times slower otherwise; ``numpy.bincount`` would add floats.
    added = counts.astype(fitting, copy=False)
    if len(keys) > end // _DENSE_FROM:
        dense = np.zeros(end, fitting)
        np.add.at(dense, keys.astype(np.intp), added)
        unique = np.flatnonzero(dense != 0)  # of truth values, because of numbers it takes three times as long
        return SparseHistogram(unique.astype(np.uint32), dense[unique], sections)
    unique, places = np.unique(keys, return_inverse=True)
    totals = np.zeros(len(unique), fitting)
    np.add.at(totals, places, added)
    return SparseHistogram(unique.astype(np.uint32), totals, sections)


def tally(keys: NDArray[np.uint32], sections: NDArray[np.uint32]) -> SparseHistogram:
    """Count how often each key occurs; sorts ``keys`` in place.

    Takes half as long as ``merge`` (1.0 against 2.2 ms for 130,000 keys of 1,024 rows), where finding the cells of the
    dense array costs most.

    >>> one = tally(np.array([5, 2, 5], np.uint32), np.array([0, 8], np.uint32))
    >>> one.keys.tolist(), one.counts.tolist()
    ([2, 5], [1, 2])
    """
    keys.sort()
    first = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    begins = np.flatnonzero(first)
    return SparseHistogram(keys[begins], np.diff(begins, append=len(keys)), sections)


class RunningHistogram(RunningSum):
    """Running sums of the cells in the sections from ``first`` to before ``end``."""

    __slots__ = ("bound", "end", "first")

    def __init__(self, span: int, first: int, end: int, sections: NDArray[np.uint32]) -> None:
        super().__init__(span, zeros((int(sections[end]) - int(sections[first]),), SMALLEST))
        self.first = first
        self.end = end
        self.bound = 0
        """Upper bound of the sums.
        Counts that enter raise it; only a new maximum of the sums lowers it. The largest count of a histogram that
        leaves need not be part of the largest sum, so it is never subtracted from the bound."""

    def reset(self) -> None:
        """Reset the sums to 0."""
        super().reset()
        self.bound = 0

    def widen(self, more: int) -> None:
        """Widen the type of the sums if ``more`` could overflow it."""
        self.bound += more
        if self.bound > largest_of(self.total.dtype):
            self.bound = int(self.total.max(initial=0)) + more
            fitting = np.promote_types(self.total.dtype, narrowest(self.bound))
            if fitting != self.total.dtype:
                self.total = widened(self.total, fitting)

    def count(self, chunk: SparseHistogram, start: int, *, entering: bool) -> None:
        """Add or subtract a histogram; ``start`` is the first key of the sums."""
        begin, end = chunk.bounds[self.first], chunk.bounds[self.end]
        if entering:
            self.widen(chunk.largest)
        places = chunk.keys_of(self.first, self.end, start)
        # Both of one type: adding is 30 times slower otherwise.
        counts = chunk.counts[begin:end].astype(self.total.dtype, copy=False)
        (np.add if entering else np.subtract).at(self.total, places, counts)


class HistogramRing(RingBuffer[RunningHistogram]):
    """Ring of sparse histograms; idle rows take no memory.

    A period keeps up to ``patience`` additions unmerged, which bounds memory and makes an addition cheap; see
    ``merge_chunks``.
    """

    __slots__ = ("_chunks", "_most_unmerged", "_sections")

    def __init__(self, width_s: int, buckets: int, sections: NDArray[np.uint32], patience: int) -> None:
        super().__init__(width_s, buckets)
        self._most_unmerged = patience
        self._chunks: list[list[SparseHistogram]] = [[] for _ in self.periods]
        self._sections = sections

    def clear(self, position: int) -> None:
        """Drop all cells of one position."""
        self._chunks[position] = []

    def count(self, run: RunningHistogram, positions: Sequence[int], *, entering: bool) -> None:
        """Add some positions to running sums, or subtract them."""
        for position in positions:
            for chunk in self._chunks[position]:
                run.count(chunk, int(self._sections[run.first]), entering=entering)

    def add(self, period: int, now_period: int, chunk: SparseHistogram) -> bool:
        """Add cells to a period; False when the period is not retained."""
        position = self.position_for(period, now_period)
        if position is None:
            return False
        for run in self._sums:
            if run.covers(period):
                run.count(chunk, int(self._sections[run.first]), entering=True)
        self._chunks[position].append(chunk)
        return True

    def merge_chunks(self) -> bool:
        """Merge the cells of one period that has too many additions; False if none has.

        Apart from ``add``, so that each is part of another slice of a recompute.
        """
        many = (place for place, chunks in enumerate(self._chunks) if len(chunks) > self._most_unmerged)
        if (position := next(many, None)) is None:
            return False
        self._chunks[position] = [self._merged(position)]
        return True

    def cells(self, first: int, end: int, now: float, window_s: float) -> NDArray[np.integer]:
        """Return counts over the window for the sections ``first`` to before ``end``.

        A read-only view that is valid until the next change.
        """
        span = self.watched_span(window_s)
        fitting = (run for run in self._sums if run.span == span and run.first <= first and end <= run.end)
        run = next(fitting, None)
        if run is None:
            self._sums = [run for run in self._sums if run.span != span or run.first < first or run.end > end]
            run = self._start_run(RunningHistogram(span, first, end, self._sections), now)
        self.advance(run, now)
        skipped = int(self._sections[run.first])
        view = run.total[int(self._sections[first]) - skipped : int(self._sections[end]) - skipped]
        view.flags.writeable = False
        return view

    def keep(self, wanted: Callable[[NDArray[np.uint32]], NDArray[np.bool_]]) -> None:
        """Drop the cells whose keys are not ``wanted``."""
        for run in self._sums:
            start = int(self._sections[run.first])
            held = np.flatnonzero(run.total)
            run.total[held[~wanted((held + start).astype(np.uint32))]] = 0
        for position, chunks in enumerate(self._chunks):
            kept = [(chunk, wanted(chunk.keys)) for chunk in chunks]
            self._chunks[position] = [
                SparseHistogram(chunk.keys[mask], chunk.counts[mask], self._sections)
                for chunk, mask in kept
                if mask.any()
            ]

    def keys_at(self, positions: Sequence[int]) -> Iterator[NDArray[np.uint32]]:
        """Iterate over the keys of the cells at some positions."""
        for position in positions:
            yield from (chunk.keys for chunk in self._chunks[position])

    def read(self, wanted: Callable[[NDArray[np.uint32]], NDArray[np.bool_]]) -> SparseCounts:
        """Return the cells whose keys are ``wanted``."""
        periods, keys, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for position, chunks in enumerate(self._chunks):
            kept = [(chunk, wanted(chunk.keys)) for chunk in chunks]
            found = [(chunk.keys[mask], chunk.counts[mask]) for chunk, mask in kept if mask.any()]
            if found:
                whole = merge(
                    np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found]), self._sections
                )
                periods.append(np.full(len(whole.keys), self.periods[position]))
                keys.append(whole.keys.astype(np.int64))
                counts.append(whole.counts.astype(np.int64))
        return SparseCounts(np.concatenate(periods), np.concatenate(keys), np.concatenate(counts))

    def add_counts(self, cells: SparseCounts) -> None:
        """Add the counts of another ring of equal width.

        Periods that this ring no longer retains are left out.
        """
        kept = np.ones(len(cells.periods), np.bool_)
        self.positions_for(cells.periods, kept)
        for period in np.unique(cells.periods[kept]).tolist():
            here = cells.periods == period
            self.add(period, period, merge(cells.keys[here].astype(np.uint32), cells.counts[here], self._sections))

    def _merged(self, position: int) -> SparseHistogram:
        """Merge the cells of one position.

        Each addition is added to a dense array: in a third of the time that ``merge`` takes for all keys together.
        """
        chunks = self._chunks[position]
        fitting = narrowest(sum(chunk.largest for chunk in chunks))
        dense = np.zeros(int(self._sections[-1]), fitting)
        for chunk in chunks:
            # Both of one type: see ``merge``.
            np.add.at(dense, chunk.keys_of(0, len(self._sections) - 1), chunk.counts.astype(fitting, copy=False))
        keys = np.flatnonzero(dense != 0)
        return SparseHistogram(keys.astype(np.uint32), dense[keys], self._sections)

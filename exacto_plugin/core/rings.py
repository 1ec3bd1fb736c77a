"""Rings of time buckets: integer counts that age out, for a fixed number of rows.

A ring keeps the newest ``buckets`` periods of ``width_s`` seconds, each under its absolute number (time / width),
so that it does not matter in which order samples arrive or what the clock did in between: a period that is no
longer retained is refused, a position that holds another period is cleared first, and a jump only empties.
Everything here is integer addition. What a column, a row or a cell means is decided in ``window``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SMALLEST: np.dtype[np.unsignedinteger] = np.dtype(np.uint8)
"""Counts start this narrow and widen when one outgrows it; most buckets of most deployments never do."""

EMPTY = np.iinfo(np.int64).min
"""The stamp of a position that holds no period."""

_DENSE_FROM = 64
"""With more than one key per this many possible ones, counting into an array beats sorting the keys."""


class BucketRing:
    """Which period each position of a ring holds; the base of both kinds of ring."""

    __slots__ = ("buckets", "stamps", "width_s")

    def __init__(self, width_s: int, buckets: int) -> None:
        self.width_s = width_s
        self.buckets = buckets
        # One position more for the period in progress and one for a sample that is ahead of the recompute.
        self.stamps: NDArray[np.int64] = np.full(buckets + 2, EMPTY, np.int64)

    def period(self, at: float) -> int:
        """The absolute number of the period that holds the time ``at``."""
        return int(at // self.width_s)

    def admit(self, period: int, now_period: int) -> int | None:
        """The position for a period, cleared if it held another one; None when the period is not retained."""
        if not now_period - self.buckets <= period <= now_period + 1:
            return None
        position = period % len(self.stamps)
        if self.stamps[position] != period:
            self.clear(position)
            self.stamps[position] = period
        return position

    def live(self, now: float, window_s: float) -> NDArray[np.intp]:
        """Positions of the last ``window_s`` seconds, in no order.

        The period in progress comes on top of the window's, so that nothing inside the window is left out: it
        reaches back between ``window_s`` and ``window_s + width_s`` seconds.
        """
        current = self.period(now)
        return np.flatnonzero((self.stamps >= current - self.span(window_s)) & (self.stamps <= current))

    def span(self, window_s: float) -> int:
        """Whole periods in a window."""
        return min(self.buckets, math.ceil(window_s / self.width_s))

    def clear(self, position: int) -> None:
        """Empty one position."""
        raise NotImplementedError


class CounterRing(BucketRing):
    """Dense counters: ``columns`` numbers per row and period, stored as ``[column, position, row]``."""

    __slots__ = ("_data",)

    def __init__(self, width_s: int, buckets: int, columns: int, rows: int) -> None:
        super().__init__(width_s, buckets)
        self._data: NDArray[np.unsignedinteger] = np.zeros((columns, buckets + 2, rows), SMALLEST)

    def clear(self, position: int) -> None:
        """Set all counters of one position to 0."""
        self._data[:, position] = 0

    def add(self, period: int, now_period: int, counts: NDArray[np.int64]) -> bool:
        """Add counts of shape ``[column, row]`` to a period; False when the period is not retained."""
        position = self.admit(period, now_period)
        if position is None:
            return False
        total = self._data[:, position].astype(np.int64) + counts
        fitting = np.min_scalar_type(total.max())
        if fitting.itemsize > self._data.itemsize:
            self._data = self._data.astype(fitting)
        self._data[:, position] = total
        return True

    def series(
        self, columns: Sequence[int], now: float, window_s: float, rows: NDArray[np.intp] | None = None
    ) -> NDArray[np.int64]:
        """Counts per period, shape ``[column, period, row]``, oldest first, zeros for periods without samples.

        ``rows`` limits it to some rows, in their order; None means all.
        """
        positions = self.live(now, window_s)
        length = self.span(window_s) + 1
        result = np.zeros((len(columns), length, self._data.shape[2] if rows is None else len(rows)), np.int64)
        places = self.stamps[positions] - (self.period(now) - length + 1)
        for number, column in enumerate(columns):
            found = self._data[column, positions] if rows is None else self._data[column][np.ix_(positions, rows)]
            result[number, places] = found
        return result

    def sums(self, columns: Sequence[int], now: float, window_s: float) -> NDArray[np.int64]:
        """Counts over the window, shape ``[column, row]``."""
        positions = self.live(now, window_s)
        result = np.zeros((len(columns), self._data.shape[2]), np.int64)
        if len(positions):
            # 32 bits hold any sum of 16-bit counts over a ring, and add twice as fast as 64.
            wide = np.uint32 if self._data.itemsize <= 2 else np.int64
            for number, column in enumerate(columns):
                result[number] = self._data[column, positions].sum(axis=0, dtype=wide)
        return result

    def forget(self, rows: Sequence[int]) -> None:
        """Set everything that is known of some rows to 0."""
        self._data[:, :, rows] = 0

    def pages(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Every retained period with its counts of shape ``[column, row]``."""
        held = np.flatnonzero(self.stamps != EMPTY)
        return [(int(self.stamps[at]), self._data[:, at].astype(np.int64)) for at in held]


class Chunk:
    """Sparse counts: sorted unique cell keys and how often each occurred."""

    __slots__ = ("bounds", "counts", "keys")

    def __init__(self, keys: NDArray[np.uint32], counts: NDArray[np.integer], sections: NDArray[np.uint32]) -> None:
        """``sections`` are the first keys of the ranges that are read apart, and the end of the last one."""
        self.keys = keys
        self.counts = counts.astype(np.min_scalar_type(counts.max(initial=0)))
        self.bounds: list[int] = keys.searchsorted(sections).tolist()


def fold(keys: NDArray[np.uint32], counts: NDArray[np.integer], sections: NDArray[np.uint32]) -> Chunk:
    """Sum the counts of equal keys."""
    end = int(sections[-1])
    if len(keys) > end // _DENSE_FROM:
        dense = np.bincount(keys, counts, end)
        unique = np.flatnonzero(dense > 0)
        return Chunk(unique.astype(np.uint32), dense[unique].astype(np.int64), sections)
    unique, places = np.unique(keys, return_inverse=True)
    totals = np.zeros(len(unique), np.int64)
    np.add.at(totals, places, counts)
    return Chunk(unique.astype(np.uint32), totals, sections)


class HistogramRing(BucketRing):
    """Sparse counters: per period only the cells that occurred, so that idle rows cost nothing.

    A period keeps up to ``patience`` additions unmerged, which bounds memory while keeping an addition cheap.
    """

    __slots__ = ("_chunks", "_patience", "_sections")

    def __init__(self, width_s: int, buckets: int, sections: NDArray[np.uint32], patience: int) -> None:
        super().__init__(width_s, buckets)
        self._patience = patience
        self._chunks: list[list[Chunk]] = [[] for _ in self.stamps]
        self._sections = sections

    def clear(self, position: int) -> None:
        """Drop all cells of one position."""
        self._chunks[position] = []

    def add(self, period: int, now_period: int, chunk: Chunk) -> bool:
        """Add cells to a period; False when the period is not retained."""
        position = self.admit(period, now_period)
        if position is None:
            return False
        self._chunks[position].append(chunk)
        if len(self._chunks[position]) > self._patience:
            self._chunks[position] = [self._folded(position)]
        return True

    def cells(self, first: int, end: int, now: float, window_s: float) -> NDArray[np.float64]:
        """Counts over the window of the keys in the sections from ``first`` to before ``end``."""
        start, stop = int(self._sections[first]), int(self._sections[end])
        chunks = [chunk for position in self.live(now, window_s) for chunk in self._chunks[position]]
        if not chunks:
            return np.zeros(stop - start)
        keys = np.concatenate([chunk.keys[chunk.bounds[first] : chunk.bounds[end]] for chunk in chunks])
        counts = np.concatenate([chunk.counts[chunk.bounds[first] : chunk.bounds[end]] for chunk in chunks])
        return np.bincount(keys - np.uint32(start), counts, stop - start).astype(np.float64, copy=False)

    def keep(self, wanted: Callable[[NDArray[np.uint32]], NDArray[np.bool_]]) -> None:
        """Drop the cells whose keys are not ``wanted``."""
        for position, chunks in enumerate(self._chunks):
            kept = [(chunk, wanted(chunk.keys)) for chunk in chunks]
            self._chunks[position] = [
                Chunk(chunk.keys[mask], chunk.counts[mask], self._sections) for chunk, mask in kept if mask.any()
            ]

    def pages(self) -> list[tuple[int, Chunk]]:
        """Every retained period with its cells."""
        return [(int(self.stamps[at]), self._folded(at)) for at, chunks in enumerate(self._chunks) if chunks]

    def _folded(self, position: int) -> Chunk:
        chunks = self._chunks[position]
        keys = np.concatenate([chunk.keys for chunk in chunks])
        return fold(keys, np.concatenate([chunk.counts for chunk in chunks]), self._sections)

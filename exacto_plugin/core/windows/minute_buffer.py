"""Buffers of the samples of one minute, before they enter the rings.

A buffer holds the rows of one window block in plain arrays, because they grow one element at a time. Counts are only
added here, never summed over time.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.stats.integers import narrowest
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.windows.histogram_ring import SparseHistogram, merge, tally
from exacto_plugin.core.windows.increments import CounterKind, HistogramKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Additions = Mapping[CounterKind, int] | Mapping[int, int]
"""Increment by counter."""

_COLUMNS = len(CounterKind)

ROWS = 1024
"""Slots of a window block.
Most of a recompute's time is the number of NumPy's calls: with 256 slots it takes 1.4 times as long where all model
groups are active, and twice as long where every tenth is (measured)."""

MINUTE_S = 60
"""Seconds of a minute buffer."""

CELLS = len(HistogramKind) * BINS
"""Cells of a slot."""

SECTIONS = np.arange(len(HistogramKind) + 1, dtype=np.uint32) * np.uint32(ROWS * BINS)
"""The first cell key of each kind of histogram. A key runs over kinds, then
bins, then rows."""


class MinuteBuffer:
    """Samples of one minute."""

    __slots__ = ("_added_counts", "_added_keys", "cell_hits", "counts")

    def __init__(self) -> None:
        self.counts = array("q", bytes(8 * len(CounterKind) * ROWS))
        self.cell_hits = array("I")
        """Keys of single samples, one for each."""
        self._added_keys = array("I")
        self._added_counts = array("q")

    def table(self) -> NDArray[np.int64]:
        """Return all counters of the minute, shape ``[column, row]``."""
        return np.frombuffer(self.counts, np.int64).reshape(ROWS, len(CounterKind)).T

    def add(self, row: int, counts: Additions, cells: Mapping[int, int]) -> None:
        """Increment the counters and cells of a row."""
        for column, count in counts.items():
            self.counts[row * _COLUMNS + column] += count
        # Both are made first: after a number that does not fit, keys and counts are of equal length.
        keys, times = array("I", [cell * ROWS + row for cell in cells]), array("q", cells.values())
        self._added_keys.extend(keys)
        self._added_counts.extend(times)

    def added(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the keys and counts of the cells that ``add`` incremented.

        In no order; a key can occur several times.
        """
        return np.frombuffer(self._added_keys, np.uint32), np.frombuffer(self._added_counts, np.int64)

    def read(self, row: int) -> tuple[dict[int, int], dict[int, int]]:
        """Return the counters and cells of a row that are not 0."""
        counts = self.counts[row * _COLUMNS : (row + 1) * _COLUMNS]
        hits = np.frombuffer(self.cell_hits, np.uint32)
        cells = Counter((hits[hits % ROWS == row] // ROWS).tolist())
        keys, added = self.added()
        here = keys % ROWS == row
        for cell, count in zip((keys[here] // ROWS).tolist(), added[here].tolist(), strict=True):
            cells[cell] += count
        return {column: count for column, count in enumerate(counts) if count}, dict(cells)

    def erase(self, rows: Sequence[int]) -> None:
        """Set the counters and cells of some rows to 0."""
        self.table()[:, rows] = 0
        hits = np.frombuffer(self.cell_hits, np.uint32)
        self.cell_hits = array("I", hits[~np.isin(hits % ROWS, rows)].tobytes())
        keys, counts = self.added()
        kept = ~np.isin(keys % ROWS, rows)
        self._added_keys, self._added_counts = array("I", keys[kept].tobytes()), array("q", counts[kept].tobytes())


def histogram_of(buffers: Sequence[MinuteBuffer]) -> SparseHistogram:
    """Return the histogram of some minute buffers together.

    A key is that of a cell and a row; here cell 0 of row 3 twice, and cell 1 of row 3 (key 1 * 1024 + 3) once.

    >>> one, other = MinuteBuffer(), MinuteBuffer()
    >>> one.cell_hits.extend([3, 1027]); other.cell_hits.append(3)
    >>> found = histogram_of([one, other])
    >>> found.keys.tolist(), found.counts.tolist()
    ([3, 1027], [2, 1])
    """
    hits = np.concatenate([np.frombuffer(buffer.cell_hits, np.uint32) for buffer in buffers])
    added = [found for buffer in buffers if len((found := buffer.added())[0])]
    if not added:
        return tally(hits, SECTIONS)
    keys = np.concatenate([hits, *(keys for keys, _ in added)])
    counts = np.concatenate([counts for _, counts in added])
    fitting = counts.astype(narrowest(int(counts.max(initial=0))))
    return merge(keys, np.concatenate([np.ones(len(hits), np.uint8), fitting]), SECTIONS)

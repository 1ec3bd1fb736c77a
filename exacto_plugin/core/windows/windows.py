"""Windows: counts of each deployment's samples in time buckets.

A deployment has a *slot* here, an index that ``slots`` allocates; 256 slots are the rows of a ``WindowBlock``. A
sample is added to the buffer of its minute; ``flush`` moves the minute buffers into the rings, where samples age out.
Everything is integer addition, so the windows of replicas are merged by addition in any order.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.windows.codec import WindowDump, cells_for_row, cells_of_row
from exacto_plugin.core.windows.counter_ring import MOST, CounterRing
from exacto_plugin.core.windows.histogram_ring import HistogramRing
from exacto_plugin.core.windows.increments import CounterKind, HistogramKind, increments_of
from exacto_plugin.core.windows.lasting_ring import LastingRing
from exacto_plugin.core.windows.minute_buffer import CELLS, MINUTE_S, ROWS, SECTIONS, MinuteBuffer, histogram_of
from exacto_plugin.core.windows.passing import passed_edges
from exacto_plugin.core.windows.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import Sample
    from exacto_plugin.core.windows.increments import Increments
    from exacto_plugin.core.windows.minute_buffer import Additions

    Rows = NDArray[np.intp] | slice
    """Rows of a window block: their numbers, or ``ALL_ROWS``."""

    T = TypeVar("T", bound=np.generic)

__all__ = ["ALL_ROWS", "MINUTE_S", "ROWS", "Retention", "WindowBlock", "Windows"]

_COLUMNS = len(CounterKind)
_Ring = TypeVar("_Ring", CounterRing, HistogramRing)

ALL_ROWS = slice(None)

MOST_UNMERGED = 8
"""Smallest number of flushes whose histograms are kept unmerged; the largest is
twice as many."""


def select_rows(values: NDArray[T], rows: Rows) -> NDArray[T]:
    """Select along the last axis; of all rows a view.

    ``numpy.take``, because its result is contiguous: indexing puts the rows first, and adding is slower then.
    """
    return values[..., rows] if isinstance(rows, slice) else np.take(values, rows, axis=-1)


class WindowBlock:
    """The windows of ``ROWS`` slots."""

    __slots__ = ("_ages_s", "_buffers", "_counters", "_flushed_at", "_histograms", "changed", "dropped", "seen")

    def __init__(self, retention: Retention, patience: int = MOST_UNMERGED) -> None:
        self._counters = [CounterRing(width_s, n, len(CounterKind), ROWS) for width_s, n in retention.counters]
        self._counters.append(LastingRing(retention.lasting, self._counters[-1].width_s, ROWS))
        self._histograms = [HistogramRing(width_s, n, SECTIONS, patience) for width_s, n in retention.histograms]
        self._buffers: dict[int, MinuteBuffer] = {}
        self.dropped = 0
        """Samples outside the periods of every ring of all counters: too late or too
        far ahead."""
        self.seen = np.zeros(ROWS, np.bool_)
        """Rows with at least one sample so far."""
        self.changed = np.ones(ROWS, np.bool_)
        """Rows whose counts may be read differently than when this was last set to False.
        ``flush`` marks those of new samples, and those whose samples grew out of a window that was read so far."""
        self._flushed_at = math.inf
        self._ages_s: frozenset[float] = frozenset()
        """Seconds of the windows that were read so far."""

    @property
    def counter_widths(self) -> tuple[tuple[int, int], ...]:
        """Seconds per bucket and total seconds of each counter ring, finest first."""
        return tuple((ring.width_s, ring.width_s * ring.buckets) for ring in self._counters)

    def buffer(self, at: float) -> MinuteBuffer:
        """Return the minute buffer for samples of the time ``at``."""
        minute = int(at // MINUTE_S)
        buffer = self._buffers.get(minute)
        if buffer is None:
            buffer = self._buffers[minute] = MinuteBuffer()
        return buffer

    def flush(self, now: float) -> None:
        """Move all minute buffers into the rings.

        Samples that no counter ring retains are dropped and counted, and so are samples from more than a minute after
        ``now``: after the clock went back they would take effect at an arbitrary time.
        """
        buffers, self._buffers = self._buffers, {}
        ahead = [minute for minute in buffers if minute > now // MINUTE_S + 1]
        self.dropped += sum(_samples(buffers.pop(minute).table()) for minute in ahead)
        if not buffers:
            self._mark_passed(now)
            return
        minutes = sorted(buffers)
        counts = np.empty((_COLUMNS, len(minutes), ROWS), np.int64)
        for place, minute in enumerate(minutes):
            counts[:, place] = buffers[minute].table()
        fresh = counts.max(axis=(0, 1)) > 0
        self.seen |= fresh
        self.changed |= fresh
        for minute in minutes:
            self.changed[buffers[minute].added()[0] % ROWS] = True
        self._mark_passed(now)
        for ring in self._counters:
            periods, parts = _periods(minutes, ring.width_s)
            sums = counts
            if len(periods) < len(minutes):
                sums = np.stack([counts[:, begin:end].sum(axis=1) for begin, end in parts], axis=1)
            retained = ring.add(periods, ring.period(now), sums)
            if ring is self._counters[-2]:
                self.dropped += sum(_samples(sums[:, at]) for at, kept in enumerate(retained) if not kept)
        finest_s = self._histograms[0].width_s
        for period, (begin, end) in zip(*_periods(minutes, finest_s), strict=True):
            chunk = histogram_of([buffers[minute] for minute in minutes[begin:end]])
            for histogram in self._histograms:
                histogram.add(period * finest_s // histogram.width_s, histogram.period(now), chunk)

    def merge(self) -> bool:
        """Merge histograms of one period if it has too many; False if none has."""
        return any(histogram.merge_chunks() for histogram in self._histograms)

    def _mark_passed(self, now: float) -> None:
        """Mark the rows with counts that are read differently since the last flush."""
        before, self._flushed_at = self._flushed_at, now
        if now < before:
            self.changed[:] = True
        if now <= before or (self.changed | ~self.seen).all():
            return
        edges = passed_edges(before, now, self.counter_widths, self._ages_s)
        for ring in self._counters:
            if positions := ring.passed(before, now, edges):
                self.changed |= ring.rows_at(positions)
        for histogram in self._histograms:
            for keys in histogram.keys_at(histogram.passed(before, now, ())):
                self.changed[keys % ROWS] = True

    def sums(self, columns: Sequence[int], now: float, window_s: float) -> NDArray[np.int64]:
        """Return counts over the last ``window_s`` seconds, ``[column, row]``.

        The finest ring that covers the window is read.
        """
        if window_s not in self._ages_s:
            self._ages_s |= {window_s}
        return _ring_covering(self._counters, window_s).sums(columns, now, window_s)

    def series(
        self,
        columns: Sequence[int],
        now: float,
        width_s: int,
        window_s: float,
        rows: NDArray[np.intp] | None = None,
    ) -> NDArray[np.int64]:
        """Return counts per period, ``[column, period, row]``, oldest first.

        ``width_s`` selects the ring by the seconds of a period; ``rows`` limits the result to some rows (None: all).
        """
        return self._ring(width_s).series(columns, now, window_s, rows)

    def revision(self, now: float, width_s: int) -> tuple[int, int]:
        """Return a value that changes with the counts of the ended periods.

        It changes when the counts of an ended period of ``width_s`` seconds change, or another period ends.
        """
        ring = self._ring(width_s)
        return ring.period(now), ring.revision

    def occupied(self, column: int, now: float, width_s: int, window_s: float, but_s: float = 0.0) -> NDArray[np.int64]:
        """Count the periods of ``width_s`` seconds with a count above 0, by row.

        The newest ``but_s`` seconds are left out.
        """
        return self._ring(width_s).occupied(column, now, window_s, but_s)

    def cells(self, first: HistogramKind, last: HistogramKind, now: float, window_s: float) -> NDArray[np.integer]:
        """Return cells of the kinds ``first`` to ``last``, ``[kind, bin, row]``.

        A read-only view that is valid until the next flush; of a narrow type, so convert it to a wider one before
        adding.
        """
        cells = _ring_covering(self._histograms, window_s).cells(first, last + 1, now, window_s)
        return cells.reshape(last - first + 1, BINS, ROWS)

    def histograms(self, first: HistogramKind, last: HistogramKind, now: float, window_s: float) -> NDArray[np.float64]:
        """Return a copy of ``cells``, shape ``[kind, row, bin]``."""
        return self.cells(first, last, now, window_s).swapaxes(1, 2).astype(np.float64)

    def _ring(self, width_s: int) -> CounterRing:
        return next(ring for ring in self._counters if ring.width_s == width_s)

    def forget(self, rows: Sequence[int]) -> None:
        """Erase some rows."""
        self.seen[rows] = False
        self.changed[rows] = True
        for buffer in self._buffers.values():
            buffer.erase(rows)
        for ring in self._counters:
            ring.forget(rows)
        kept = np.ones(ROWS, np.bool_)
        kept[rows] = False  # a table, because ``numpy.isin`` takes five times as long
        for histogram in self._histograms:
            histogram.keep(lambda keys: kept[keys % ROWS])

    def read(self, rows: Sequence[int]) -> list[WindowDump]:
        """Return the dumps of some rows, in their order."""
        wanted = np.array(rows, np.intp)
        counters = {ring.width_s: ring.read(wanted) for ring in self._counters}
        cells = {ring.width_s: ring.read(lambda keys: np.isin(keys % ROWS, wanted)) for ring in self._histograms}
        return [
            WindowDump(
                bool(self.seen[row]),
                {width_s: cells_of_row(found, row) for width_s, found in counters.items()},
                {width_s: cells_of_row(found, row) for width_s, found in cells.items()},
                {minute: content for minute, buffer in self._buffers.items() if any(content := buffer.read(row))},
            )
            for row in rows
        ]

    def add_dump(self, held: Mapping[int, WindowDump]) -> None:
        """Add dumps to rows; only rings of equal widths are added.

        All rows are marked: what is newer than the last flush can take the place of other rows' oldest counts.
        """
        self.changed[:] = True
        for row, one in held.items():
            self.seen[row] |= one.seen
            for minute, (counts, cells) in one.minutes.items():
                self.buffer(minute * MINUTE_S).add(row, counts, cells)
        for ring in self._counters:
            ring.add_counts(cells_for_row({row: ring.counts_of(one.counters) for row, one in held.items()}))
        for histogram in self._histograms:
            histogram.add_counts(cells_for_row({row: one.cells.get(histogram.width_s) for row, one in held.items()}))


def _samples(table: NDArray[np.int64]) -> int:
    return int(table[[CounterKind.ANSWERED, CounterKind.FAILED]].sum())


def _periods(minutes: Sequence[int], width_s: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the periods of ascending minutes, and the places of each one's minutes.

    >>> _periods([3, 4, 5, 11], 300)
    ([0, 1, 2], [(0, 2), (2, 3), (3, 4)])
    """
    first: dict[int, int] = {}
    for place, minute in enumerate(minutes):
        first.setdefault(minute * MINUTE_S // width_s, place)
    return list(first), list(pairwise([*first.values(), len(minutes)]))


def _ring_covering(rings: Sequence[_Ring], window_s: float) -> _Ring:
    """Return the finest ring that covers ``window_s`` seconds, else the coarsest."""
    return next((ring for ring in rings if ring.width_s * ring.buckets >= window_s), rings[-1])


class Windows:
    """Windows of all slots."""

    def __init__(self, retention: Retention, min_output_tokens: int) -> None:
        self.blocks: list[WindowBlock] = []
        self._retention = retention
        self.min_output_tokens = min_output_tokens
        """Answers with fewer tokens have no speed; applies to later samples."""
        self.checked_callers = False
        """True while the rule reads ``CHECKED`` by caller; applies to later samples."""

    @property
    def dropped(self) -> int:
        """Samples that came too late to be counted."""
        return sum(block.dropped for block in self.blocks)

    def resize(self, slots: int) -> None:
        """Allocate window blocks for slots below ``slots``."""
        while len(self.blocks) * ROWS < slots:
            # The blocks merge at different flushes: merging costs more than the rest of a flush.
            self.blocks.append(WindowBlock(self._retention, MOST_UNMERGED + len(self.blocks) % MOST_UNMERGED))

    def record(self, slot: int, sample: Sample) -> Increments:
        """Count one sample and return its increments."""
        buffer = self.blocks[slot // ROWS].buffer(sample.at)
        row = slot % ROWS
        first = row * _COLUMNS
        counts, cells = added = increments_of(sample, self.min_output_tokens, checked_callers=self.checked_callers)
        table, cell_hits = buffer.counts, buffer.cell_hits
        for column in counts:
            table[first + column] += 1
        for cell in cells:
            cell_hits.append(cell * ROWS + row)
        return added

    def add(self, slot: int, counts: Additions, cells: Mapping[int, int], at: float) -> None:
        """Count many samples of one time at once.

        Args:
            slot: the slot of their deployment.
            counts: increment by counter.
            cells: increment by cell ``kind * BINS + bin``.
            at: time in seconds since the epoch.

        Raises:
            ValueError: a number is negative or above ``counter_ring.MOST``, or a cell does not exist.
        """
        numbers = (*counts.values(), *cells.values())
        if not 0 <= min(numbers, default=0) <= max(numbers, default=0) <= MOST:
            raise ValueError(f"numbers of samples are never negative, and at most {MOST}: {counts} {cells}")
        if cells and not 0 <= min(cells) <= max(cells) < CELLS:
            raise ValueError(f"cells are 0 to {CELLS - 1}: {cells}")
        self.blocks[slot // ROWS].buffer(at).add(slot % ROWS, counts, cells)

    def read(self, slots: Sequence[int]) -> list[WindowDump]:
        """Return the dumps of some slots, in their order."""
        found: dict[int, WindowDump] = {}
        for number, rows in _by_block(slots).items():
            found.update(zip((number * ROWS + row for row in rows), self.blocks[number].read(rows), strict=True))
        return [found[slot] for slot in slots]

    def add_dumps(self, held: Mapping[int, WindowDump]) -> None:
        """Add dumps to slots.

        Exact between windows of equal retention; a dump is a replica's, or this process's own from before a restart.
        """
        for number, rows in _by_block(held).items():
            self.blocks[number].add_dump({row: held[number * ROWS + row] for row in rows})

    def forget(self, slots: Iterable[int]) -> None:
        """Erase the counts of some slots, so that they can be allocated again."""
        for number, rows in _by_block(slots).items():
            self.blocks[number].forget(rows)


def _by_block(slots: Iterable[int]) -> dict[int, list[int]]:
    """Group the rows of some slots by the number of their window block."""
    rows: dict[int, list[int]] = {}
    for slot in slots:
        rows.setdefault(slot // ROWS, []).append(slot % ROWS)
    return rows

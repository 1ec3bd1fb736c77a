"""Windows: what was measured of every deployment, kept as time-bucketed integers.

A deployment is a *slot* here, a small number that ``slots`` gives out; 256 slots share a ``Slab``, whose rows they
are. A sample is added to the page of its minute; ``flush`` moves pages into the rings, where they age out. All of it
is integer addition, so the windows of replicas merge by adding them and the order of arrival does not matter. No
rule, threshold or clock lives here.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from exacto_plugin.core.rings import BucketRing, Chunk, CounterRing, HistogramRing, fold
from exacto_plugin.core.sketch import BINS
from exacto_plugin.core.tally import Count, Kind, tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import Sample

_COLUMNS = len(Count)
_Ring = TypeVar("_Ring", bound=BucketRing)

ROWS = 256
"""Slots of a slab: few enough that one slab is measured in about a millisecond."""

PAGE_S = 60
"""Seconds of a page of samples that are not yet in the rings."""


PATIENCE = 8
"""Flushes whose histograms are kept unmerged, at least; twice as many at most."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long samples are kept and how finely, as ``(seconds per bucket, buckets)``, finest first.

    Counters reach 2 h by the minute, 6 h by 5 minutes and 72 h by half-hours, histograms 1 h by 5 minutes and 24 h by
    two hours. One-minute buckets keep the edge error of a 15-minute window below 1 percentage point while a rate
    steps by 25 (measured); speeds and latencies do not need that.
    """

    counters: tuple[tuple[int, int], ...] = ((60, 120), (300, 72), (1800, 144))
    histograms: tuple[tuple[int, int], ...] = ((300, 12), (7200, 12))

    def __post_init__(self) -> None:
        """Each width must be a multiple of a page and of the histograms' finest, finest first; else a ValueError."""
        for rings, unit_s in ((self.counters, PAGE_S), (self.histograms, self.histograms[0][0])):
            widths = [width_s for width_s, _ in rings]
            if widths != sorted(widths) or any(width_s % PAGE_S or width_s % unit_s for width_s in widths):
                raise ValueError(f"widths must be multiples of {PAGE_S} and {unit_s} s, finest first: {rings}")

    @property
    def span_s(self) -> float:
        """Seconds after which nothing of a sample is left."""
        return max(width_s * buckets for width_s, buckets in self.counters + self.histograms)


SECTIONS = np.arange(len(Kind) + 1, dtype=np.uint32) * np.uint32(ROWS * BINS)
"""The first cell key of each kind of histogram; a key counts kinds, then rows, then bins."""


class Page:
    """Samples of one minute that are not yet in the rings; plain arrays, because they grow one by one."""

    __slots__ = ("chunks", "counts", "marks")

    def __init__(self) -> None:
        self.counts = array("q", bytes(8 * len(Count) * ROWS))
        self.marks = array("I")
        self.chunks: list[Chunk] = []

    def table(self) -> NDArray[np.int64]:
        """All counters of the page, shape ``[column, row]``."""
        return np.frombuffer(self.counts, np.int64).reshape(ROWS, len(Count)).T


def _chunk(pages: Sequence[Page]) -> Chunk:
    """All cells of some pages."""
    marks = np.concatenate([np.frombuffer(page.marks, np.uint32) for page in pages])
    keys, counts = np.unique(marks, return_counts=True)
    added = [chunk for page in pages for chunk in page.chunks]
    if not added:
        return Chunk(keys, counts, SECTIONS)
    keys = np.concatenate([keys, *(chunk.keys for chunk in added)])
    return fold(keys, np.concatenate([counts, *(chunk.counts for chunk in added)]), SECTIONS)


class Slab:
    """The windows of ``ROWS`` slots."""

    __slots__ = ("_counters", "_histograms", "_pages", "dropped", "seen")

    def __init__(self, retention: Retention, patience: int = PATIENCE) -> None:
        self._counters = [CounterRing(width_s, n, len(Count), ROWS) for width_s, n in retention.counters]
        self._histograms = [HistogramRing(width_s, n, SECTIONS, patience) for width_s, n in retention.histograms]
        self._pages: dict[int, Page] = {}
        self.dropped = 0
        """Samples that came too late (or from too far ahead) for every ring."""
        self.seen = np.zeros(ROWS, np.bool_)
        """Rows that anything was ever recorded for."""

    @property
    def counter_widths(self) -> tuple[tuple[int, int], ...]:
        """Seconds per bucket and seconds in all of each counter ring, finest first."""
        return tuple((ring.width_s, ring.width_s * ring.buckets) for ring in self._counters)

    def page(self, at: float) -> Page:
        """The page that takes samples of the time ``at``."""
        minute = int(at // PAGE_S)
        page = self._pages.get(minute)
        if page is None:
            page = self._pages[minute] = Page()
        return page

    def flush(self, now: float) -> None:
        """Move all pages into the rings; samples that no counter ring retains are dropped and counted.

        So are samples from more than a page ahead of ``now``: after the clock went back they would come into force
        at an arbitrary time.
        """
        pages, self._pages = self._pages, {}
        ahead = [minute for minute in pages if minute > now // PAGE_S + 1]
        self.dropped += sum(_samples(pages.pop(minute).table()) for minute in ahead)
        counts = {minute: page.table() for minute, page in pages.items()}
        for ring in self._counters:
            for period, minutes in _grouped(pages, ring.width_s).items():
                total = np.sum([counts[minute] for minute in minutes], axis=0)
                self.seen |= total.any(axis=0)
                if not ring.add(period, ring.period(now), total) and ring is self._counters[-1]:
                    self.dropped += _samples(total)
        for minutes in _grouped(pages, self._histograms[0].width_s).values():
            chunk = _chunk([pages[minute] for minute in minutes])
            for histogram in self._histograms:
                histogram.add(minutes[0] * PAGE_S // histogram.width_s, histogram.period(now), chunk)

    def sums(
        self, columns: Sequence[int], now: float, window_s: float, since: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """Counts over the last ``window_s`` seconds, shape ``[column, row]``, from the finest ring that reaches back.

        ``since`` (per row) leaves out periods that began before a time, e.g. the start of an evidence epoch.
        """
        ring = _reaching(self._counters, window_s)
        if since is None or not (since > now - window_s).any():
            return ring.sums(columns, now, window_s)
        series = ring.series(columns, now, window_s)
        periods = ring.period(now) - np.arange(series.shape[1])[::-1]
        counted = periods[:, np.newaxis] * ring.width_s >= since
        return np.asarray((series * counted).sum(axis=1))

    def series(
        self,
        columns: Sequence[int],
        now: float,
        width_s: int,
        window_s: float,
        rows: NDArray[np.intp] | None = None,
    ) -> NDArray[np.int64]:
        """Counts per ``width_s`` seconds, shape ``[column, period, row]``, oldest first; ``width_s`` names the ring.

        ``rows`` limits it to some rows; None means all.
        """
        ring = next(ring for ring in self._counters if ring.width_s == width_s)
        return ring.series(columns, now, window_s, rows)

    def histograms(self, first: Kind, last: Kind, now: float, window_s: float) -> NDArray[np.float64]:
        """Cells of the kinds from ``first`` to ``last`` over the window, shape ``[kind, row, bin]``."""
        ring = _reaching(self._histograms, window_s)
        cells = ring.cells(first, last + 1, now, window_s)
        return cells.reshape(last - first + 1, ROWS, BINS)

    def forget(self, rows: Sequence[int], now: float) -> None:
        """Erase some rows."""
        self.flush(now)
        self.seen[rows] = False
        for ring in self._counters:
            ring.forget(rows)
        for histogram in self._histograms:
            histogram.keep(lambda keys: ~np.isin(keys // BINS % ROWS, rows))

    def merge(self, other: Slab, rows: Mapping[int, int], now: float) -> None:
        """Add rows of another slab, each to the row that ``rows`` maps it to."""
        self.flush(now)
        other.flush(now)
        source, target = list(rows), list(rows.values())
        self.seen[target] |= other.seen[source]
        for ring, counted in zip(self._counters, other._counters, strict=True):
            for period, counts in counted.pages():
                mapped = np.zeros_like(counts)
                mapped[:, target] = counts[:, source]
                ring.add(period, ring.period(now), mapped)
        for histogram, marked in zip(self._histograms, other._histograms, strict=True):
            for period, chunk in marked.pages():
                histogram.add(period, histogram.period(now), _moved(chunk, rows))


def _samples(table: NDArray[np.int64]) -> int:
    return int(table[[Count.ANSWERED, Count.FAILED]].sum())


def _moved(chunk: Chunk, rows: Mapping[int, int]) -> Chunk:
    """The cells of some rows, under the rows that they are mapped to."""
    target = np.full(ROWS, -1)
    target[list(rows)] = list(rows.values())
    moved = target[chunk.keys // BINS % ROWS]
    held, to = chunk.keys[moved >= 0].astype(np.int64), moved[moved >= 0]
    keys = (held // (BINS * ROWS) * ROWS + to) * BINS + held % BINS
    return fold(keys.astype(np.uint32), chunk.counts[moved >= 0], SECTIONS)


def _grouped(minutes: Iterable[int], width_s: int) -> dict[int, list[int]]:
    """Page numbers by the period of ``width_s`` seconds that they are part of."""
    groups: dict[int, list[int]] = {}
    for minute in minutes:
        groups.setdefault(minute * PAGE_S // width_s, []).append(minute)
    return groups


def _reaching(rings: Sequence[_Ring], window_s: float) -> _Ring:
    """The finest ring that reaches back ``window_s`` seconds, else the coarsest."""
    return next((ring for ring in rings if ring.width_s * ring.buckets >= window_s), rings[-1])


class Windows:
    """The windows of all slots."""

    def __init__(self, retention: Retention, min_output_tokens: int) -> None:
        self.slabs: list[Slab] = []
        self._retention = retention
        self.min_output_tokens = min_output_tokens
        """Answers shorter than this have no speed; holds for samples from now on."""

    @property
    def dropped(self) -> int:
        """Samples that came too late to be counted."""
        return sum(slab.dropped for slab in self.slabs)

    def reach(self, slots: int) -> None:
        """Make room for slots below ``slots``."""
        while len(self.slabs) * ROWS < slots:
            # Not all at once: merging costs more than the rest of a flush.
            self.slabs.append(Slab(self._retention, PATIENCE + len(self.slabs) % PATIENCE))

    def record(self, slot: int, sample: Sample) -> None:
        """Count one sample."""
        page = self.slabs[slot // ROWS].page(sample.at)
        row = slot % ROWS
        first = row * _COLUMNS
        counts, cells = tally(sample, self.min_output_tokens)
        table, marks = page.counts, page.marks
        for column in counts:
            table[first + column] += 1
        for cell in cells:
            marks.append((cell // BINS * ROWS + row) * BINS + cell % BINS)

    def add(self, slot: int, counts: Mapping[Count, int], cells: Mapping[int, int], at: float) -> None:
        """Count many samples of one time at once.

        Args:
            slot: whose they are.
            counts: by how much each counter rises.
            cells: by how much each cell ``kind * BINS + bin`` rises.
            at: when, in seconds since the epoch.

        Raises:
            ValueError: a number is negative or a cell does not exist.
        """
        if min(counts.values(), default=0) < 0 or min(cells.values(), default=0) < 0:
            raise ValueError(f"numbers of samples are never negative: {counts} {cells}")
        marked = np.array(sorted(cells), np.int64)
        if len(marked) and not 0 <= marked[0] <= marked[-1] < len(Kind) * BINS:
            raise ValueError(f"cells are 0 to {len(Kind) * BINS - 1}: {cells}")
        page = self.slabs[slot // ROWS].page(at)
        first = slot % ROWS * _COLUMNS
        for column, count in counts.items():
            page.counts[first + column] += count
        if len(marked):
            keys = (marked // BINS * ROWS + slot % ROWS) * BINS + marked % BINS
            times = np.array([cells[cell] for cell in marked.tolist()], np.int64)
            page.chunks.append(Chunk(keys.astype(np.uint32), times, SECTIONS))

    def merge(self, other: Windows, slots: Mapping[int, int], now: float) -> None:
        """Add another replica's windows: ``slots`` maps its slots to ours; both were made with equal settings."""
        self.reach(max(slots.values(), default=-1) + 1)
        pairs: dict[tuple[int, int], dict[int, int]] = {}
        for theirs, ours in slots.items():
            pairs.setdefault((theirs // ROWS, ours // ROWS), {})[theirs % ROWS] = ours % ROWS
        for (source, target), rows in pairs.items():
            self.slabs[target].merge(other.slabs[source], rows, now)

    def forget(self, slots: Iterable[int], now: float) -> None:
        """Erase what is known of some slots, so that others can have them."""
        rows: dict[int, list[int]] = {}
        for slot in slots:
            rows.setdefault(slot // ROWS, []).append(slot % ROWS)
        for number, gone in rows.items():
            self.slabs[number].forget(gone, now)

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

from exacto_plugin.core.histograms import Chunk, HistogramRing, fold
from exacto_plugin.core.rings import CounterRing
from exacto_plugin.core.sketch import BINS
from exacto_plugin.core.tally import Count, Kind, tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import Sample

_COLUMNS = len(Count)
_Ring = TypeVar("_Ring", CounterRing, HistogramRing)

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
"""The first cell key of each kind of histogram; a key counts kinds, then bins, then rows."""


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
        if not pages:
            return
        minutes = sorted(pages)
        counts = np.stack([pages[minute].table() for minute in minutes], axis=1)
        self.seen |= counts.any(axis=(0, 1))
        for ring in self._counters:
            periods, first = _periods(minutes, ring.width_s)
            sums = np.add.reduceat(counts, first, axis=1) if len(periods) < len(minutes) else counts
            retained = ring.add(periods, ring.period(now), sums)
            if ring is self._counters[-1]:
                self.dropped += sum(_samples(sums[:, at]) for at, kept in enumerate(retained) if not kept)
        finest_s = self._histograms[0].width_s
        periods, first = _periods(minutes, finest_s)
        for period, begin, end in zip(periods, first, [*first[1:], len(minutes)], strict=True):
            chunk = _chunk([pages[minute] for minute in minutes[begin:end]])
            for histogram in self._histograms:
                histogram.add(period * finest_s // histogram.width_s, histogram.period(now), chunk)

    def sums(self, columns: Sequence[int], now: float, window_s: float) -> NDArray[np.int64]:
        """Counts over the last ``window_s`` seconds, ``[column, row]``, from the finest ring that reaches back."""
        return _reaching(self._counters, window_s).sums(columns, now, window_s)

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
        return self._ring(width_s).series(columns, now, window_s, rows)

    def revision(self, now: float, width_s: int) -> tuple[int, int]:
        """Changes whenever the counts of a period of ``width_s`` seconds that is over do, or there is one more."""
        ring = self._ring(width_s)
        return ring.period(now), ring.revision

    def occupied(self, column: int, now: float, width_s: int, window_s: float, but_s: float = 0.0) -> NDArray[np.int64]:
        """In how many periods of ``width_s`` seconds something was counted; without the newest ``but_s`` seconds."""
        return self._ring(width_s).occupied(column, now, window_s, but_s)

    def cells(self, first: Kind, last: Kind, now: float, window_s: float) -> NDArray[np.integer]:
        """Cells of the kinds from ``first`` to ``last`` over the window, shape ``[kind, bin, row]``.

        A view that is only to be read, and only until the next flush; of a narrow type, to be widened before adding.
        """
        cells = _reaching(self._histograms, window_s).cells(first, last + 1, now, window_s)
        return cells.reshape(last - first + 1, BINS, ROWS)

    def histograms(self, first: Kind, last: Kind, now: float, window_s: float) -> NDArray[np.float64]:
        """A copy of ``cells`` of shape ``[kind, row, bin]``."""
        return self.cells(first, last, now, window_s).swapaxes(1, 2).astype(np.float64)

    def _ring(self, width_s: int) -> CounterRing:
        return next(ring for ring in self._counters if ring.width_s == width_s)

    def forget(self, rows: Sequence[int], now: float) -> None:
        """Erase some rows."""
        self.flush(now)
        self.seen[rows] = False
        for ring in self._counters:
            ring.forget(rows)
        for histogram in self._histograms:
            histogram.keep(lambda keys: ~np.isin(keys % ROWS, rows))

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
                ring.add([period], ring.period(now), mapped[:, np.newaxis])
        for histogram, marked in zip(self._histograms, other._histograms, strict=True):
            for period, chunk in marked.pages():
                histogram.add(period, histogram.period(now), _moved(chunk, rows))


def _samples(table: NDArray[np.int64]) -> int:
    return int(table[[Count.ANSWERED, Count.FAILED]].sum())


def _moved(chunk: Chunk, rows: Mapping[int, int]) -> Chunk:
    """The cells of some rows, under the rows that they are mapped to."""
    target = np.full(ROWS, -1)
    target[list(rows)] = list(rows.values())
    moved = target[chunk.keys % ROWS]
    held, to = chunk.keys[moved >= 0].astype(np.int64), moved[moved >= 0]
    return fold((held // ROWS * ROWS + to).astype(np.uint32), chunk.counts[moved >= 0], SECTIONS)


def _periods(minutes: Sequence[int], width_s: int) -> tuple[list[int], list[int]]:
    """The periods of ``width_s`` seconds that some minutes are part of, in order, and the place of each one's first."""
    first: dict[int, int] = {}
    for place, minute in enumerate(minutes):
        first.setdefault(minute * PAGE_S // width_s, place)
    return list(first), list(first.values())


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
            marks.append(cell * ROWS + row)

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
            keys = marked * ROWS + slot % ROWS
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

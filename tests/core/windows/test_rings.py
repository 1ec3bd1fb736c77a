"""Rings: whatever entered and left them before, their sums are those of what they hold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.windows.counter_ring import CounterRing, SparseCounts
from exacto_plugin.core.windows.histogram_ring import HistogramRing, SparseHistogram, merge, tally

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from numpy.typing import NDArray

WIDTH_S, BUCKETS = 300, 4
SPANS = (1, 3, BUCKETS)
"""Periods of the windows that are read."""
COLUMNS, ROWS = 3, 4
KEYS = COLUMNS * ROWS
SECTIONS = np.array([0, 5, KEYS, 80 * KEYS], np.uint32)
"""The keys in use lie in two sections; the third one makes a few of them too few for an array."""
T = TypeVar("T")
START = 1000
"""The period in progress when a history begins."""


class Entry(NamedTuple):
    """Counts that are added to a period."""

    age: int
    """Of the period, in periods."""
    counts: dict[int, int]
    """By key."""


class Step(NamedTuple):
    """What happens between two looks at a ring."""

    passed: int
    """Periods that pass first; below 0 the clock is put back."""
    entries: list[Entry]
    read: bool
    """Whether the sums are read, which is what keeps them up to date."""
    gone: frozenset[int]
    """Rows that are forgotten after that."""
    carried: str
    """``dumped``: the ring is written down and read back; ``merged``: it takes in another one that holds the same."""


class Histograms:
    """A ring of sparse histograms, as ``window`` uses it."""

    def __init__(self) -> None:
        self.ring = HistogramRing(WIDTH_S, BUCKETS, SECTIONS, 2)

    def add(self, period: int, now_period: int, counts: Mapping[int, int]) -> None:
        """Add counts by key."""
        keys = np.array(sorted(counts), np.uint32)
        self.ring.add(
            period, now_period, SparseHistogram(keys, np.array([counts[key] for key in sorted(counts)]), SECTIONS)
        )
        self.ring.merge_chunks()

    def take(self) -> SparseCounts:
        """All that it holds."""
        return self.ring.read(lambda keys: np.ones(len(keys), np.bool_))

    def forget(self, rows: frozenset[int]) -> None:
        """Drop some rows."""
        self.ring.keep(lambda keys: ~np.isin(keys % ROWS, list(rows)))

    def sums(self, now: float, window_s: float) -> dict[int, int]:
        """What is not 0 over a window, by key; read section by section, as it is where only one is needed."""
        parts = [self.ring.cells(section, section + 1, now, window_s) for section in (1, 0)]
        whole = self.ring.cells(0, 2, now, window_s)
        assert np.array_equal(np.concatenate(parts[::-1]), whole)
        return nonzero(whole)


class Counters:
    """A ring of dense counters, whose columns and rows are the same keys."""

    def __init__(self) -> None:
        self.ring = CounterRing(WIDTH_S, BUCKETS, COLUMNS, ROWS)

    def add(self, period: int, now_period: int, counts: Mapping[int, int]) -> None:
        """Add counts by key."""
        table = np.zeros((COLUMNS, 1, ROWS), np.int64)
        for key, count in counts.items():
            table[key // ROWS, 0, key % ROWS] = count
        self.ring.add([period], now_period, table)

    def take(self) -> SparseCounts:
        """All that it holds."""
        return self.ring.read(np.arange(ROWS))

    def forget(self, rows: frozenset[int]) -> None:
        """Drop some rows."""
        self.ring.forget(sorted(rows))

    def sums(self, now: float, window_s: float) -> dict[int, int]:
        """What is not 0 over a window, by key; the same as the sums of its series."""
        whole = self.ring.sums(range(COLUMNS), now, window_s)
        assert np.array_equal(self.ring.series(range(COLUMNS), now, window_s).sum(axis=1), whole)
        return nonzero(whole.reshape(-1))


Ring = Histograms | Counters


def nonzero(sums: NDArray[np.integer]) -> dict[int, int]:
    """The numbers that are not 0, by their place."""
    return {int(place): int(sums[place]) for place in np.flatnonzero(sums)}


class Entries:
    """What a ring should hold, in plain Python, whose integers have no end."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[int, Counter[int]]] = {}
        """By position: which period it holds, and its counts."""

    def add(self, period: int, now_period: int, counts: Mapping[int, int]) -> None:
        """A period that is retained displaces the one that had its place."""
        if now_period - BUCKETS <= period <= now_period + 1:
            position = period % (BUCKETS + 2)
            if self.held.get(position, (None,))[0] != period:
                self.held[position] = (period, Counter())
            self.held[position][1].update(counts)

    def forget(self, rows: frozenset[int]) -> None:
        """Drop some rows."""
        for _, counts in self.held.values():
            for key in [key for key in counts if key % ROWS in rows]:
                del counts[key]

    def sums(self, now_period: int, periods: int) -> dict[int, int]:
        """What is not 0 over a window, by key."""
        total: Counter[int] = Counter()
        for period, counts in self.held.values():
            if now_period - periods <= period <= now_period:
                total.update(counts)
        return dict(total)

    def put(self, other: Entries) -> None:
        """Add what another one holds; the newest period, here or there, says what is too old."""
        found = sorted((period, dict(counts)) for period, counts in other.held.values() if counts)
        newest = max([period for period, _ in self.held.values()] + [period for period, _ in found], default=0)
        for period, counts in found:
            self.add(period, newest - 1, counts)

    def fill(self, ring: Ring) -> Ring:
        """A ring that nothing ever left, with the same entries."""
        for period, counts in self.held.values():
            ring.add(period, period, counts)
        return ring


def history(draw: random.Random, limit: int) -> list[Step]:
    """A history of counts that are parts of a power of two, or lie beside one, so that sums come to lie around it.

    Most are quiet: counts enter and leave in their order. Sums come to the edge of a type in quiet times only.
    """
    unrest = draw.choice([0.01, 0.01, 0.01, 0.1])

    def mostly(usual: T, *others: T) -> T:
        return usual if draw.random() >= unrest else draw.choice(others)

    def entry() -> Entry:
        keys = mostly(draw.sample([0, 3, 5, 8, 10, 11], 1), list(range(KEYS)))
        sixteenths = mostly(draw.randint(1, 6), 16)
        counts = {key: limit * sixteenths // 16 + draw.randint(-1, 1) for key in keys}
        return Entry(mostly(0, 1, 2, BUCKETS, -1), counts)

    return [
        Step(
            mostly(1, 0, 2, BUCKETS, 40, -1, -3),
            [entry() for _ in range(draw.randint(0, 3))],
            mostly(True, False),
            mostly(frozenset[int](), frozenset({1}), frozenset({0, 2})),
            mostly("", "dumped", "merged"),
        )
        for _ in range(36)
    ]


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_what_leaves_says_nothing_about_the_largest_sum(bits: int) -> None:
    """Two crowded keys age out while a third one fills up its type: it widens all the same."""
    ring, part = Histograms(), 2**bits * 100 // 256
    crowded = [(0, {0: part}), (0, {3: part}), (1, {5: part})]
    quiet = [(period, {10: 1}) for period in range(2, 6)]
    for period, counts in [*crowded, *quiet, (5, {5: 2**bits - part})]:
        ring.add(period, period, counts)
        found = ring.sums(float(period * WIDTH_S), BUCKETS * WIDTH_S)
    assert found == {5: 2**bits, 10: 4}


@given(
    st.lists(st.sampled_from([1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 2**24]), max_size=12),
    st.lists(st.integers(0, 2**27), max_size=3),
)
def test_keys_are_read_as_they_were_stored(steps: list[int], bounds: list[int]) -> None:
    """Differences on both sides of a byte, of all sections and of each: also of those without keys."""
    keys = np.cumsum(steps, dtype=np.int64).astype(np.uint32) - np.uint32(1)
    sections = np.array([0, *sorted(bounds), 2**28], np.uint32)
    held = SparseHistogram(keys, np.ones(len(keys), np.uint8), sections)
    assert held.keys.tolist() == keys.tolist()
    for first in range(len(sections)):
        for end in range(first, len(sections)):
            here = keys[(keys >= sections[first]) & (keys < sections[end])].astype(np.int64)
            assert held.keys_of(first, end).tolist() == here.tolist()
            assert held.keys_of(first, end, int(sections[first])).tolist() == (here - int(sections[first])).tolist()


@given(st.lists(st.integers(0, 2**20 - 1) | st.integers(0, 3), max_size=400))
def test_keys_are_tallied_as_they_are_merged(keys: list[int]) -> None:
    """One by one or many of a kind, also none."""
    given_keys, sections = np.array(keys, np.uint32), np.array([0, 2, 2**10, 2**20], np.uint32)
    whole = merge(given_keys, np.ones(len(keys), np.uint8), sections)
    one = tally(given_keys, sections)
    assert one.keys.tolist() == whole.keys.tolist()
    assert one.counts.tolist() == whole.counts.tolist()
    assert (one.counts.dtype, one.bounds, one.largest) == (whole.counts.dtype, whole.bounds, whole.largest)


@pytest.mark.parametrize("kind", [Histograms, Counters])
@pytest.mark.parametrize("bits", [8, 16, 32])
@settings(max_examples=60)
@given(st.randoms(use_true_random=True))
def test_sums_are_those_of_a_fresh_ring_after_any_history(kind: type[Ring], bits: int, draw: random.Random) -> None:
    """Entering, leaving, late and early entries, jumps of the clock, forgetting, merging, reloading, in any order."""
    ring, entries, now_period = kind(), Entries(), START
    for step in history(draw, 2**bits):
        now_period += step.passed
        for entry in step.entries:
            for each in (ring, entries):
                each.add(now_period - entry.age, now_period, entry.counts)
        if step.read:
            assert read(ring, now_period) == [entries.sums(now_period, periods) for periods in SPANS]
        for each in (ring, entries):
            each.forget(step.gone)
        if step.carried:
            held = ring.take()
            into = (ring, entries) if step.carried == "merged" else (kind(), Entries())
            into[0].ring.add_counts(held)
            into[1].put(entries)
            ring, entries = into
    assert read(ring, now_period) == read(entries.fill(kind()), now_period)
    assert read(ring, now_period) == [entries.sums(now_period, periods) for periods in SPANS]


def read(ring: Ring, now_period: int) -> list[dict[int, int]]:
    """The sums over every window."""
    return [ring.sums(float(now_period * WIDTH_S), periods * WIDTH_S) for periods in SPANS]

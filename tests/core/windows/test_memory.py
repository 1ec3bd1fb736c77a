"""Rings take memory only for the counts that occur, whatever is done to them."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pytest

from exacto_plugin.core.windows.counter_ring import CounterRing
from exacto_plugin.core.windows.histogram_ring import HistogramRing, SparseHistogram
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.minute_buffer import MinuteBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
STATUS = Path("/proc/self/status")
ROWS, COLUMNS, BUCKETS = 1024, 15, 2000
SECTIONS = np.array([0, 2**25], np.uint32)
_DEPTH = 16
"""Calls that are kept of each allocation; a call of the rings is less deep."""
MOST_MB = 8.0


def held_mb() -> float:
    """The memory of this process that is in use."""
    gc.collect()
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def made_by(make: Callable[[], T]) -> tuple[T, int]:
    """What a call returns, and its bytes of memory; a call before it makes what is kept for all.

    Only what is allocated below this function counts: threads that earlier tests left behind allocate meanwhile.
    """
    make()
    gc.collect()
    tracemalloc.start(_DEPTH)
    try:
        made = make()
        ours = tracemalloc.Filter(inclusive=True, filename_pattern=__file__, all_frames=True)
        found = tracemalloc.take_snapshot().filter_traces([ours])
        return made, sum(one.size for one in found.traces)
    finally:
        tracemalloc.stop()


@pytest.fixture
def before_mb() -> float:
    """The memory in use before; only Linux tells it."""
    if not STATUS.exists():
        pytest.skip("no /proc")
    return held_mb()


def test_counters_that_never_occur_take_no_memory(before_mb: float) -> None:
    """30 million counters of which two occur: widened, cleared and erased, they would take 30 MB and more."""
    ring = CounterRing(60, BUCKETS, COLUMNS, ROWS)
    counts = np.zeros((COLUMNS, 1, ROWS), np.int64)
    counts[2, 0, [3, 900]] = 1, 70_000
    ring.add([BUCKETS], BUCKETS, counts)
    ring.forget([3])
    for period in range(BUCKETS, 3 * BUCKETS):
        ring.position_for(period, period)
    assert held_mb() - before_mb < MOST_MB
    ring.add([3 * BUCKETS], 3 * BUCKETS, counts)
    assert ring.sums([2], 3 * BUCKETS * 60.0, 60.0)[0, [3, 900]].tolist() == [1, 70_000]


def test_cells_that_never_occur_take_no_memory(before_mb: float) -> None:
    """32 million cells of which three occur: widened, erased and started anew, they would take 32 MB and more."""
    ring = HistogramRing(300, 4, SECTIONS, 8)
    ring.cells(0, 1, 0.0, 300.0)
    chunk = SparseHistogram(np.array([7, 8, 2**24], np.uint32), np.array([1, 300, 2]), SECTIONS)
    ring.add(0, 0, chunk)
    ring.keep(lambda keys: keys != 8)
    assert ring.cells(0, 1, 0.0, 300.0)[[7, 8, 2**24]].tolist() == [1, 0, 2]
    assert not ring.cells(0, 1, 9000.0, 300.0)[[7, 8, 2**24]].any()
    assert held_mb() - before_mb < MOST_MB


def test_a_cell_takes_two_bytes() -> None:
    """One for its key and one for its count, if most keys differ by less than 256 from the key before."""
    keys = np.flatnonzero(np.arange(2**20) % 12_000 < 6000).astype(np.uint32)
    counts = np.ones(len(keys), np.uint8)
    counts[::7] = 3
    histogram, held = made_by(lambda: SparseHistogram(keys, counts, np.array([0, 2**20], np.uint32)))
    assert np.array_equal(histogram.keys, keys)
    # The array of counts is the caller's own.
    assert held + counts.nbytes < 2.1 * len(keys)


def test_an_addition_of_few_cells_takes_little_memory() -> None:
    """Deployments with little traffic add a few cells each; an object for each addition takes 100 bytes a cell."""

    def fill() -> MinuteBuffer:
        buffer = MinuteBuffer()
        for row in range(ROWS):
            buffer.add(row, {}, {cell * 128: 1 + row for cell in range(6)})
        return buffer

    buffer, held = made_by(fill)
    table = np.dtype(np.int64).itemsize * len(CounterKind) * ROWS
    assert held - table < 20 * 6 * ROWS
    assert buffer.read(9) == ({}, {cell * 128: 10 for cell in range(6)})

"""Windows: time buckets, late samples, clock jumps and merging."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.model import Outcome, Sample
from exacto_plugin.core.stats.log_bins import BINS, bin_of
from exacto_plugin.core.windows.codec import decode, encode
from exacto_plugin.core.windows.counter_ring import MOST
from exacto_plugin.core.windows.increments import CounterKind, HistogramKind, increments_of
from exacto_plugin.core.windows.minute_buffer import MinuteBuffer
from exacto_plugin.core.windows.windows import MOST_UNMERGED, ROWS, Retention, Windows
from tests.support.samples import START, answer, samples

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

SLOT = {"a": 1, "b": 2, "c": ROWS - 1, "d": ROWS, "e": 2 * ROWS + 7}
"""Slots in three blocks."""
WINDOWS_S = (300, 900, 1800, 3600, 7200, 21_600, 86_400, 259_200)


def windows(recorded: Iterable[Sample] = (), retention: Retention | None = None) -> Windows:
    """Windows with room for every slot of ``SLOT``, in which some samples were recorded."""
    made = Windows(retention or Retention(), 100)
    made.resize(3 * ROWS)
    for sample in recorded:
        made.record(SLOT[sample.deployment], sample)
    return made


def contents(of: Windows, now: float = START) -> list[Any]:
    """All that can be read of windows, as plain lists."""
    read: list[Any] = []
    for number, block in enumerate(of.blocks):
        block.flush(now)
        rows = [slot % ROWS for slot in SLOT.values() if slot // ROWS == number]
        read += [block.sums(list(CounterKind), now, window_s)[:, rows].tolist() for window_s in WINDOWS_S]
        read += [
            block.series(list(CounterKind), now, width_s, width_s * 30)[..., rows].tolist() for width_s in (60, 1800)
        ]
        for window_s in (600, 3600, 86_400):
            cells = block.histograms(HistogramKind.SPEED_STREAMED, HistogramKind.CALLERS, now, window_s)[:, rows]
            read += [np.argwhere(cells).tolist(), cells[cells > 0].tolist()]
    return [*read, of.dropped]


def count(of: Windows, column: CounterKind, window_s: float, now: float = START, slot: int = 1) -> int:
    """One counter of one slot."""
    block = of.blocks[slot // ROWS]
    block.flush(now)
    return int(block.sums([column], now, window_s)[0, slot % ROWS])


def give(to: Windows, of: Windows, slots: dict[int, int]) -> None:
    """Add all that some slots hold to others, by way of bytes."""
    held = dict(zip(slots.values(), of.read(list(slots)), strict=True))
    to.add_dumps({slot: decode(encode(one)) for slot, one in held.items()})


@given(st.lists(samples(within_s=300_000), max_size=60), st.lists(st.booleans(), min_size=60, max_size=60))
def test_merging_two_replicas_gives_the_windows_of_one(recorded: list[Sample], ours: list[bool]) -> None:
    """Samples split over two replicas in any way and merged are the samples recorded in one, also where they age."""
    parts = [[sample for sample, mine in zip(recorded, ours, strict=False) if mine is part] for part in (True, False)]
    merged, other = windows(parts[0]), windows(parts[1])
    give(merged, other, {slot: slot for slot in SLOT.values()})
    whole = contents(windows(recorded))
    assert contents(merged)[:-1] == whole[:-1]
    assert merged.dropped + other.dropped == whole[-1]


def test_merging_renames_slots() -> None:
    """A replica may have given a deployment another slot, in another block."""
    theirs = windows([answer("a"), answer("a", outcome=Outcome.INVALID_JSON), answer("b")])
    merged = windows([answer("d")])
    give(merged, theirs, {SLOT["a"]: SLOT["d"], SLOT["b"]: SLOT["a"]})
    renamed = {"a": "d", "b": "a"}
    expected = windows([answer("d"), answer(renamed["a"]), answer(renamed["a"], outcome=Outcome.INVALID_JSON)])
    expected.record(SLOT[renamed["b"]], answer())
    assert contents(merged) == contents(expected)


@given(st.lists(samples(within_s=20_000), max_size=40), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(recorded: list[Sample], chance: random.Random) -> None:
    """Any order gives the same windows, also when part of it is flushed in between."""
    shuffled = list(recorded)
    chance.shuffle(shuffled)
    other = windows(shuffled[: len(shuffled) // 2])
    for block in other.blocks:
        block.flush(START)
    for sample in shuffled[len(shuffled) // 2 :]:
        other.record(SLOT[sample.deployment], sample)
    assert contents(windows(recorded)) == contents(other)


@given(st.lists(samples(within_s=50, until_s=1), max_size=40))
def test_the_bulk_form_equals_recording_one_by_one(recorded: list[Sample]) -> None:
    """Adding up tallies first and adding the sums gives the same windows."""
    bulk = windows()
    for name, slot in SLOT.items():
        tallies = [increments_of(sample, 100) for sample in recorded if sample.deployment == name]
        counts = Counter(CounterKind(column) for tally in tallies for column in tally.counts)
        cells = Counter(cell for tally in tallies for cell in tally.cells)
        bulk.add(slot, counts, cells, START - 10)
    assert contents(bulk, START - 1) == contents(windows(recorded), START - 1)


@pytest.mark.parametrize(
    ("counts", "cells"),
    [
        ({CounterKind.CALLED: -1}, {}),
        ({}, {3: -1}),
        ({}, {-1: 1}),
        ({CounterKind.CALLED: 1}, {len(HistogramKind) * BINS: 1}),
        ({CounterKind.CALLED: MOST + 1}, {}),
        ({CounterKind.CALLED: 1}, {3: 2**64}),
    ],
)
def test_the_bulk_form_refuses_what_is_not_a_count(counts: dict[CounterKind, int], cells: dict[int, int]) -> None:
    """Numbers that are negative or beyond reason, and cells that do not exist, are errors that leave nothing behind."""
    refusing = windows()
    with pytest.raises(ValueError, match=r"never negative|cells are"):
        refusing.add(1, counts, cells, START)
    assert contents(refusing) == contents(windows())


@pytest.mark.parametrize("window_s", WINDOWS_S)
def test_a_window_holds_what_is_inside_and_nothing_older_than_a_bucket(window_s: int) -> None:
    """A sample counts until it is as old as the window, and no longer once it is a half-hour older."""
    held = windows([answer(at=START - window_s + 1)])
    assert count(held, CounterKind.CALLED, window_s) == 1
    assert count(held, CounterKind.CALLED, window_s, START + 1800) == 0


def test_late_samples_count_while_their_bucket_is_retained() -> None:
    """A sample that comes 71 h late is in the 72 h window alone; one that comes 73 h late is dropped and counted."""
    late = windows([answer(at=START - 71 * 3600), answer(at=START - 73 * 3600), answer(at=START - 90, ok=False)])
    assert count(late, CounterKind.CALLED, 259_200) == 1
    assert count(late, CounterKind.CALLED, 86_400) == 0
    assert count(late, CounterKind.FAILED, 900) == 1
    assert late.dropped == 1


def test_a_forward_jump_only_empties() -> None:
    """After the clock jumped a week ahead nothing is left, and counting goes on."""
    week = START + 7 * 86_400
    jumped = windows([answer()])
    assert count(jumped, CounterKind.CALLED, 300) == 1
    assert count(jumped, CounterKind.CALLED, 259_200, week) == 0
    jumped.record(1, answer(at=week))
    assert count(jumped, CounterKind.CALLED, 300, week) == 1


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), samples(within_s=10_000)), max_size=25))
def test_no_clock_breaks_the_windows(steps: list[tuple[float, Sample]]) -> None:
    """Whatever the clock does between samples, windows nest, and those that end at a time hold at most all samples."""
    wild = windows()
    for offset, sample in steps:
        wild.record(SLOT[sample.deployment], sample)
        for block in wild.blocks:
            block.flush(START + offset)
            sums = [block.sums(list(CounterKind), START + offset, window_s) for window_s in WINDOWS_S[:5]]
            assert all((longer >= shorter).all() for shorter, longer in pairwise(sums))
    total = sum(int(block.sums([CounterKind.ANSWERED, CounterKind.FAILED], START, 7200).sum()) for block in wild.blocks)
    assert total + wild.dropped <= len(steps)


def test_a_clock_that_went_back_finds_its_history() -> None:
    """After an hour's excursion into the future, what was measured before it still counts."""
    excursion = windows([answer(at=START - 600)] * 5)
    assert count(excursion, CounterKind.CALLED, 1800) == 5
    excursion.record(1, answer(at=START + 3600))
    assert count(excursion, CounterKind.CALLED, 300, START + 3600) == 1
    assert count(excursion, CounterKind.CALLED, 1800) == 5


def test_samples_from_the_future_are_dropped_and_counted() -> None:
    """A sample from ten minutes ahead is dropped; one from the next minute waits for its time."""
    ahead = windows([answer(at=START + 600), answer(at=START + 61)])
    assert count(ahead, CounterKind.CALLED, 300) == 0
    assert count(ahead, CounterKind.CALLED, 300, START + 70) == 1
    assert ahead.dropped == 1


def test_counters_widen_when_a_number_outgrows_them() -> None:
    """Counts above 8, 16 and 32 bits in one bucket are exact, and so are their neighbours'."""
    large = windows([answer("b")])
    for number in (200, 100, 70_000, 5_000_000_000):
        large.add(1, {CounterKind.CALLED: number}, {}, START)
        large.blocks[0].flush(START)
    assert count(large, CounterKind.CALLED, 300) == 5_000_070_300
    assert count(large, CounterKind.CALLED, 259_200) == 5_000_070_300
    assert count(large, CounterKind.CALLED, 300, slot=2) == 1


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(0, 4000), st.floats(-20_000, 200_000)),
            st.lists(samples(within_s=10_000), max_size=4),
            st.sets(st.sampled_from(sorted(SLOT)), max_size=1),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_sums_that_are_kept_up_to_date_equal_fresh_ones(steps: list[tuple[float, list[Sample], set[str]]]) -> None:
    """Reading all windows after each step, or only after the last, gives the same, whatever the clock does between."""
    often, once = windows(), windows()
    now = START
    for passed_s, recorded, gone in steps:
        for each in (often, once):
            for sample in recorded:
                each.record(SLOT[sample.deployment], replace(sample, at=sample.at + now - START))
            for block in each.blocks:
                block.flush(now)
            each.forget([SLOT[name] for name in gone])
        contents(often, now)
        now += passed_s
    assert contents(often, now) == contents(once, now)


def test_sums_widen_where_they_must() -> None:
    """Many samples of one kind are counted exactly, also while some of them age out."""
    cell = HistogramKind.SPEED_WHOLE * BINS + 7
    crowded = windows()
    found = []
    for step, number in enumerate((200, 100, 70_000, 5_000_000_000, 3, 0, 0, 0, 0)):
        crowded.add(1, {CounterKind.TIMED: number}, {cell: number} if number else {}, START + step * 300)
        block = crowded.blocks[0]
        block.flush(START + step * 300)
        cells = block.histograms(HistogramKind.SPEED_STREAMED, HistogramKind.SPEED_WHOLE, START + step * 300, 900)
        found.append((int(cells[1, 1, 7]), count(crowded, CounterKind.TIMED, 900, START + step * 300)))
    totals = [200, 300, 70_300, 5_000_070_300, 5_000_070_103, 5_000_070_003, 5_000_000_003, 3, 0]
    assert [cells for cells, _ in found] == totals
    assert found[3][1] == 5_000_070_300


def test_a_series_is_ordered_by_time() -> None:
    """Half-hours come oldest first, the one in progress last, with zeros where nothing happened."""
    spread = windows([answer(at=START - 1800 * age + 5) for age in (0, 2, 2, 3)])
    spread.blocks[0].flush(START + 10)
    series = spread.blocks[0].series([CounterKind.CALLED], START + 10, 1800, 4 * 1800)
    assert series[0, :, 1].tolist() == [0, 1, 2, 0, 1]


def test_histograms_tell_kinds_and_rows_apart() -> None:
    """A speed is found under its kind, its row and its bin, and ages out."""
    fast = windows([answer(output_tokens=400, duration_s=4.0)] * 3)
    fast.blocks[0].flush(START)
    cells = fast.blocks[0].histograms(HistogramKind.SPEED_STREAMED, HistogramKind.LATENCY_WHOLE, START, 300)
    assert np.argwhere(cells).tolist() == [
        [HistogramKind.SPEED_WHOLE, 1, bin_of(100.0)],
        [HistogramKind.LATENCY_WHOLE, 1, bin_of(4.0)],
    ]
    assert cells[HistogramKind.SPEED_WHOLE, 1, bin_of(100.0)] == 3
    assert (
        not fast.blocks[0].histograms(HistogramKind.SPEED_STREAMED, HistogramKind.LATENCY_WHOLE, START + 601, 300).any()
    )


@given(st.lists(samples(within_s=20_000), max_size=30), st.sets(st.sampled_from(sorted(SLOT)), max_size=4))
def test_forgetting_slots_leaves_the_others_as_they_were(recorded: list[Sample], gone: set[str]) -> None:
    """What is left equals windows in which the forgotten deployments never recorded anything."""
    forgetful = windows(recorded)
    forgetful.forget([SLOT[name] for name in gone])
    kept = windows([sample for sample in recorded if sample.deployment not in gone])
    assert contents(forgetful)[:-1] == contents(kept)[:-1]
    assert all((ours.seen == theirs.seen).all() for ours, theirs in zip(forgetful.blocks, kept.blocks, strict=True))


def test_many_flushes_of_one_period_are_one_sum() -> None:
    """Histogram additions are merged apart from the flushes, one period at a time, without changing what is read."""
    often = windows()
    merged = []
    for minute in range(100):
        often.record(1, answer(at=START + minute * 60, duration_s=1.0 + minute % 3))
        often.blocks[0].flush(START + minute * 60)
        merged.append(often.blocks[0].merge())
        assert not often.blocks[0].merge()
    assert not any(merged[:MOST_UNMERGED])
    assert 100 // (2 * MOST_UNMERGED) <= sum(merged) <= 100 // MOST_UNMERGED
    cells = often.blocks[0].histograms(HistogramKind.LATENCY_WHOLE, HistogramKind.LATENCY_WHOLE, START + 6000, 86_400)[
        0, 1
    ]
    assert cells[[bin_of(1.0), bin_of(2.0), bin_of(3.0)]].tolist() == [34, 33, 33]


@pytest.mark.parametrize(
    ("counters", "histograms"),
    [(((90, 5),), ((300, 2),)), (((300, 5), (60, 5)), ((300, 2),)), (((60, 5),), ((300, 2), (500, 2)))],
)
def test_retention_refuses_widths_that_do_not_nest(
    counters: Sequence[tuple[int, int]], histograms: Sequence[tuple[int, int]]
) -> None:
    """A width that pages or finer buckets do not divide, or a wrong order, is an error at once."""
    with pytest.raises(ValueError, match="widths must be multiples"):
        Retention(tuple(counters), tuple(histograms))


@pytest.mark.parametrize("cells", [{1: 1, 2: 2**70}, {1: 1, 2**40: 1}])
def test_an_addition_that_does_not_fit_adds_no_cell(cells: dict[int, int]) -> None:
    """Else keys and counts would be of different lengths, and the next recompute would fail."""
    buffer = MinuteBuffer()
    with pytest.raises(OverflowError):
        buffer.add(3, {}, cells)
    buffer.add(3, {}, {5: 2})
    assert buffer.read(3) == ({}, {5: 2})

"""What one sample adds to the windows."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given

from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.stats.log_bins import BINS, CLASSES, bin_of, coarse_class
from exacto_plugin.core.windows.increments import (
    CALLERS,
    FAULTS,
    FIRST_LATENCY,
    FIRST_SPEED,
    LATENCY_BY_CALLER,
    LATENCY_CLASSES,
    SPEED_CALLERS,
    CounterKind,
    HistogramKind,
    caller_number,
    increments_of,
)
from tests.support.samples import answer, samples


def counted(sample: Sample) -> set[CounterKind]:
    """The counters that a sample raises."""
    return {CounterKind(column) for column in increments_of(sample, 100).counts}


def marked(sample: Sample) -> dict[HistogramKind, int]:
    """The bin that a sample marks first in each histogram."""
    cells = reversed(increments_of(sample, 100).cells)
    return {HistogramKind(cell // BINS): cell % BINS for cell in cells}


def account_cell(sample: Sample) -> int:
    """The bin that a call marks for its account."""
    (cell,) = (cell for cell in increments_of(sample, 100).cells if cell >= HistogramKind.CALLERS * BINS + 2 * CALLERS)
    return cell % BINS - 2 * CALLERS


@pytest.mark.parametrize(
    ("sample", "counts"),
    [
        (answer(), {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.CALLED}),
        (answer(outcome=None), {CounterKind.ANSWERED, CounterKind.OFFERED}),
        (answer(outcome=Outcome.UNSCORED), {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.UNSCORED}),
        (
            answer(outcome=Outcome.INVALID_JSON),
            {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.CALLED, CounterKind.INVALID_JSON},
        ),
        (
            answer(outcome=Outcome.UNKNOWN_NAME),
            {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.CALLED, CounterKind.UNKNOWN_NAME},
        ),
        (
            answer(outcome=Outcome.SCHEMA_MISMATCH),
            {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.CALLED, CounterKind.SCHEMA_MISMATCH},
        ),
        (answer(outcome=None, lost=True), {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.LOST}),
        (answer(lost=True), {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.CALLED}),
        (
            answer(routed=False),
            {CounterKind.ANSWERED, CounterKind.OFFERED, CounterKind.CALLED, CounterKind.PINNED_CALLED},
        ),
        (
            answer(outcome=None, lost=True, routed=False),
            {
                CounterKind.ANSWERED,
                CounterKind.OFFERED,
                CounterKind.LOST,
                CounterKind.PINNED_CALLED,
                CounterKind.PINNED_FAULTY,
            },
        ),
        (Sample("g", DeploymentKey("a"), 0.0, outcome=Outcome.INVALID_JSON), {CounterKind.ANSWERED}),
        (answer(ok=False), {CounterKind.FAILED}),
        (answer(ok=False, refused=True), {CounterKind.FAILED, CounterKind.REFUSED}),
    ],
)
def test_counters(sample: Sample, counts: set[CounterKind]) -> None:
    """A judged tool call needs offered tools; unscored and lost ones are apart; a failed attempt is only that.

    Every answer that the router chose is one that can be broken.
    """
    checked = {CounterKind.CHECKED} if sample.ok and sample.routed else set()
    assert counted(sample) == counts | checked


def test_speed_is_the_end_to_end_rate_by_mode() -> None:
    """200 tokens in 5 seconds are 40 tokens/s whatever the first token took, streamed and whole apart."""
    streamed = marked(answer(output_tokens=200, duration_s=5.0, first_token_s=2.0, streamed=True))
    assert streamed[HistogramKind.SPEED_STREAMED] == bin_of(40.0)
    assert streamed[HistogramKind.LATENCY_STREAMED] == bin_of(2.0)
    whole = marked(answer(output_tokens=200, duration_s=5.0))
    assert whole[HistogramKind.SPEED_WHOLE] == bin_of(40.0)
    assert whole[HistogramKind.LATENCY_WHOLE] == bin_of(5.0)


@pytest.mark.parametrize(
    "sample",
    [
        answer(output_tokens=99, duration_s=5.0),
        answer(output_tokens=200, duration_s=0.0),
        answer(output_tokens=200, duration_s=math.inf),
        answer(output_tokens=200, duration_s=math.nan),
        answer(output_tokens=200, duration_s=-1.0),
    ],
)
def test_no_speed_without_a_measurement(sample: Sample) -> None:
    """Short answers and unknown durations have no speed, and do not count as timed."""
    assert not {HistogramKind.SPEED_STREAMED, HistogramKind.SPEED_WHOLE} & marked(sample).keys()
    assert CounterKind.TIMED not in counted(sample)


def test_no_minimum_still_needs_a_token() -> None:
    """With a minimum of 0 an answer without output has no speed."""
    assert CounterKind.TIMED not in increments_of(answer(duration_s=1.0), 0).counts
    assert CounterKind.TIMED in increments_of(answer(output_tokens=1, duration_s=1.0), 0).counts


def test_case_mix_and_caller_of_a_routed_call() -> None:
    """A routed call marks its complexity and its caller; a pinned one only its complexity."""
    routed = marked(answer(outcome=Outcome.INVALID_JSON, complexity=2, caller="k"))
    assert routed[HistogramKind.CASE_MIX] == 2 * 4 + 1
    assert routed[HistogramKind.CALLERS] == caller_number("k") * 2 + 1
    pinned = marked(answer(complexity=9, caller="k", routed=False))
    assert pinned[HistogramKind.CASE_MIX] == 3 * 4 + 2
    assert HistogramKind.CALLERS not in pinned


def test_a_call_counts_for_its_key_and_for_its_account() -> None:
    """Where no user, team or organisation is known, for the key twice."""
    bad = answer(outcome=Outcome.INVALID_JSON, caller="k", account="u")
    assert marked(bad)[HistogramKind.CALLERS] == caller_number("k") * 2 + 1
    assert account_cell(bad) == caller_number("u") * 2 + 1
    assert account_cell(answer(caller="k")) == caller_number("k") * 2


def test_speeds_count_for_the_account() -> None:
    """By coarse classes, here that of 20 tokens/s."""
    timed = marked(answer(output_tokens=200, duration_s=10.0, caller="k", account="u"))
    first = caller_number("u") % SPEED_CALLERS * CLASSES
    assert timed[HistogramKind.SPEED_BY_CALLER] == first + coarse_class(bin_of(20.0), FIRST_SPEED)


def test_latencies_count_for_the_account() -> None:
    """By coarse classes beyond the cells of the case mix, here that of 2 seconds and the last one."""
    for duration_s, place in ((2.0, coarse_class(bin_of(2.0), FIRST_LATENCY)), (9999.0, LATENCY_CLASSES - 1)):
        _, cells = increments_of(answer(duration_s=duration_s, caller="k", account="u"), 100)
        (wait,) = (cell for cell in cells if is_latency_by_caller(cell))
        first = LATENCY_BY_CALLER + caller_number("u") % SPEED_CALLERS * LATENCY_CLASSES
        assert wait == int(HistogramKind.CASE_MIX) * BINS + first + place
    assert LATENCY_BY_CALLER == 4 * 4  # the cells of the case mix
    assert first + place < BINS


def is_latency_by_caller(cell: int) -> bool:
    """Whether a cell of the case mix is beyond its own."""
    return cell // BINS == HistogramKind.CASE_MIX and cell % BINS >= LATENCY_BY_CALLER


def test_callers_have_the_same_number_everywhere() -> None:
    """The number of a caller is its CRC-32 (check value 0xCBF43926), which does not depend on the process."""
    assert caller_number("123456789") == 0xCBF43926 % CALLERS


@given(samples())
def test_every_tally_fits_the_windows(sample: Sample) -> None:
    """No sample marks a cell or counter that does not exist, twice, or faults without a denominator."""
    counts, cells = increments_of(sample, 100)
    assert max(Counter([*counts]).values()) == 1
    assert all(0 <= cell < len(HistogramKind) * BINS for cell in cells)
    assert len(set(cells)) == len(cells)
    waits = [cell for cell in cells if is_latency_by_caller(cell)]
    assert len(waits) == len({HistogramKind.LATENCY_STREAMED, HistogramKind.LATENCY_WHOLE} & marked(sample).keys())
    others = [cell for cell in cells if not is_latency_by_caller(cell)]
    callers = [cell % BINS // (2 * CALLERS) for cell in others if cell // BINS == HistogramKind.CALLERS]
    assert callers in ([], [0, 1])
    assert len({cell // BINS for cell in others}) == len(others) - len(callers) // 2
    if set(FAULTS) & set(counts):
        assert CounterKind.CALLED in counts
    assert (CounterKind.ANSWERED in counts) == sample.ok


def test_bad_outcomes_are_the_faults_that_tiers_count() -> None:
    """``Outcome.is_bad``, which rescue and probes ask, and the counters of the windows agree."""
    counted = {one for one in Outcome if set(FAULTS) & set(increments_of(answer(outcome=one), 0).counts)}
    assert {one for one in Outcome if one.is_bad} == counted

"""The evidence of a step's answers: sums for the engine, or samples for a log.

Both are equivalent; the sums are those of ``core.windows.increments`` for the samples, computed with arrays because a
simulation has millions of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.stats.log_bins import BINS, CLASSES, bin_of, bins_of, coarse_classes
from exacto_plugin.core.windows.increments import (
    CALLERS,
    FIRST_LATENCY,
    FIRST_SPEED,
    LATENCY_BY_CALLER,
    LATENCY_CLASSES,
    SPEED_CALLERS,
    CounterKind,
    HistogramKind,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from exacto_plugin.simulate.traffic import Answers

OUTPUT_TOKENS = 512
"""Tokens of an answer whose speed is measured; the preset defines the minimum."""

FIRST_TOKEN_S = 0.5
"""Seconds to the first token of every streamed answer; no preset uses them."""


def increments_of_answers(
    answers: Answers, caller_numbers: NDArray[np.int64], providers: int
) -> Iterator[tuple[int, int, dict[CounterKind, int], dict[int, int]]]:
    """Return repetition, provider, counters and cells of all providers with answers.

    In the form that ``Engine.add`` takes.
    """
    rows = answers.requests.repetition * providers + answers.place
    if not len(rows):
        return
    table = _counters(answers, rows)
    keys, numbers = np.unique(_cells(answers, rows, caller_numbers), return_counts=True)
    of_row = keys // (len(HistogramKind) * BINS)
    cells = (keys % (len(HistogramKind) * BINS)).tolist()
    counted = numbers.tolist()
    present = np.flatnonzero(table[:, CounterKind.ANSWERED])
    first, end = np.searchsorted(of_row, present), np.searchsorted(of_row, present, "right")
    for row, low, high in zip(present.tolist(), first.tolist(), end.tolist(), strict=True):
        counts = {_COUNTS[column]: number for column, number in enumerate(table[row].tolist()) if number}
        yield *divmod(row, providers), counts, dict(zip(cells[low:high], counted[low:high], strict=True))


_COUNTS = tuple(CounterKind)


def _counters(answers: Answers, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return counters by row, shape ``[row, column]``."""
    size = int(rows.max()) + 1
    table = np.zeros((size, len(CounterKind)), np.int64)
    faulty, pinned = answers.lost | answers.bad, answers.requests.pinned
    everybody = np.bincount(rows, minlength=size)
    table[:, CounterKind.ANSWERED] = table[:, CounterKind.OFFERED] = everybody
    marked = {
        CounterKind.CALLED: answers.attempted & ~answers.lost,
        CounterKind.SCHEMA_MISMATCH: answers.bad,
        CounterKind.LOST: answers.lost,
        CounterKind.PINNED_CALLED: answers.attempted & pinned,
        CounterKind.PINNED_FAULTY: faulty & pinned,
        CounterKind.TIMED: ~np.isnan(answers.speed),
    }
    for column, mask in marked.items():
        table[:, column] = np.bincount(rows[mask], minlength=size)
    return table


def _cells(answers: Answers, rows: NDArray[np.int64], caller_numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number per marked cell: row, kind and bin."""
    requests = answers.requests
    faulty = answers.lost | answers.bad
    rows = rows * (len(HistogramKind) * BINS)
    judged, routed = answers.attempted, answers.attempted & ~requests.pinned
    mix = requests.complexity * 4 + requests.pinned * 2 + faulty
    numbers = caller_numbers[requests.caller]
    calls = rows + int(HistogramKind.CALLERS) * BINS + numbers * 2 + faulty
    # Nobody has several keys here, so the number of the account is that of the key.
    marked = [
        (rows + int(HistogramKind.CASE_MIX) * BINS + mix)[judged],
        calls[routed],
        calls[routed] + 2 * CALLERS,
    ]
    timed = ~np.isnan(answers.speed)
    if timed.any():
        bins = bins_of(np.where(timed, answers.speed, 1.0))
        waits = np.where(
            answers.streamed, bin_of(FIRST_TOKEN_S), bins_of(OUTPUT_TOKENS / np.where(timed, answers.speed, 1.0))
        )
        kinds = np.where(answers.streamed, int(HistogramKind.SPEED_STREAMED), int(HistogramKind.SPEED_WHOLE))
        latencies = np.where(answers.streamed, int(HistogramKind.LATENCY_STREAMED), int(HistogramKind.LATENCY_WHOLE))
        first = numbers % SPEED_CALLERS * CLASSES
        speed_class = coarse_classes(bins, FIRST_SPEED)
        first_wait = LATENCY_BY_CALLER + numbers % SPEED_CALLERS * LATENCY_CLASSES
        wait_class = np.minimum(coarse_classes(waits, FIRST_LATENCY), LATENCY_CLASSES - 1)
        marked += [
            (rows + kinds * BINS + bins)[timed],
            (rows + latencies * BINS + waits)[timed],
            (rows + int(HistogramKind.CASE_MIX) * BINS + first_wait + wait_class)[timed],
            (rows + int(HistogramKind.SPEED_BY_CALLER) * BINS + first + speed_class)[timed],
        ]
    return np.concatenate(marked)


def samples(
    answers: Answers,
    names: tuple[DeploymentKey, ...],
    callers: tuple[str, ...],
    group_of: Callable[[int], str],
    at: float,
) -> Iterator[Sample]:
    """Return the same answers one by one, in the form that ``Engine.record`` takes.

    All are within the minute from ``at`` on.
    """
    requests = answers.requests
    count = len(answers.place)
    for number in range(count):
        speed = float(answers.speed[number])
        timed, streamed = speed == speed, bool(answers.streamed[number])
        lost, bad = bool(answers.lost[number]), bool(answers.bad[number])
        called = bool(answers.attempted[number]) and not lost
        yield Sample(
            group_of(int(requests.repetition[number])),
            names[int(answers.place[number])],
            at + 59.0 * number / count,
            tools_offered=True,
            outcome=None if not called else Outcome.SCHEMA_MISMATCH if bad else Outcome.VALID,
            lost=lost,
            output_tokens=OUTPUT_TOKENS if timed else 0,
            duration_s=OUTPUT_TOKENS / speed if timed else 0.0,
            first_token_s=FIRST_TOKEN_S if timed and streamed else None,
            streamed=streamed,
            routed=not requests.pinned[number],
            probe=bool(answers.probe[number]),
            caller=callers[int(requests.caller[number])],
            complexity=int(requests.complexity[number]),
        )

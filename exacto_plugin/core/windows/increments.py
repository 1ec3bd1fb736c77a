"""What one sample adds to the windows: which counters it raises and which histogram cells it marks.

A pure function of the sample, so that a replica can add up before it shares and every replica adds up alike. Which
answers count towards which denominator is decided here and nowhere else; no window, threshold or clock is known.
"""

from __future__ import annotations

import math
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.stats.log_bins import BINS, bin_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.model import Sample

CALLERS = 32
"""Callers are counted under one of this many numbers, so that no list of callers is ever kept."""


class CounterKind(IntEnum):
    """The counters of a slot; each answer raises at most one of the last verdicts (``CALLED`` to ``LOST``)."""

    ANSWERED = 0
    FAILED = 1
    """Attempts that ended with an error instead of an answer."""
    OFFERED = 2
    """Answers to requests that offered a tool."""
    CALLED = 3
    """Of those, the ones that ended with tool calls which could be judged: the denominator of tool-call success."""
    INVALID_JSON = 4
    UNKNOWN_NAME = 5
    SCHEMA_MISMATCH = 6
    UNSCORED = 7
    """Ended with tool calls that could not be judged; not in ``CALLED``."""
    LOST = 8
    """Meant a tool call that arrived in another form; not in ``CALLED``."""
    PINNED_CALLED = 9
    """The part of ``CALLED`` and ``LOST`` where the caller, not the router, chose the deployment."""
    PINNED_FAULTY = 10
    """The part of ``PINNED_CALLED`` that was faulty (a bad call or a lost one)."""
    TIMED = 11
    """Answers long enough to measure a speed."""


FAULTS = (CounterKind.INVALID_JSON, CounterKind.UNKNOWN_NAME, CounterKind.SCHEMA_MISMATCH)
"""The counters of tool calls that were judged bad."""


class HistogramKind(IntEnum):
    """The histograms of a slot, each of ``BINS`` cells."""

    SPEED_STREAMED = 0
    SPEED_WHOLE = 1
    """Output tokens per second from sending to the last byte, apart for streamed and whole answers."""
    LATENCY_STREAMED = 2
    """Seconds to the first token."""
    LATENCY_WHOLE = 3
    """Seconds to the end."""
    CASE_MIX = 4
    """Judged or lost tool calls by ``complexity * 4 + pinned * 2 + faulty``."""
    CALLERS = 5
    """Router-chosen judged or lost tool calls by ``caller number * 2 + faulty``."""


# Plain integers: arithmetic with the enums' members would cost as much as the rest of a tally.
_SPEED = (int(HistogramKind.SPEED_WHOLE) * BINS, int(HistogramKind.SPEED_STREAMED) * BINS)
_LATENCY = (int(HistogramKind.LATENCY_WHOLE) * BINS, int(HistogramKind.LATENCY_STREAMED) * BINS)
_CASE_MIX, _CALLERS = int(HistogramKind.CASE_MIX) * BINS, int(HistogramKind.CALLERS) * BINS
_FAULT_OF = {
    Outcome.INVALID_JSON: int(CounterKind.INVALID_JSON),
    Outcome.UNKNOWN_NAME: int(CounterKind.UNKNOWN_NAME),
    Outcome.SCHEMA_MISMATCH: int(CounterKind.SCHEMA_MISMATCH),
    None: int(CounterKind.LOST),
}
_ANSWERED, _FAILED, _OFFERED, _CALLED = (
    int(CounterKind.ANSWERED),
    int(CounterKind.FAILED),
    int(CounterKind.OFFERED),
    int(CounterKind.CALLED),
)
_UNSCORED, _TIMED = int(CounterKind.UNSCORED), int(CounterKind.TIMED)
_PINNED_CALLED, _PINNED_FAULTY = int(CounterKind.PINNED_CALLED), int(CounterKind.PINNED_FAULTY)


class Increments(NamedTuple):
    """One sample as additions: the counters it raises by one and the cells ``kind * BINS + bin`` it marks."""

    counts: Sequence[int]
    cells: Sequence[int]


def increments_of(sample: Sample, min_output_tokens: int) -> Increments:
    """What one sample adds to its slot; a pure function, so that replicas can add up before they share.

    An answer with fewer than ``min_output_tokens`` has no speed: its end-to-end rate measures the first token.
    """
    if not sample.ok:
        return Increments((_FAILED,), ())
    counts = [_ANSWERED]
    cells: list[int] = []
    duration_s, streamed = sample.duration_s, sample.streamed
    if sample.output_tokens >= min_output_tokens and sample.output_tokens > 0 and 0 < duration_s < math.inf:
        counts.append(_TIMED)
        cells.append(_SPEED[streamed] + bin_of(sample.output_tokens / duration_s))
    wait_s = sample.first_token_s if streamed else duration_s
    if wait_s is not None and 0 < wait_s < math.inf:
        cells.append(_LATENCY[streamed] + bin_of(wait_s))
    if sample.tools_offered:
        counts.append(_OFFERED)
        if sample.outcome is Outcome.UNSCORED:
            counts.append(_UNSCORED)
        elif sample.outcome is not None or sample.lost:
            _add_calls(sample, counts, cells)
    return Increments(counts, cells)


def _add_calls(sample: Sample, counts: list[int], cells: list[int]) -> None:
    """An answer whose tool calls were judged, or that has none because it lost them."""
    fault = _FAULT_OF.get(sample.outcome)
    faulty = fault is not None
    if sample.outcome is not None:
        counts.append(_CALLED)
    if fault is not None:
        counts.append(fault)
    complexity = min(3, max(0, sample.complexity))
    if sample.routed:
        cells.append(_CASE_MIX + complexity * 4 + faulty)
        cells.append(_CALLERS + caller_number(sample.caller) * 2 + faulty)
        return
    cells.append(_CASE_MIX + complexity * 4 + 2 + faulty)
    counts.append(_PINNED_CALLED)
    if faulty:
        counts.append(_PINNED_FAULTY)


def caller_number(caller: str) -> int:
    """A number below ``CALLERS`` that every replica gives the same caller."""
    return zlib.crc32(caller.encode()) % CALLERS

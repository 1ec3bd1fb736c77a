"""Increments of counters and histogram cells for one sample.

The increments are a pure function of the sample, so a replica can add them up before it shares them and all replicas
get equal sums. This module alone defines which answers belong to which denominator.
"""

from __future__ import annotations

import math
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import BROKEN, Blame, Outcome
from exacto_plugin.core.stats.log_bins import BINS, CLASSES, bin_of, coarse_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.model import Sample

CALLERS = 32
"""Number of caller numbers. Keys, and accounts, are hashed to one of these, so
that no list of callers is kept."""

SPEED_CALLERS = 8
"""Number of caller numbers by which speeds and latencies are counted."""

FIRST_SPEED = 48
"""Bin at which the coarse classes of speeds begin: 2.4 tokens/s. They reach to
1,300 tokens/s."""

FIRST_LATENCY = 16
"""Bin at which the coarse classes of latencies begin: 0.1 s. They reach to 18 s."""

LATENCY_CLASSES = 14
"""Coarse classes of latencies by caller, which are as many as ``CASE_MIX`` has room for."""

LATENCY_BY_CALLER = BINS - SPEED_CALLERS * LATENCY_CLASSES
"""Cell of ``CASE_MIX`` at which latencies by caller begin."""


class CounterKind(IntEnum):
    """Counters of a slot.

    Each answer raises at most one of the outcomes (``CALLED`` to ``LOST``).
    """

    ANSWERED = 0
    FAILED = 1
    """Attempts that ended with an error instead of an answer."""
    OFFERED = 2
    """Answers to requests that offered a tool."""
    CALLED = 3
    """Those of ``OFFERED`` that ended with tool calls which could be evaluated; the
    denominator of tool-call success."""
    INVALID_JSON = 4
    UNKNOWN_NAME = 5
    SCHEMA_MISMATCH = 6
    UNSCORED = 7
    """Answers with tool calls that could not be evaluated; not in ``CALLED``."""
    LOST = 8
    """Answers whose tool call arrived in another form; not in ``CALLED``."""
    PINNED_CALLED = 9
    """The part of ``CALLED`` and ``LOST`` for which the caller, not the router,
    chose the deployment."""
    PINNED_FAULTY = 10
    """The part of ``PINNED_CALLED`` that was faulty (a bad call or a lost one)."""
    TIMED = 11
    """Answers long enough to measure a speed."""
    REFUSED = 12
    """The part of ``FAILED`` that the provider refused for a rate limit."""
    CHECKED = 13
    """Router-chosen answers that no other party spoiled, and failures that were
    reported inside an answer; the denominator of answer success."""
    BROKEN = 14
    """The part of ``CHECKED`` that no client can use, by the provider's fault."""


FAULTS = (CounterKind.INVALID_JSON, CounterKind.UNKNOWN_NAME, CounterKind.SCHEMA_MISMATCH)
"""The counters of bad tool calls."""


class HistogramKind(IntEnum):
    """Histograms of a slot, each of ``BINS`` cells."""

    SPEED_STREAMED = 0
    SPEED_WHOLE = 1
    """Output tokens per second from sending to the last byte, separately for
    streamed and whole answers."""
    LATENCY_STREAMED = 2
    """Seconds to the first token."""
    LATENCY_WHOLE = 3
    """Seconds to the end."""
    CASE_MIX = 4
    """Evaluated or lost tool calls by ``complexity * 4 + pinned * 2 + faulty``.
    From ``LATENCY_BY_CALLER`` on latencies of both modes by ``account's number * LATENCY_CLASSES + class``."""
    CALLERS = 5
    """Router-chosen evaluated or lost tool calls by ``key's number * 2 + faulty``,
    and once more by ``2 * CALLERS + account's number * 2 + faulty``."""
    SPEED_BY_CALLER = 6
    """Speeds of both modes by ``account's number * log_bins.CLASSES + class``."""
    CHECKED_CALLERS = 7
    """``CHECKED`` by key and by account, in the order of ``CALLERS``; only counted
    while broken answers derank."""


# Plain integers: arithmetic with enum members would cost as much as the rest of ``increments_of``.
_SPEED = (int(HistogramKind.SPEED_WHOLE) * BINS, int(HistogramKind.SPEED_STREAMED) * BINS)
_LATENCY = (int(HistogramKind.LATENCY_WHOLE) * BINS, int(HistogramKind.LATENCY_STREAMED) * BINS)
_CASE_MIX, _CALLERS = int(HistogramKind.CASE_MIX) * BINS, int(HistogramKind.CALLERS) * BINS
_ACCOUNTS = _CALLERS + 2 * CALLERS
_LATENCY_BY_CALLER = _CASE_MIX + LATENCY_BY_CALLER
_SPEED_BY_CALLER = int(HistogramKind.SPEED_BY_CALLER) * BINS
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
_UNSCORED, _TIMED, _REFUSED = int(CounterKind.UNSCORED), int(CounterKind.TIMED), int(CounterKind.REFUSED)
_CHECKED, _BROKEN = int(CounterKind.CHECKED), int(CounterKind.BROKEN)
_CHECKED_CALLERS = int(HistogramKind.CHECKED_CALLERS) * BINS
_CHECKED_ACCOUNTS = _CHECKED_CALLERS + 2 * CALLERS
_PROVIDERS = (None, Blame.PROVIDER)
_SPEED_CLASSES = tuple(coarse_class(place, FIRST_SPEED) for place in range(BINS))
_WAIT_CLASSES = tuple(min(LATENCY_CLASSES - 1, coarse_class(place, FIRST_LATENCY)) for place in range(BINS))
_PINNED_CALLED, _PINNED_FAULTY = int(CounterKind.PINNED_CALLED), int(CounterKind.PINNED_FAULTY)


class Increments(NamedTuple):
    """Counters raised by one and histogram cells ``kind * BINS + bin`` of a sample."""

    counts: Sequence[int]
    cells: Sequence[int]


def increments_of(sample: Sample, min_output_tokens: int, *, checked_callers: bool = False) -> Increments:
    """Return the increments of one sample.

    An answer with fewer than ``min_output_tokens`` has no speed: its end-to-end rate measures the first token.

    Args:
        sample: an answer or a failed attempt.
        min_output_tokens: output tokens from which an answer has a speed.
        checked_callers: count ``CHECKED`` by caller as well.
    """
    if not sample.ok:
        failed = [_FAILED, _REFUSED] if sample.refused else [_FAILED]
        of_caller: list[int] = []
        if sample.flaws:
            _add_checked(sample, failed, of_caller if checked_callers else None)
        return Increments(failed, of_caller)
    counts = [_ANSWERED]
    cells: list[int] = []
    duration_s, streamed = sample.duration_s, sample.streamed
    account = caller_number(sample.account or sample.caller)
    _add_checked(sample, counts, cells if checked_callers else None)
    if sample.output_tokens >= min_output_tokens and sample.output_tokens > 0 and 0 < duration_s < math.inf:
        counts.append(_TIMED)
        place = bin_of(sample.output_tokens / duration_s)
        cells.append(_SPEED[streamed] + place)
        cells.append(_SPEED_BY_CALLER + account % SPEED_CALLERS * CLASSES + _SPEED_CLASSES[place])
    wait_s = sample.first_token_s if streamed else duration_s
    if wait_s is not None and 0 < wait_s < math.inf:
        place = bin_of(wait_s)
        cells.append(_LATENCY[streamed] + place)
        cells.append(_LATENCY_BY_CALLER + account % SPEED_CALLERS * LATENCY_CLASSES + _WAIT_CLASSES[place])
    if sample.tools_offered:
        counts.append(_OFFERED)
        if sample.outcome is Outcome.UNSCORED:
            counts.append(_UNSCORED)
        elif sample.outcome is not None or sample.lost:
            _add_calls(sample, account, counts, cells)
    return Increments(counts, cells)


def _add_checked(sample: Sample, counts: list[int], cells: list[int] | None) -> None:
    """Add the increments of an answer that no other party spoiled; nothing for others."""
    if not sample.routed or sample.blame not in _PROVIDERS:
        return
    broken = not BROKEN.isdisjoint(sample.flaws)
    counts.append(_CHECKED)
    if broken:
        counts.append(_BROKEN)
    if cells is not None:
        cells.append(_CHECKED_CALLERS + caller_number(sample.caller) * 2 + broken)
        cells.append(_CHECKED_ACCOUNTS + caller_number(sample.account or sample.caller) * 2 + broken)


def _add_calls(sample: Sample, account: int, counts: list[int], cells: list[int]) -> None:
    """Add the increments of an answer with evaluated or lost tool calls.

    ``account`` is the account's number.
    """
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
        cells.append(_ACCOUNTS + account * 2 + faulty)
        return
    cells.append(_CASE_MIX + complexity * 4 + 2 + faulty)
    counts.append(_PINNED_CALLED)
    if faulty:
        counts.append(_PINNED_FAULTY)


def caller_number(caller: str) -> int:
    """Return the number of a caller, below ``CALLERS`` and equal in all replicas."""
    return zlib.crc32(caller.encode()) % CALLERS if caller else 0

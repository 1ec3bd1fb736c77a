"""Undeclared capacity, learned from refused attempts and reported limits.

A deployment that refuses attempts for a rate limit (429) shows what it can carry: what it answered in the minutes in
which it refused. The learned limit holds for ``refusal_hold_s`` after the last refusal, then rises until it is
confirmed or forgotten. A declared limit takes the place of a learned one. Arrays are by slot, or
``[group, deployment]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.tiers.adaptive.evidence import QUARTER, WINDOWS_S
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.windows import MINUTE_S, ROWS
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.core.windows.windows import WindowBlock

    Floats = NDArray[np.float64]

_COUNTERS = (CounterKind.ANSWERED, CounterKind.FAILED, CounterKind.REFUSED)

_MEASURED = ("attempts", "refused", "carried", "pace")
"""Columns that are read from the windows."""

_LEAST_SHARE = 0.002
"""Share of the attempts of the minutes with refusals above which these tell a limit.
With half of a group's traffic it is a tenth of a percent of the requests. The minutes without are left out, since a
deployment that refused is given fewer requests (:mod:`exacto_plugin.core.routing.pacing`)."""

_REFUSALS, _ANSWERS = 3.0, 5.0
"""Refusals in 5 minutes, or answers in a minute with one, that tell a limit.
One refusal after a pause, with no answer beside it, would otherwise tell that a deployment carries nothing."""

_LEAST_USED = 0.25
"""Least share of its limit that a deployment is given."""

_RISE_HOLDS = 6.0
"""Times ``refusal_hold_s`` in which an unconfirmed limit doubles.
At 6 h a limit is tried again after about 2 h, with a refusal or two (simulated at 100 requests a minute)."""

_MOST_DOUBLINGS = 10.0
"""Doublings after which a limit is forgotten."""


@wire("attempts refused carried reported pace")
class Refusals:
    """Refused attempts of one recompute, one column per number."""

    __slots__ = ("attempts", "carried", "pace", "refused", "reported")

    attempts: Floats
    """Attempts of the last 5 minutes, and ``refused``, the refused ones among them.
    Of a deployment that refused only those of the minutes in which it did."""
    refused: Floats
    carried: Floats
    """Requests a minute that were answered while others were refused.
    0 without a refusal in the last 5 minutes."""
    reported: Floats
    """Requests a minute that the provider reports as its limit; 0: unknown."""
    pace: Floats
    """Attempts a minute of the last 5 minutes, since the first of them with attempts.
    0 where no deployment refused. The load of a quarter of an hour tells too little of traffic that has just begun."""

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, np.zeros(0))

    def resize(self, slots: int) -> None:
        """Resize the columns to slots below ``slots``."""
        for name in self.__slots__:
            column = getattr(self, name)
            setattr(self, name, np.append(column, np.zeros(max(0, slots - len(column)))))

    def forget(self, slots: Collection[int]) -> None:
        """Erase the numbers of some slots."""
        for name in self.__slots__:
            getattr(self, name)[list(slots)] = 0.0

    def measure(self, number: int, window_block: WindowBlock, now: float) -> NDArray[np.bool_]:
        """Read one window block; return the rows with other numbers than before."""
        here = slice(number * ROWS, (number + 1) * ROWS)
        before = [getattr(self, name)[here].copy() for name in _MEASURED]
        answered, failed, self.refused[here] = window_block.sums(_COUNTERS, now, WINDOWS_S[0])
        self.attempts[here] = answered + failed
        self.carried[here] = self.pace[here] = 0.0
        if len(rows := np.flatnonzero(self.refused[here])):
            minutes = window_block.series(_COUNTERS, now, MINUTE_S, WINDOWS_S[0])
            attempts = minutes[:2].sum(axis=0)
            self.pace[here] = recent_pace(attempts)
            self.attempts[here.start + rows] = (attempts * (minutes[2] > 0)).sum(axis=0)[rows]
            series = window_block.series(_COUNTERS, now, MINUTE_S, WINDOWS_S[QUARTER], rows)
            self.carried[here.start + rows] = carried_while_refusing(series[0], series[2])
        pairs = zip(_MEASURED, before, strict=True)
        return np.asarray(np.any([getattr(self, name)[here] != column for name, column in pairs], axis=0))


def carried_while_refusing(answered: NDArray[np.int64], refused: NDArray[np.int64]) -> Floats:
    """Compute the answers a minute of the minutes with refusals, by row.

    It is their median, the lower one of an even number: a limit that begins within a minute is far below the answers
    of that minute. Input is ``[minute, row]``; the last minute has not ended. Without an ended one the last two tell
    what was carried before the refusals.

    >>> answered = np.array([[147, 9], [10, 40], [80, 45], [7, 20]])
    >>> refused = np.array([[3, 0], [0, 0], [1, 0], [1, 2]])
    >>> carried_while_refusing(answered, refused).tolist()
    [80.0, 45.0]
    """
    ended = refused[:-1] > 0
    minutes = ended.sum(axis=0)
    ordered = np.sort(np.where(ended, answered[:-1], np.inf), axis=0)
    median = np.take_along_axis(ordered, np.maximum(minutes - 1, 0)[None] // 2, axis=0)[0]
    return np.asarray(np.where(minutes > 0, median, answered[-2:].max(axis=0)), np.float64)


def recent_pace(attempts: NDArray[np.int64]) -> Floats:
    """Compute the attempts a minute since the first one, by row.

    Input is ``[minute, row]``; the last minute has not ended and counts only without an ended one.

    >>> recent_pace(np.array([[0, 0, 40], [30, 0, 0], [24, 0, 44], [2, 7, 5]])).tolist()
    [27.0, 7.0, 28.0]
    """
    ended = attempts[:-1]
    seen = ended > 0
    minutes = np.where(seen.any(axis=0), len(ended) - seen.argmax(axis=0), 0)
    return np.asarray(np.where(minutes > 0, ended.sum(axis=0) / np.maximum(minutes, 1), attempts[-1]), np.float64)


class LearnedLimits(NamedTuple):
    """Limits of the deployments of a block, and the new columns of the state."""

    usable: Floats
    """Requests a minute that a deployment may be given; infinite where unknown."""
    carries: Floats
    """Requests a minute that it was learned to carry; infinite where unknown or declared."""
    limit: Floats
    """Learned requests a minute as of ``refused_at``; NaN without."""
    refused_at: Floats
    """UTC seconds of the last recompute that saw refusals; NaN without."""
    share: Floats
    """Share of the attempts that were refused then."""
    attempts: Floats
    """Those of ``Refusals``."""
    demand: Floats
    """Requests a minute, with the headroom; ``[group, 1]``."""

    def store(self, block: Block, memory: AdaptiveState) -> None:
        """Store the new columns of the state."""
        slots = block.slots[block.member]
        for name, values in (("limit", self.limit), ("refused_at", self.refused_at), ("refused_share", self.share)):
            getattr(memory, name)[slots] = values[block.member]


def learned_limits(
    block: Block, memory: AdaptiveState, refusals: Refusals, load: Floats, rule: AdaptiveParameters, now: float
) -> LearnedLimits:
    """Learn the limits of a block's deployments.

    Args:
        block: the deployments. A declared capacity counts in place of a learned one, while the deployment refuses.
        memory: state after the last recompute.
        refusals: the measurements.
        load: requests a minute.
        rule: the parameters.
        now: UTC seconds.
    """
    slots = block.slots
    refused, attempts = refusals.refused[slots], refusals.attempts[slots]
    carried = refusals.carried[slots]
    tells = (refused >= _REFUSALS) | (carried >= _ANSWERS)
    refuses = block.member & (refused > _LEAST_SHARE * attempts) & tells
    limit = np.where(refuses, carried, memory.limit[slots])
    refused_at = np.where(refuses, now, memory.refused_at[slots])
    share = np.where(refuses, refused / np.maximum(attempts, 1.0), memory.refused_share[slots])
    age_s = np.maximum(0.0, now - np.nan_to_num(refused_at))
    hold_s = rule.refusal_hold_s
    doublings = np.clip((age_s - hold_s) / max(_RISE_HOLDS * hold_s, 1e-9), 0.0, _MOST_DOUBLINGS)
    known = ~np.isnan(limit) & (doublings < _MOST_DOUBLINGS) & (hold_s > 0)
    limit, refused_at, share = (np.where(known, column, np.nan) for column in (limit, refused_at, share))
    learned = np.where(known, np.nan_to_num(limit) * np.exp2(doublings), np.inf)
    reported = refusals.reported[slots]
    # More than a reported limit was answered: it is no limit of requests a minute.
    told = (hold_s > 0) & (reported > 0) & (load <= reported)
    declared = block.member & np.isfinite(block.capacity)
    carries = np.where(declared, np.inf, np.minimum(learned, np.where(told, reported, np.inf)))
    most = np.maximum(load, refusals.pace[slots])
    demand = rule.capacity_headroom * (most * block.member).sum(axis=-1, keepdims=True)
    usable = _usable(np.where(declared & known, block.capacity, carries), rule.refusal_spread)
    return LearnedLimits(usable, carries, limit, refused_at, share, attempts, demand)


def _usable(limit: Floats, spread: float) -> Floats:
    """Return the requests a minute that stay below a limit, which chance exceeds.

    >>> _usable(np.array([100.0, 1.0, np.inf]), 2.0).tolist()
    [80.0, 0.25, inf]
    """
    finite = np.where(np.isfinite(limit), limit, 0.0)
    usable = np.maximum(finite - spread * np.sqrt(finite), _LEAST_USED * finite)
    return np.where(np.isfinite(limit), usable, np.inf)

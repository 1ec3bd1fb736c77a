"""A common cause: the failure rate rises at all deployments in the same minutes.

A client's release or a changed template breaks calls everywhere, and no deployment is to blame. What rises at all
others in a window is therefore held against nobody, and the rise is kept as an event of the model group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Reason, ReasonCode
from exacto_plugin.core.stats.binomial import RATE_RANGE, rate_exceeds
from exacto_plugin.core.stats.leave_one_out import leave_one_out_middle
from exacto_plugin.core.tiers.adaptive.evidence import DAY, HOUR, WINDOWS_S
from exacto_plugin.core.tiers.adaptive.history import Counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.columns import Block

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_CALLS, _USUAL_CALLS = 10, 20
"""Calls of a window, and calls outside of it, from which a deployment tells a rise."""

_PRIOR_BAD, _PRIOR_CALLS = 0.5, 10.0
"""Bad calls and calls that are added to those of the usual rate."""

_OTHERS = 2
"""Other deployments that must tell; one alone could be broken itself."""

_LEAST_RISE = 0.02
"""Least rise of an event: the distance above the median that is abnormal."""

_NOTICED = 0.005
"""Rise of a window from which each one's own calls are looked at; less changes no verdict (reasoned)."""

_LEAST_TAIL = 0.0001
"""Tail probability below which a rise is an event and no chance."""

KEPT_S = 86_400.0
"""Seconds for which an event is shown after its end, the longest window of a derank."""

_COLUMNS = ("common_begin", "common_end", "common_rise", "common_deployments")
"""Columns of ``AdaptiveState`` in the order of ``CommonCauses``."""


class CommonRise(NamedTuple):
    """Rises of the failure rate over the usual one, by window shorter than a day."""

    of_others: Floats
    """Median rise of the other deployments, ``[window, group, deployment]``; at least 0."""
    telling: Bools
    """Deployments with enough calls in and outside of the window, same shape."""
    usual: Floats
    """Usual rate of each, same shape."""
    held: Floats
    """Rise of each one's threshold, by window, that of a day included."""


def common_rise(windows: Sequence[Counts], living: Counts, counted: Bools) -> CommonRise:
    """Compute how much the others' failure rate rose in each window.

    Args:
        windows: by place in ``WINDOWS_S``.
        living: over the time to live, which contains the windows.
        counted: members that are not deranked.
    """
    calls = np.stack([window.calls for window in windows[:DAY]])
    bad = np.stack([window.bad for window in windows[:DAY]])
    usual_calls, usual_bad = np.maximum(living.calls - calls, 0.0), np.maximum(living.bad - bad, 0.0)
    usual = np.minimum((usual_bad + _PRIOR_BAD) / (usual_calls + _PRIOR_CALLS), 1.0)
    telling = counted & (calls >= _CALLS) & (usual_calls >= _USUAL_CALLS)
    rise = np.divide(bad, calls, out=np.zeros(calls.shape), where=telling) - usual
    middle = leave_one_out_middle(rise, telling)
    of_others = _told(middle, telling)
    held = np.concatenate([of_others, np.zeros((1, *counted.shape))])
    risen = (of_others >= _NOTICED).any(axis=(0, -1))
    if risen.any():
        groups = [Counts(*(column[risen] for column in window)) for window in windows]
        own = _by_own_calls(groups, usual[:, risen], telling[:, risen], counted[risen])
        held[HOUR:, risen] = np.maximum(held[HOUR:, risen], own[HOUR:])
    return CommonRise(of_others, telling, usual, held)


def _told(middle: Floats, telling: Bools) -> Floats:
    """Return the others' median rise where enough of them tell; at least 0."""
    others = telling.sum(axis=-1, keepdims=True) - telling
    return np.where((others >= _OTHERS) & (middle > 0), middle, 0.0)


def _by_own_calls(windows: Sequence[Counts], usual: Floats, telling: Bools, counted: Bools) -> Floats:
    """Return the rise that each one's calls met, by window up to a day.

    A deployment that got most of its calls during a common cause had a larger part of it than the others. The rises of
    the others between one window and the next shorter one are weighted by its own calls there. In the day, where rates
    are compared with those of the same day, only what is beyond the median of the others counts.
    """
    calls = np.stack([window.calls for window in windows[: DAY + 1]])
    bad = np.stack([window.bad for window in windows[:DAY]])
    between, bad = np.diff(calls[:DAY], axis=0, prepend=0.0), np.diff(bad, axis=0, prepend=0.0)
    telling = telling & (between >= _CALLS)
    rise = np.divide(bad, between, out=np.zeros(between.shape), where=telling) - usual
    met = np.cumsum(_told(leave_one_out_middle(rise, telling), telling) * np.maximum(between, 0.0), axis=0)
    met = np.divide(np.append(met, met[-1:], axis=0), calls, out=np.zeros(calls.shape), where=calls > 0)
    met[DAY] -= np.nan_to_num(leave_one_out_middle(met[DAY], counted & (calls[DAY] > 0)))
    return np.asarray(np.maximum(met, 0.0))


class CommonCauses(NamedTuple):
    """The latest common cause of each group, shape ``[group]``; NaN without one."""

    begin: Floats
    """Start of the first window with the rise, UTC seconds."""
    end: Floats
    """NaN while it lasts."""
    rise: Floats
    """Largest median rise of the failure rate, 0 to 1."""
    deployments: Floats
    """Largest number of deployments that told it."""

    def reason(self, group: int) -> Reason | None:
        """Return the event of a group as a reason; None without one."""
        begin, end, rise, deployments = (float(column[group]) for column in self)
        if begin != begin:
            return None
        return Reason(
            ReasonCode.COMMON_CAUSE,
            value=rise,
            peers=int(deployments),
            begin=begin,
            end=None if end != end else end,
        )

    def store(self, block: Block, memory: AdaptiveState) -> None:
        """Write the events of a block's groups to their deployments."""
        for name, column in zip(_COLUMNS, self, strict=True):
            values = np.broadcast_to(column[:, np.newaxis], block.member.shape)
            getattr(memory, name)[block.slots[block.member]] = values[block.member]

    def phase(self) -> NDArray[np.int8]:
        """Return 0 for groups without an event, 1 while one lasts, 2 after its end."""
        return np.where(np.isnan(self.begin), 0, np.where(np.isnan(self.end), 1, 2)).astype(np.int8)


def common_causes(
    block: Block, memory: AdaptiveState, windows: Sequence[Counts], rises: CommonRise | None, phi: Floats, now: float
) -> CommonCauses:
    """Return the events of a block as of now; unchanged where the rule is off.

    Args:
        block: the groups and their slots.
        memory: has the events so far.
        windows: calls by place in ``WINDOWS_S``.
        rises: those of the windows; None where the rule is off.
        phi: design effect per group, shape ``[group, 1]``.
        now: UTC seconds.
    """
    held = (np.where(block.member, getattr(memory, name)[block.slots], np.nan) for name in _COLUMNS)
    before = CommonCauses(*(np.fmax.reduce(column, axis=-1) for column in held))
    if rises is None:
        return before
    return _continued(before, windows, rises, phi, now)


def _continued(
    before: CommonCauses, windows: Sequence[Counts], rises: CommonRise, phi: Floats, now: float
) -> CommonCauses:
    """Begin, continue and end the events of a block.

    An event lasts while, in the shortest window in which three deployments tell, the others of each rose by
    ``_LEAST_RISE`` and the failures of all but the worst are no chance.
    """
    found = np.zeros(len(phi), np.bool_)
    width_s, size, many = np.zeros(len(phi)), np.zeros(len(phi)), np.zeros(len(phi))
    asked = np.ones(len(phi), np.bool_)
    for place in range(HOUR + 1):
        telling = rises.telling[place]
        here = asked & (telling.sum(axis=-1) > _OTHERS)
        asked &= ~here
        least = np.where(telling, rises.of_others[place], np.inf).min(axis=-1)
        risen = here & (least >= _LEAST_RISE)
        if risen.any():
            risen &= _is_no_chance(windows[place], rises.usual[place], telling, phi)
        found |= risen
        width_s = np.where(here, WINDOWS_S[place], width_s)
        size, many = np.where(risen, least, size), np.where(risen, telling.sum(axis=-1), many)
    lasting = before.phase() == 1
    new, over = found & ~lasting, lasting & ~found
    begin = np.where(new, now - width_s, before.begin)
    end = np.where(new, np.nan, np.where(over, np.maximum(before.begin, now - width_s), before.end))
    rise = np.where(new, size, np.where(found, np.maximum(before.rise, size), before.rise))
    deployments = np.where(new, many, np.where(found, np.maximum(before.deployments, many), before.deployments))
    old = end < now - KEPT_S
    return CommonCauses(*(np.where(old, np.nan, column) for column in (begin, end, rise, deployments)))


def _is_no_chance(window: Counts, usual: Floats, telling: Bools, phi: Floats) -> Bools:
    """Test if all but the worst deployment fail more than usual, per group."""
    excess = np.where(telling, window.bad - usual * window.calls, -np.inf)
    counted = telling & (np.arange(telling.shape[-1]) != excess.argmax(axis=-1)[:, np.newaxis])
    calls, bad = (np.where(counted, column, 0.0).sum(axis=-1, keepdims=True) for column in window)
    expected = np.where(counted, usual * window.calls, 0.0).sum(axis=-1, keepdims=True) / np.maximum(calls, 1.0)
    limit = np.clip(expected, *RATE_RANGE)
    return rate_exceeds(bad / phi, calls / phi, np.where(calls > 0, limit, np.nan), np.full((1, 1), _LEAST_TAIL))[:, 0]

"""Shares of bad answers by the hour, also of hours without traffic.

One basis for what tiers saved, in ``exacto report`` and in incidents. An hour in which the deployment got its traffic
has its own share. Tiers take the traffic away from the worst ones, so that the other hours have only probes or nothing:
their share is that of the newest answers up to then, at least ``LEAST`` of them, and none from before the last known
change of its calls. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.routing.counterfactual import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.records import TransitionRecord

    Floats = NDArray[np.float64]

LEAST = 50.0
"""Answers from which a share of bad ones is used: its standard error is at most 7 points, as wide as large faults."""

_SERVED = 0.5
"""Part of its picks without tiers from which a deployment got its traffic."""


class CallChange(NamedTuple):
    """A change of a deployment's calls, within an hour."""

    hour: float
    """Beginning of the hour, UTC seconds."""
    answers: float
    """Answers of that hour before the change."""
    bad: float


class HourRates(NamedTuple):
    """By hour; NaN where nothing is known."""

    rate: Floats
    moved: Floats
    """That of the requests which tiers took away: in the hour of a change the one since the change."""
    answers: Floats
    """Answers that the share comes from."""
    is_own: NDArray[np.bool_]
    """True for hours with a share of their own."""


def call_changes(transitions: Iterable[TransitionRecord]) -> dict[str, list[CallChange]]:
    """Return the known changes of each deployment's calls, in order of time."""
    found: dict[str, list[CallChange]] = {}
    for change in transitions:
        if change.changed is not None:
            before = change.changed["before"]
            hour = change.changed["at"] // HOUR_S * HOUR_S
            found.setdefault(change.deployment, []).append(CallChange(hour, before["answers"], before["bad"]))
    return {name: sorted(changes) for name, changes in found.items()}


def hour_rates(
    first: float, answers: Floats, bad: Floats, expected: Floats, changes: Sequence[CallChange]
) -> HourRates:
    """Return the shares of equal hours.

    Args:
        first: beginning of the first hour, UTC seconds.
        answers: by hour.
        bad: bad ones among them.
        expected: its picks without tiers.
        changes: of its calls, in order of time.

    >>> rates = hour_rates(0.0, np.array([100.0, 1.0]), np.array([20.0, 0.0]), np.array([100.0, 100.0]), ())
    >>> rates.rate.round(3).tolist(), rates.is_own.tolist()
    ([0.2, 0.198], [True, False])
    """
    count = len(answers)
    had, failed = (np.concatenate([[0.0], np.cumsum(column)]) for column in (answers, bad))
    begin = np.maximum(np.searchsorted(had, had[1:] - LEAST, side="right") - 1, 0)
    left, left_bad = np.zeros(count), np.zeros(count)
    for change in changes:
        place = round((change.hour - first) / HOUR_S)
        if place >= count:
            continue
        later = np.arange(count) >= max(place, 0)
        begin = np.where(later, np.maximum(begin, max(place, 0)), begin)
        here = later & (begin == place) if place >= 0 else np.zeros(count, np.bool_)
        left, left_bad = (
            np.where(here, number, np.where(later, 0.0, column))
            for column, number in ((left, change.answers), (left_bad, change.bad))
        )
    pooled = np.maximum(had[1:] - had[begin] - left, 0.0)
    pooled_bad = np.clip(failed[1:] - failed[begin] - left_bad, 0.0, pooled)
    is_own = (answers >= LEAST) | ((answers > 0) & (answers >= _SERVED * expected))
    known = np.where(is_own, answers, pooled)
    rate = _filled(np.where(is_own, bad, pooled_bad), known)
    has_change = np.isin(np.arange(count), [round((change.hour - first) / HOUR_S) for change in changes])
    changed = has_change & (pooled > 0)
    return HourRates(rate, np.where(changed, _filled(pooled_bad, pooled), rate), known, is_own)


def _filled(bad: Floats, answers: Floats) -> Floats:
    """Return shares; gaps have the next known value, else the last one."""
    rate = np.divide(bad, answers, out=np.full(len(answers), np.nan), where=answers > 0)
    places = np.flatnonzero(~np.isnan(rate))
    if not len(places):
        return np.asarray(rate)
    following = np.searchsorted(places, np.arange(len(rate)))
    return np.asarray(rate[places[np.minimum(following, len(places) - 1)]])

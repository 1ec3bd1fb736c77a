"""Effects of an incident: bad calls, requests moved, calls saved, traffic.

Pure over hourly counts. Counts begin with the onset and end with the incident, to the minute where the records of both
transitions tell, else with whole hours. What tiers saved is by the hour: the requests that they took away (apart from
those that they would have taken away where they were only observed), times the
excess of the deployment's share of bad answers over that of the deployments that got them, as in ``exacto report``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from exacto_plugin.audit.hours.applied_picks import Picks, applied_picks
from exacto_plugin.audit.hours.hour_counts import COLUMNS
from exacto_plugin.audit.hours.hour_rates import call_changes, hour_rates
from exacto_plugin.audit.incidents.good_again import good_again
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, HOUR_S, WHOLE_GROUP
from exacto_plugin.core.stats.rates import PHI, Z
from exacto_plugin.core.tiers.change_point import CallHistory, change_point

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.audit.hours.hour_counts import HourCounts
    from exacto_plugin.records import TransitionRecord

    Floats = NDArray[np.float64]

Plain = dict[str, Any]

_BEFORE_S = 86_400.0
"""Seconds before the onset whose share of the traffic is the usual one."""

_LEAST_GOOD = 30
"""Calls from which a deployment is said to be good again while it is deranked."""

_PARTLY = ("answers", "calls", "bad", *BAD_KINDS)
"""Counts that records of transitions have for parts of hours."""


class IncidentRecords(NamedTuple):
    """An incident's records and times."""

    begin: TransitionRecord
    """The derank."""
    calls: Mapping[str, Any] | None
    """The change of the calls, as on record with the derank; None if unknown."""
    finish: TransitionRecord | None
    """The transition that ended it; None without one."""
    onset: float
    """UTC seconds, as the next."""
    ends: float
    """Its end, or now."""

    @property
    def first_hour(self) -> float:
        """The first hour that began after the derank; UTC seconds."""
        return -(-self.begin.at // HOUR_S) * HOUR_S


def effects(of: IncidentRecords, counts: HourCounts, changes: Sequence[TransitionRecord], now: float) -> Plain:
    """Return the counts of an incident.

    Args:
        of: its records.
        counts: of the model group.
        changes: all transitions of the model group.
        now: UTC seconds.
    """
    name = of.begin.deployment
    within = counts.between(of.onset // HOUR_S * HOUR_S, of.ends)
    own, everyone = _sums(within, name)
    _cut(own, of, within)
    kinds = {kind: own[kind] for kind in BAD_KINDS if own[kind]}
    usual = _rate(everyone["bad"] - own["bad"], everyone["answers"] - own["answers"])
    traffic = _traffic(counts, of)
    better = None if of.finish is not None else _better(within, of, usual)
    change = better if of.finish is None else of.finish.changed
    return {
        "kind": max(kinds, key=lambda kind: kinds[kind], default=None),
        "answers": own["answers"],
        "calls": own["calls"],
        "bad": own["bad"],
        "bad_until": _bad_until(of, within),
        "kinds": kinds,
        "others_rate": usual,
        "rescued": own["rescued"],
        "harmed": max(0.0, own["bad"] - own["rescued"]),
        **_sent_elsewhere(within, counts, name, changes),
        "cost_usd": own["bad"] * own["cost"] / own["priced"] if own["priced"] else None,
        "traffic": traffic,
        "share_before": traffic["before"],
        **_share_now(counts, of, now),
        "better": better,
        "good_again": None if change is None else good_again(within, of.begin, change, usual),
    }


def _better(within: HourCounts, of: IncidentRecords, usual: float | None) -> Plain | None:
    """Return since which hour the calls that it still gets are good.

    With its calls since, and its last ones before; None where they do not tell.
    """
    start = (within.first + HOUR_S * np.arange(len(within.numbers))).astype(np.int64)
    columns = ("answers", "calls", "invalid_json", "unknown_name", "schema_mismatch", "lost")
    counts = np.array([*(within.of(of.begin.deployment, column) for column in columns), *np.zeros((2, len(start)))])
    history = CallHistory(of.ends, start, counts.astype(np.int64))
    found = change_point(history, of.onset // HOUR_S * HOUR_S, usual, worse=False)
    if found is None or found.at <= of.onset or found.calls < _LEAST_GOOD or found.share > 2.0 * (usual or 0.0):
        return None
    names = ("at", "calls", "bad", "called_until", "bad_until")
    return {name: getattr(found, name) for name in names}


def _cut(own: dict[str, float], of: IncidentRecords, within: HourCounts) -> None:
    """Leave out what came before the onset, and after the end."""
    outside = dict.fromkeys(_PARTLY, 0.0)
    if of.calls is not None:
        outside = {column: outside[column] + of.calls["before"][column] for column in _PARTLY}
    if of.finish is not None and of.finish.changed is not None and len(within.numbers):
        so_far = of.finish.changed["so_far"]
        last = {column: within.of(of.begin.deployment, column)[-1] - so_far[column] for column in _PARTLY}
        outside = {column: outside[column] + max(0.0, last[column]) for column in _PARTLY}
    for column in _PARTLY:
        own[column] = max(0.0, own[column] - outside[column])


def _bad_until(of: IncidentRecords, within: HourCounts) -> float | None:
    """Return its bad answers from the onset to the derank; None if unknown."""
    if of.calls is None:
        return None
    whole = within.between(within.first, of.begin.at // HOUR_S * HOUR_S).of(of.begin.deployment, "bad").sum()
    return max(0.0, float(whole) + float(of.calls["so_far"]["bad"]) - float(of.calls["before"]["bad"]))


def _sums(counts: HourCounts, deployment: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the sums of the deployment, and of all deployments together."""
    sums = counts.numbers.sum(axis=0)
    own = [place for place, name in enumerate(counts.deployments) if name == deployment]
    every = [place for place, name in enumerate(counts.deployments) if name != WHOLE_GROUP]
    of_own, of_all = (sums[places].sum(axis=0).tolist() for places in (own, every))
    return dict(zip(COLUMNS, of_own, strict=True)), dict(zip(COLUMNS, of_all, strict=True))


def _rate(bad: float, answers: float) -> float | None:
    return bad / answers if answers > 0.0 else None


def _turns(counts: HourCounts) -> float:
    """Return the requests for each pick.

    Later turns of a conversation go where its first one went.
    """
    picks, stays = (float(counts.of(WHOLE_GROUP, name).sum()) for name in ("picks", "stays"))
    return (picks + stays) / picks if picks else 1.0


def _sent_elsewhere(within: HourCounts, counts: HourCounts, name: str, changes: Sequence[TransitionRecord]) -> Plain:
    """Return the requests that tiers took away, and the bad calls that this saved.

    Of the hours ``within``. Apart from both, the same of requests to which tiers were not applied.
    """
    names = [one for one in counts.deployments if one != WHOLE_GROUP]
    found = dict.fromkeys(("moved", "saved", "would_move", "would_save", "saved_low", "saved_high"), 0.0)
    if name not in names or not len(within.numbers):
        return found
    place, turns = names.index(name), _turns(within)
    rates, variance, is_own = _rates(within, counts, name, changes)
    answers = np.array([within.of(one, "answers") for one in names])
    for picks, moved, saved in zip(
        _picks(within, names), ("moved", "would_move"), ("saved", "would_save"), strict=True
    ):
        gained = picks.gained.T
        found[moved] = max(0.0, -float(gained[place].sum())) * turns
        found[saved] = _saved(place, gained, rates, answers) * turns
        if saved == "saved":
            spread = Z * _spread(np.maximum(-gained[place], 0.0) * turns, variance, is_own)
            found["saved_low"] = max(0.0, found[saved] - spread)
            found["saved_high"] = max(found[saved], min(found[moved], found[saved] + spread))
    return found


def _spread(moved: Floats, variance: Floats, is_own: NDArray[np.bool_]) -> float:
    """Return the standard error of the bad calls that requests sent elsewhere saved.

    That of the deployment's own share, as in ``exacto report``; the others have many more calls. Hours that share their
    evidence have errors that add up.
    """
    own = np.where(is_own, moved, 0.0)
    shared = float(((moved - own) * np.sqrt(variance)).sum())
    return float(np.sqrt((own**2 * variance).sum() + shared**2))


def _picks(within: HourCounts, names: Sequence[str]) -> tuple[Picks, Picks]:
    """Return the picks to which tiers were applied, and the others."""
    columns = {
        column: np.array([within.of(one, column) for one in names]).T
        for column in ("with_tiers", "without_tiers", "applied_with", "applied_without")
    }
    every = Picks(columns["with_tiers"], columns["without_tiers"])
    told = Picks(columns["applied_with"], columns["applied_without"])
    return applied_picks(every, told, within.of(WHOLE_GROUP, "picks"), within.of(WHOLE_GROUP, "applied"))


def _rates(
    within: HourCounts, counts: HourCounts, name: str, changes: Sequence[TransitionRecord]
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the shares of bad answers, ``[deployment, hour]``.

    Those of the deployment ``name`` are of the requests that were taken away; its variances, and whether its hours have
    a share of their own, follow.
    """
    known = call_changes(changes)
    names = [one for one in counts.deployments if one != WHOLE_GROUP]
    part = slice(round((within.first - counts.first) / HOUR_S), None)
    found = [
        hour_rates(
            counts.first,
            counts.of(one, "answers"),
            counts.of(one, "bad"),
            counts.of(one, "without_tiers"),
            known.get(one, ()),
        )
        for one in names
    ]
    rates = np.array([(one.moved if each == name else one.rate)[part] for each, one in zip(names, found, strict=True)])
    own, hours = found[names.index(name)], slice(part.start, part.start + len(within.numbers))
    # A share of 0 or 1 of few answers is not certain.
    share = (np.nan_to_num(own.moved) * own.answers + 0.5) / (own.answers + 1.0)
    variance = np.divide(PHI * share * (1.0 - share), own.answers, out=np.zeros(len(share)), where=own.answers > 0)
    return rates[:, : len(within.numbers)], variance[hours], own.is_own[hours]


def _saved(place: int, gained: Floats, rates: Floats, answers: Floats) -> float:
    """Return the bad calls that a deployment's picks elsewhere saved, per pick.

    Arrays are ``[deployment, hour]``.
    """
    moved = np.maximum(-gained[place], 0.0)
    # Where no other one has more than its own picks, all of them are compared.
    weights = np.where((gained > 0).any(axis=0), np.maximum(gained, 0.0), answers)
    weights[place] = 0.0
    weights *= ~np.isnan(rates)
    total = weights.sum(axis=0)
    others = np.divide((weights * np.nan_to_num(rates)).sum(axis=0), total, out=np.zeros(len(moved)), where=total > 0)
    return float((moved * np.maximum(np.nan_to_num(rates[place]) - others, 0.0)).sum())


def _traffic(counts: HourCounts, of: IncidentRecords) -> Plain:
    """Return its share of the group's answers of whole hours; None without any.

    In the day before the onset, while it was deranked, and after that. While it is deranked the hour that has begun
    counts too.
    """
    first, last = of.onset // HOUR_S * HOUR_S, -(-of.ends // HOUR_S) * HOUR_S
    is_open = of.finish is None and of.ends >= counts.first + HOUR_S * (len(counts.numbers) - 1)
    times = {
        "before": (first - _BEFORE_S, first),
        "meanwhile": (of.first_hour, last if is_open else of.ends // HOUR_S * HOUR_S),
        "after": (last, counts.first + HOUR_S * len(counts.numbers)),
    }
    return {name: _share(counts.between(*part), of.begin.deployment) for name, part in times.items()}


def _share_now(counts: HourCounts, of: IncidentRecords, now: float) -> Plain:
    """Return its share of the group's newest answers, since when, and the others'.

    Of the last whole hour and the one that has begun, without hours that began before the derank: in those the
    deployment still had its traffic. All are None without such an hour, or without answers in it; those of others are
    told only while it is deranked.
    """
    since = max(now // HOUR_S * HOUR_S - HOUR_S, of.first_hour)
    newest = counts.between(since, now)
    share = _share(newest, of.begin.deployment)
    others = [name for name in newest.deployments if name not in (WHOLE_GROUP, of.begin.deployment)]
    is_told = share is not None and of.finish is None
    return {
        "share_now": share,
        "share_now_since": None if share is None else since,
        "others_now": {name: _share(newest, name) for name in others} if is_told else None,
    }


def _share(counts: HourCounts, name: str) -> float | None:
    own, everyone = _sums(counts, name)
    return _rate(own["answers"], everyone["answers"])

"""``exacto report``: the tiers' effect per model group, with intervals.

In ``observe`` mode, the effect they would have had: ``saved`` is of the picks to which tiers were applied, and
``would_save`` of the others. Pure arithmetic on hourly counts. Requests are expected values
under the operator's declared weights, with tiers and without, in each hour; a deployment's share of bad answers is that
of the hour, see ``hour_rates``, and its price that of the whole time, since a log has no answers of other deployments.
Intervals are 95 %: Wilson's for the share that changed; for bad calls the normal approximation of a sum of hours, whose
binomial variances are doubled, as answers of one conversation are alike (the adaptive rule's design effect of 2); for
spend those of 4,000 draws of mean prices from their normal approximation. With and without come from the same shares
and prices, so that their difference has a smaller error than either.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from exacto_plugin.audit.hours.applied_picks import Picks, applied_picks
from exacto_plugin.audit.hours.hour_rates import call_changes, hour_rates
from exacto_plugin.core.routing.counterfactual import HOUR_S, WHOLE_GROUP, PickNumbers
from exacto_plugin.core.stats.binomial import wilson_lower, wilson_upper
from exacto_plugin.core.stats.rates import PHI, Z
from exacto_plugin.core.wire import from_wire, to_wire, wire_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.audit.hours.hour_rates import CallChange
    from exacto_plugin.records import HourRecord, TransitionRecord

    Floats = NDArray[np.float64]

_DRAWS = 4000

_SHRINKING = 10.0
"""Answers at the deployment's own share that count with those of an hour for its variance."""


def report(rows: Iterable[HourRecord], changes: Iterable[TransitionRecord] = ()) -> list[dict[str, Any]]:
    """Return one entry per model group with picks, by name.

    Args:
        rows: hourly counts of any number of workers.
        changes: the transitions of the same time, which tell when calls changed.
    """
    counts: dict[str, dict[str, dict[float, PickNumbers]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(PickNumbers))
    )
    for row in rows:
        counts[row.model_group][row.deployment][row.at].add(from_wire(PickNumbers, row.numbers))
    by_group: dict[str, list[TransitionRecord]] = defaultdict(list)
    for change in changes:
        by_group[change.model_group].append(change)
    entries = (_group(name, found, by_group[name]) for name, found in sorted(counts.items()) if WHOLE_GROUP in found)
    return [entry for entry in entries if entry is not None]


def _group(
    name: str, counts: Mapping[str, Mapping[float, PickNumbers]], changes: Sequence[TransitionRecord]
) -> dict[str, Any] | None:
    totals = PickNumbers()
    for numbers in counts[WHOLE_GROUP].values():
        totals.add(numbers)
    if totals.picks <= 0:
        return None
    names = sorted(name for name in counts if name != WHOLE_GROUP)
    hourly = _hourly([counts[one] for one in names])
    columns = {column: values.sum(axis=0) for column, values in hourly.columns.items()}
    # Later turns of a conversation go to the deployment of the first one.
    scale = (totals.picks + totals.stays) / totals.picks
    draw = np.random.default_rng(0)
    known = call_changes(changes)
    rates, prices = _Rates(hourly, [known.get(one, []) for one in names]), _prices(columns, draw)
    every = Picks(hourly.columns["with_tiers"] * scale, hourly.columns["without_tiers"] * scale)
    applied, observed = _applied(hourly, counts[WHOLE_GROUP], every, scale)
    probes = hourly.columns["probes"] - hourly.columns["instead"]
    return {
        "model_group": name,
        "requests": totals.picks + totals.stays,
        "applied": totals.applied / totals.picks,
        "changed": _share(totals.changed, totals.picks),
        "bad": rates.compared(every, applied, observed),
        "spend_usd": None if prices is None else _spend(prices, every, applied, observed),
        "probes": {
            "requests": float(columns["probes"].sum()),
            "bad": rates.amount(probes),
            "extra_usd": None if prices is None else _interval(prices @ probes.sum(axis=0)),
        },
        "rescue": {"asked": totals.rescues, "rescued": totals.rescued, "extra_usd": totals.rescue_cost},
        "deployments": _deployments(names, columns, every),
        "unmeasured": [
            one for place, one in enumerate(names) if not columns["answers"][place] and columns["with_tiers"][place] > 0
        ],
    }


def _deployments(names: Sequence[str], columns: Mapping[str, Floats], every: Picks) -> list[dict[str, Any]]:
    """Return the answers and the picks of each deployment."""
    with_tiers, without = (picks.sum(axis=0) for picks in every)
    return [
        {
            "deployment": one,
            "answers": int(columns["answers"][place]),
            "bad": int(columns["bad"][place]),
            "without": float(without[place]),
            "with": float(with_tiers[place]),
        }
        for place, one in enumerate(names)
    ]


class _Hourly(NamedTuple):
    first: float
    columns: Mapping[str, Floats]
    """``[hour, deployment]`` by the names of ``PickNumbers``."""


def _hourly(deployments: Sequence[Mapping[float, PickNumbers]]) -> _Hourly:
    """Return the counts of the hours on record as arrays without gaps."""
    hours = [at for counts in deployments for at in counts]
    first = min(hours, default=0.0)
    count = round((max(hours, default=0.0) - first) / HOUR_S) + 1
    names = list(wire_names(PickNumbers).values())
    table = np.zeros((count, len(deployments), len(names)))
    for place, counts in enumerate(deployments):
        for at, numbers in counts.items():
            table[round((at - first) / HOUR_S), place] = list(to_wire(numbers).values())
    return _Hourly(first, {name: table[..., place] for place, name in enumerate(names)})


def _applied(hourly: _Hourly, group: Mapping[float, PickNumbers], every: Picks, scale: float) -> tuple[Picks, Picks]:
    """Return picks to which tiers were applied, and the others, by ``scale``."""
    hours = [group.get(hourly.first + HOUR_S * place, PickNumbers()) for place in range(len(every.without))]
    picks, applied = (np.array([getattr(hour, name) for hour in hours]) * scale for name in ("picks", "applied"))
    told = Picks(hourly.columns["applied_with"] * scale, hourly.columns["applied_without"] * scale)
    return applied_picks(every, told, picks, applied)


class _Rates:
    """Shares of bad answers by hour and deployment, with their uncertainty."""

    def __init__(self, hourly: _Hourly, changes: Sequence[Sequence[CallChange]]) -> None:
        answers, bad, without = (hourly.columns[name] for name in ("answers", "bad", "without_tiers"))
        average = bad.sum() / answers.sum() if answers.sum() > 0 else 0.0
        found = [
            hour_rates(hourly.first, answers[:, place], bad[:, place], without[:, place], each)
            for place, each in enumerate(changes)
        ]
        self._rate = np.stack([np.where(np.isnan(one.rate), average, one.rate) for one in found], axis=1)
        self._moved = np.stack([np.where(np.isnan(one.moved), average, one.moved) for one in found], axis=1)
        self._is_own = np.stack([one.is_own for one in found], axis=1)
        number = np.stack([one.answers for one in found], axis=1)
        # Few answers tell little about their own variance: the share is drawn towards the deployment's.
        whole = (bad.sum(axis=0) + 0.5) / (answers.sum(axis=0) + 1.0)
        shrunk = (self._rate * number + _SHRINKING * whole) / (number + _SHRINKING)
        self._variance = np.divide(PHI * shrunk * (1 - shrunk), number, out=np.zeros(number.shape), where=number > 0)

    def compared(self, every: Picks, applied: Picks, observed: Picks) -> dict[str, Any]:
        """Return the bad answers with tiers and without, the change, the saved."""
        given, more = self.amount(every.with_tiers), self._change(every)
        return {
            "with": given,
            "without": self.amount(every.without, given["value"] - more["value"]),
            "difference": more,
            "saved": _negative(self._change(applied)),
            "would_save": _negative(self._change(observed)),
        }

    def _change(self, picks: Picks) -> dict[str, float]:
        """Return how many more bad answers there are with tiers than without."""
        return self.amount(picks.gained, float((self._moved * picks.gained).sum()))

    def amount(self, weights: Floats, value: float | None = None) -> dict[str, float]:
        """Return the bad answers of some requests, ``[hour, deployment]``.

        ``value`` is their number where it is not that by the shares of all answers.
        """
        value = float((self._rate * weights).sum()) if value is None else value
        own = weights * self._is_own
        # Hours without traffic share their evidence, so that their errors add up.
        shared = np.abs((weights - own) * np.sqrt(self._variance)).sum(axis=0)
        spread = float(np.sqrt((own**2 * self._variance).sum() + (shared**2).sum()))
        low = value - Z * spread
        high = value + Z * spread
        if (weights >= 0).all():  # no fewer bad answers than none, and no more than requests
            low, high = max(0.0, low), max(value, min(high, float(weights.sum())))
        return {"value": value, "low": low, "high": high}


def _share(of: float, among: float) -> dict[str, float]:
    part, all_ = np.array(min(of, among)), np.array(among)
    low, high = float(wilson_lower(part, all_, Z)), float(wilson_upper(part, all_, Z))
    value = of / among
    return {"value": value, "low": max(0.0, min(low, value)), "high": min(1.0, max(high, value))}


def _prices(columns: Mapping[str, Floats], draw: np.random.Generator) -> Floats | None:
    """Return USD per answer in the same shape; None where no answer had a price."""
    priced, cost = columns["priced"], columns["cost"]
    if priced.sum() <= 0:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(priced > 0, cost / priced, cost.sum() / priced.sum())
        variance = np.maximum(columns["cost_squares"] / priced - mean**2, 0.0) / priced * PHI
    spread = np.sqrt(np.where(priced > 1, variance, 0.0))
    return np.vstack([mean, np.maximum(0.0, draw.normal(mean, spread, (_DRAWS, len(mean))))])


def _spend(prices: Floats, every: Picks, applied: Picks, observed: Picks) -> dict[str, Any]:
    """Return the spend with tiers and without, the difference, and what was saved."""
    weights = {
        "with": every.with_tiers,
        "without": every.without,
        "difference": every.gained,
        "saved": 0.0 - applied.gained,
        "would_save": 0.0 - observed.gained,
    }
    return {name: _interval(prices @ picks.sum(axis=0)) for name, picks in weights.items()}


def _negative(found: Mapping[str, float]) -> dict[str, float]:
    """Return an amount with the other sign, and without a negative zero."""
    return {"value": 0.0 - found["value"], "low": 0.0 - found["high"], "high": 0.0 - found["low"]}


def _interval(found: Floats) -> dict[str, float]:
    """Return the first number with the interval of the others."""
    low, high = np.quantile(found[1:], (0.025, 0.975)).tolist()
    value = float(found[0])
    return {"value": value, "low": min(value, low), "high": max(value, high)}

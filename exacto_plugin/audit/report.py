"""``exacto report``: the tiers' effect per model group, with intervals.

In ``observe`` mode, the effect they would have had. Pure arithmetic on hourly counts. Requests are expected values
under the operator's declared weights, with tiers and without; each deployment's share of bad answers, and its price,
are those measured in the same time, since a log has no answers of other deployments. Intervals are 95 %: Wilson's for
the share that changed; for bad calls and spend those of 4,000 draws, of rates from their Beta posteriors (counts
halved, as answers of one conversation are alike: the adaptive rule's design effect of 2) and of mean prices from their
normal approximation. With and without are drawn from the same rates, so that their difference has a smaller error than
either.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.core.routing.counterfactual import WHOLE_GROUP, PickNumbers
from exacto_plugin.core.stats.binomial import wilson_lower, wilson_upper
from exacto_plugin.core.stats.rates import PHI, Z
from exacto_plugin.core.wire import from_wire, to_wire, wire_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from exacto_plugin.records import HourRecord

    Floats = NDArray[np.float64]

_DRAWS = 4000


def report(rows: Iterable[HourRecord]) -> list[dict[str, Any]]:
    """Return one entry per model group with picks, by name.

    Args:
        rows: hourly counts of any number of workers.
    """
    counts: dict[str, dict[str, PickNumbers]] = defaultdict(lambda: defaultdict(PickNumbers))
    for row in rows:
        counts[row.model_group][row.deployment].add(from_wire(PickNumbers, row.numbers))
    return [_group(name, found) for name, found in sorted(counts.items()) if found[WHOLE_GROUP].picks > 0]


def _group(name: str, counts: Mapping[str, PickNumbers]) -> dict[str, Any]:
    totals = counts[WHOLE_GROUP]
    names = sorted(name for name in counts if name != WHOLE_GROUP)
    rows = [to_wire(counts[one]) for one in names]
    columns = {name: np.array([row[name] for row in rows]) for name in wire_names(PickNumbers).values()}
    # Later turns of a conversation go to the deployment of the first one.
    scale = (totals.picks + totals.stays) / totals.picks
    draw = np.random.default_rng(0)
    rates, prices = _rates(columns, draw), _prices(columns, draw)
    with_tiers, without = columns["with_tiers"] * scale, columns["without_tiers"] * scale
    return {
        "model_group": name,
        "requests": totals.picks + totals.stays,
        "applied": totals.applied / totals.picks,
        "changed": _share(totals.changed, totals.picks),
        "bad": _compared(with_tiers, without, rates),
        "spend_usd": None if prices is None else _compared(with_tiers, without, prices),
        "probes": {
            "requests": float(columns["probes"].sum()),
            "bad": _interval(lambda of: of @ (columns["probes"] - columns["instead"]), rates),
            "extra_usd": None
            if prices is None
            else _interval(lambda of: of @ (columns["probes"] - columns["instead"]), prices),
        },
        "rescue": {"asked": totals.rescues, "rescued": totals.rescued, "extra_usd": totals.rescue_cost},
        "unmeasured": [one for one in names if counts[one].answers == 0 and counts[one].with_tiers > 0],
    }


def _share(of: float, among: float) -> dict[str, float]:
    part, all_ = np.array(min(of, among)), np.array(among)
    low, high = float(wilson_lower(part, all_, Z)), float(wilson_upper(part, all_, Z))
    return {"value": of / among, "low": max(0.0, low), "high": min(1.0, high)}


def _rates(columns: Mapping[str, Floats], draw: np.random.Generator) -> Floats:
    """Return shares of bad answers: ``[1 + draw, deployment]``, the estimate first.

    A deployment without answers has the group's average.
    """
    answers, bad = columns["answers"], columns["bad"]
    average = bad.sum() / answers.sum() if answers.sum() > 0 else 0.0
    with np.errstate(invalid="ignore"):
        known = np.where(answers > 0, bad / answers, average)
    failed, worked = bad / PHI, (answers - bad) / PHI
    drawn = draw.beta(failed + 0.5, worked + 0.5, (_DRAWS, len(answers)))
    return np.vstack([known, np.where(answers > 0, drawn, average)])


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


def _compared(with_tiers: Floats, without: Floats, each: Floats) -> dict[str, Any]:
    return {
        "with": _interval(lambda of: of @ with_tiers, each),
        "without": _interval(lambda of: of @ without, each),
        "saved": _interval(lambda of: of @ (without - with_tiers), each),
    }


def _interval(amount: Callable[[Floats], Floats], each: Floats) -> dict[str, float]:
    found = amount(each)
    low, high = np.quantile(found[1:], (0.025, 0.975)).tolist()
    value = float(found[0])
    return {"value": value, "low": min(value, low), "high": max(value, high)}

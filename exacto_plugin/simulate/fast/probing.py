"""The probes of one recompute interval, for all model groups at once.

The same budget as ``core.routing.probe_budget.ProbeBudget`` keeps for single requests (a test compares them): a group
saves up its probe share with each request, and a deployment's budget and failures end its probes until the next
recompute. Arrays have the shape ``[group, provider]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.routing.probe_budget import MOST_ACCRUED
from exacto_plugin.simulate.fast.traffic import Calls

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.columns import ProbePlan
    from exacto_plugin.simulate.fast.traffic import FleetRates

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


class Probes(NamedTuple):
    """The probes of an interval and the calls that they attempted."""

    picks: Integers
    calls: Calls


class FastProbing:
    """The probes that each group has saved up."""

    def __init__(self, groups: int) -> None:
        self._saved = np.ones(groups)

    def draw(self, chance: np.random.Generator, fleet: FleetRates, plan: ProbePlan, requests: Integers) -> Probes:
        """Draw the probes among the requests of each group."""
        share = plan.share.sum(axis=1)
        wanted = chance.binomial(requests, np.minimum(share, 1.0))
        group = np.repeat(np.arange(len(wanted)), wanted)
        # The moments of the wanted probes, ascending in each group.
        moment = np.sort(group + chance.random(len(group))) - group
        drawn = chance.random(len(group)) * share[group]
        place = (drawn[:, np.newaxis] >= np.cumsum(plan.share, axis=1)[group, :-1]).sum(axis=1)
        calls, attempts = _calls(chance, fleet, group, place)
        faulty = np.zeros(len(group), np.bool_)
        faulty[attempts] = calls.lost | calls.bad
        granted = self.grant(plan, share * requests, wanted, (place, moment, faulty))
        picks = np.bincount(group[granted] * plan.share.shape[1] + place[granted], minlength=plan.share.size)
        return Probes(picks.reshape(plan.share.shape), calls.where(granted[attempts]))

    def grant(
        self,
        plan: ProbePlan,
        accruing: Floats,
        wanted: Integers,
        probes: tuple[NDArray[np.intp], Floats, NDArray[np.bool_]],
    ) -> NDArray[np.bool_]:
        """Return which of the wanted probes are within the budgets.

        Args:
            plan: the budgets.
            accruing: what each group saves up in the interval.
            wanted: number of wanted probes of each group.
            probes: their providers, moments (0 to 1, ascending in a group) and whether they fail.
        """
        place, moment, faulty = probes
        first = np.cumsum(wanted) - wanted
        spent, faults = np.zeros((2, *plan.share.shape), np.int64)
        granted = np.zeros(len(place), np.bool_)
        passed = np.zeros(len(wanted))
        for number in range(int(wanted.max(initial=0))):
            group = np.flatnonzero(wanted > number)
            at = first[group] + number
            elapsed = moment[at] - passed[group]
            passed[group] = moment[at]
            saved = np.minimum(MOST_ACCRUED, self._saved[group] + accruing[group] * elapsed)
            here = (group, place[at])
            allowed = (saved >= 1.0) & (spent[here] < plan.budget[here]) & (faults[here] < plan.faults[here])
            self._saved[group] = saved - allowed
            spent[here] += allowed
            faults[here] += allowed & faulty[at]
            granted[at] = allowed
        self._saved = np.minimum(MOST_ACCRUED, self._saved + accruing * (1.0 - passed))
        return granted


def _calls(
    chance: np.random.Generator, fleet: FleetRates, group: Integers, place: NDArray[np.intp]
) -> tuple[Calls, NDArray[np.bool_]]:
    """Draw the call of each probe; also return which probes attempt one."""
    draws = chance.random((5, len(group)))
    bucket = (draws[0, :, np.newaxis] >= np.cumsum(fleet.mix, axis=1)[group, :-1]).sum(axis=1)
    attempted = draws[1] < fleet.propensity[group, place]
    lost = draws[2] < fleet.lost[group, place, bucket]
    bad = ~lost & (draws[3] < fleet.error[group, place, bucket])
    caller = (draws[4] * fleet.callers[group]).astype(np.int64)
    calls = Calls(group * fleet.weight.shape[1] + place, caller, bucket, lost, bad)
    return calls.where(attempted), attempted

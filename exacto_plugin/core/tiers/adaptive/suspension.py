"""Suspends convictions by price while verified deployments refuse the traffic.

A deployment that refuses attempts serves too large a part of the pool. The pool is widened until its part fits what it
can carry: first by the undecided deployments, each with the probability that it is good, then by the deployments that
only the price of bad calls convicts, the mildest first and the last with a probability. Clear outliers stay out.
Arrays are ``[group, deployment]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Signal
from exacto_plugin.core.tiers.adaptive.exploration import probability_good
from exacto_plugin.core.tiers.columns import DERANKED, INSUFFICIENT_DATA, VERIFIED_GOOD
from exacto_plugin.core.tiers.signals import CAPACITY, LEARNED, NO_REASON, SignalColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.failure_rates import FailureRates
    from exacto_plugin.core.tiers.adaptive.refusals import LearnedLimits
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.columns import Block, ProbePlan

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_RELEASE = 1.25
"""Multiple of the needed weight up to which a suspended conviction stays suspended.
A limit that rises unconfirmed is confirmed again before (simulated): without it the
conviction at the edge comes and goes every hour."""

_LEAST_KEEP = 0.05
"""Least probability that the pool includes a suspended deployment."""

_WINDOW_S = 300.0
"""Window of the refused share, the shortest of the windows."""


class Verdicts(NamedTuple):
    """Verdicts on a block before suspensions."""

    block: Block
    tier: NDArray[np.int8]
    by_price: Bools
    """Deranked only because of the price of bad calls."""
    rate: Floats
    """Failure rate at the derank; the lowest is the mildest."""
    was_suspended: Bools
    """Suspended by the last recompute."""

    def mildest_first(self, group: np.intp, threshold: Floats) -> list[int]:
        """Return the places of the convictions of a group that only the price motivates.

        A rate above the threshold that acquits convicts without a price as well.
        """
        with np.errstate(invalid="ignore"):
            mild = self.by_price[group] & (self.rate[group] <= threshold[group])
        places = np.flatnonzero(mild & (self.tier[group] == DERANKED))
        rates = np.nan_to_num(self.rate[group, places], nan=1.0)
        return [int(place) for place in places[np.argsort(rates, kind="stable")]]


@dataclass(frozen=True, slots=True)
class Suspension:
    """Suspended convictions, and the tiers and pools that follow."""

    block: Block
    suspended: Bools
    tier: NDArray[np.int8]
    plan: ProbePlan
    limits: LearnedLimits

    def store(self, memory: AdaptiveState) -> None:
        """Store suspensions and limits for the next recompute."""
        self.limits.store(self.block, memory)
        memory.suspended[self.block.slots[self.block.member]] = self.suspended[self.block.member]

    def signals(self) -> list[SignalColumns]:
        """Return the learned capacities, and the reason of suspensions.

        The reason is the largest share that a deployment refused.
        """
        limits, member, found = self.limits, self.block.member, []
        if (known := member & np.isfinite(limits.carries)).any():
            carries = np.where(known, limits.carries, np.nan)
            found.append(_columns(Signal.CAPACITY, carries, limits.attempts, np.where(known, LEARNED, NO_REASON)))
        if self.suspended.any():
            told = member & ~self.suspended & ~np.isnan(limits.share)
            share = np.where(told, limits.share, 0.0).max(axis=-1, keepdims=True)
            attempts = np.where(told, limits.attempts, 0.0).sum(axis=-1, keepdims=True)
            found.append(_columns(Signal.REFUSED, share, attempts, np.where(self.suspended, CAPACITY, NO_REASON)))
        return found


def _columns(signal: Signal, value: Floats, samples: Floats, code: NDArray[np.int64]) -> SignalColumns:
    """Return the columns of a signal that compares no deployments."""
    shape, groups = code.shape, len(code)
    unknown, none = np.full(groups, np.nan), np.zeros(groups, np.int64)
    values, counts = np.broadcast_to(value, shape), np.broadcast_to(samples, shape).astype(np.int64)
    window_s = np.full(groups, _WINDOW_S)
    return SignalColumns(
        signal,
        values,
        counts,
        code,
        unknown,
        unknown,
        np.full(shape, np.nan),
        none,
        none,
        window_s,
        0,
        has_reference=False,
    )


def suspend(verdicts: Verdicts, plan: ProbePlan, rates: FailureRates, limits: LearnedLimits) -> Suspension:
    """Widen the pools whose verified deployments get more than they can carry.

    Args:
        verdicts: the verdicts by the measurements.
        plan: the pools of those verdicts.
        rates: failure rates, for the undecided deployments.
        limits: what the deployments can carry.
    """
    block, tier = verdicts.block, verdicts.tier
    suspended = np.zeros(tier.shape, np.bool_)
    weight = np.where(block.member, block.weight, 0.0)
    weight = np.where(weight.sum(axis=-1, keepdims=True) > 0, weight, block.member)
    good, unsure = block.member & (tier == VERIFIED_GOOD), block.member & (tier == INSUFFICIENT_DATA)
    # The weight of a pool in which a deployment gets no more than it can carry.
    required = weight * limits.demand / np.maximum(limits.usable, 1e-9)
    needed = np.where(good, required, 0.0).max(axis=-1, initial=0.0)
    if not needed.any():
        return Suspension(block, suspended, tier, plan, limits)
    keep, merges = plan.keep_probability.copy(), plan.merges_tiers.copy()
    chance = probability_good(rates, unsure) ** rates.rule.chance_power
    for group in np.flatnonzero(needed > 0):
        shared = np.where(unsure[group], weight[group] * keep[group], 0.0)
        total = float(weight[group, good[group]].sum()) + (float(shared.sum()) if merges[group] else 0.0)
        if total < needed[group] and not merges[group] and unsure[group].any():
            merges[group] = True
            keep[group, unsure[group]] = chance[group, unsure[group]]
            total += float((weight[group] * keep[group])[unsure[group]].sum())
        for place in verdicts.mildest_first(group, rates.threshold):
            margin = _RELEASE if verdicts.was_suspended[group, place] else 1.0
            if total >= needed[group] * margin:
                break
            suspended[group, place] = merges[group] = True
            own = float(weight[group, place])
            keep[group, place] = keep_probability(total, own, float(needed[group]), float(required[group, place]))
            total += own * float(keep[group, place])
    tier = np.where(suspended, INSUFFICIENT_DATA, tier).astype(np.int8)
    return Suspension(block, suspended, tier, replace(plan, merges_tiers=merges, keep_probability=keep), limits)


def keep_probability(total: float, own: float, needed: float, required: float) -> float:
    """Return how often a suspended deployment must be in the pool.

    A deployment in a pool of weight W gets a share in proportion to 1/W, averaged over the pools with and without it.

    Args:
        total: weight of the pool without it.
        own: its weight.
        needed: weight with which the others get no more than they can carry.
        required: weight with which it gets no more than it can carry itself.

    >>> keep_probability(1.0, 1.0, 2.0, 0.0), round(keep_probability(1.0, 1.0, 4 / 3, 0.0), 9)
    (1.0, 0.5)
    >>> keep_probability(1.0, 1.0, 2.0, 8.0)
    0.25
    """
    both = total + own
    wanted = 1.0 if needed >= both or not total else (1 / total - 1 / needed) / (1 / total - 1 / both)
    carried = both / required if required > 0 else 1.0
    return max(_LEAST_KEEP, min(wanted, carried, 1.0))

"""Traffic for deployments that are not verified good.

Cover rule, capacity, probes and the pauses between trials, as arrays ``[group, deployment]``. Tiers are assigned
before; ``routing.ordering`` applies the plan to single requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.stats.binomial import beta_cdf
from exacto_plugin.core.tiers.adaptive.parameters import EXPLORATION_SHARE
from exacto_plugin.core.tiers.adaptive.state import MOST_FAILED
from exacto_plugin.core.tiers.columns import INSUFFICIENT_DATA, VERIFIED_GOOD, ProbePlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.failure_rates import FailureRates
    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.columns import Block

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_LIKELY = 0.5
"""Chance above which a deployment is more likely good than not."""

_HARDLY, _SOON_H = 0.1, 3.0
"""Chance below which a suspect has the share of trials, and hours within which that
must bring ``derank_calls`` to each of a group. Measured at 10 requests a minute: one of three that fails 25 % is found
after 2.0 h instead of 6.8 h, with as many bad calls; at one a minute such a share would cost more than it saves."""

_LEAST_PROPENSITY = 0.02
"""Least assumed share of probes that attempt a tool call."""


class CapacityRelief(NamedTuple):
    """Deranked deployments that are needed to carry the traffic."""

    kept: Bools
    share: Floats
    """Share of the group's traffic that each must take."""


def keep_for_capacity(
    block: Block, deranked: Bools, rate: Floats, load: Floats, rule: AdaptiveParameters
) -> CapacityRelief:
    """Keep deranked deployments that the capacity requires, the best first.

    The other deployments must be able to take ``capacity_headroom`` times the requests a minute of the whole group. A
    deployment without a declared capacity is unlimited, so without declarations no deployment is kept, and a majority
    may be deranked. (A cap on the deranked share, as Envoy's on ejections, would keep bad deployments whether or not
    they are needed.)
    """
    member = block.member
    needed = rule.capacity_headroom * (load * member).sum(axis=-1, keepdims=True)
    rest = np.where(member & ~deranked, block.capacity, 0.0).sum(axis=-1, keepdims=True)
    order = np.argsort(np.where(deranked & member, np.nan_to_num(rate, nan=1.0), np.inf), axis=-1, kind="stable")
    offered = np.where(deranked & member, block.capacity, 0.0)
    in_order = np.take_along_axis(offered, order, -1)
    with np.errstate(invalid="ignore"):
        before = np.concatenate([np.zeros_like(rest), np.cumsum(in_order, axis=-1)[:, :-1]], axis=-1)
    missing = np.empty_like(before)
    np.put_along_axis(missing, order, np.maximum(0.0, needed - rest - before), -1)
    kept = deranked & member & (missing > 0) & (offered > 0)
    return CapacityRelief(kept, np.where(kept, np.minimum(missing, offered) / np.maximum(needed, 1e-9), 0.0))


class ProbeDemand(NamedTuple):
    """Demand for probes of deranked deployments."""

    in_burst: Bools
    """In a burst now."""
    burst_calls_left: Floats
    """Calls left in the burst."""
    faults_left: Floats
    """Bad calls until the trial ends."""
    is_steady: Bools
    """True after a good burst: probed as steadily as with insufficient data."""
    is_clean: Bools
    """In a trial without a bad call so far."""


class TrafficPlan(NamedTuple):
    """Probes and pool membership, and the numbers that they follow from."""

    probes: ProbePlan
    chance: Floats
    """Chance that an undecided deployment's rate is within its threshold; else 1."""
    share: Floats
    """Share of the requests with tools that an undecided deployment gets."""


class GroupTraffic(NamedTuple):
    """Request rates of a group, shape ``[group, 1]``."""

    offered_per_s: Floats
    """Requests with tools a second."""
    propensity: Floats
    """Share of those requests that attempt a call."""
    interval_s: float
    """Seconds until the next recompute."""


def plan_probes(
    block: Block,
    tier: NDArray[np.int8],
    rates: FailureRates,
    relief: CapacityRelief,
    demand: ProbeDemand,
    traffic: GroupTraffic,
    share: float,
) -> TrafficPlan:
    """Plan pool membership and probes until the next recompute."""
    member = block.member
    weight = np.where(member, block.weight, 0.0)
    weight = np.where(weight.sum(axis=-1, keepdims=True) > 0, weight, member)
    # A weight of 0 keeps requests away, and therefore probes as well.
    wanted = weight > 0
    demand = demand._replace(in_burst=demand.in_burst & wanted, is_steady=demand.is_steady & wanted)
    undecided = member & (tier == INSUFFICIENT_DATA) & ~relief.kept
    chance = probability_good(rates, undecided)
    pool = _pool(weight, weight * (tier == VERIFIED_GOOD), undecided, chance, relief, rates.rule)
    needs = _probe_needs(rates, undecided & wanted, chance, pool, weight, (traffic, share))
    shares = _probes(needs, demand, traffic, (rates.rule, share))
    merges = (pool.merged | relief.kept.any(axis=-1, keepdims=True))[:, 0]
    plan = ProbePlan(merges, pool.keep, *shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = np.where(pool.merged, weight * pool.keep / pool.weight, 0.0)
    rest = 1 - plan.share.sum(axis=-1, keepdims=True)
    return TrafficPlan(plan, chance, np.nan_to_num(pooled) * rest + plan.share)


class _Pool(NamedTuple):
    keep: Floats
    """Probability that the pool includes a deployment."""
    merged: Bools
    """Undecided ones share the traffic with the verified, ``[group, 1]``."""
    weight: Floats
    """Expected weight of the pool, ``[group, 1]``."""


def _pool(
    weight: Floats, good: Floats, undecided: Bools, chance: Floats, relief: CapacityRelief, rule: AdaptiveParameters
) -> _Pool:
    """Plan the pool of each group; ``good`` has the weights of the verified."""
    total = (good + weight * undecided).sum(axis=-1, keepdims=True)
    merged = good.sum(axis=-1, keepdims=True) < rule.cover * total
    keep = chance**rule.chance_power
    shared = (good + weight * np.where(undecided & merged, keep, 0.0)).sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        needed = relief.share * (1 + shared / weight)
    needed = np.where(np.isfinite(needed), np.minimum(needed, 1.0), 1.0)
    keep = np.where(relief.kept, needed, np.where(undecided & ~merged, 0.0, keep))
    return _Pool(keep, merged, shared)


def _probe_needs(
    rates: FailureRates,
    undecided: Bools,
    chance: Floats,
    pool: _Pool,
    weight: Floats,
    limits: tuple[GroupTraffic, float],
) -> ProbeNeeds:
    """Compute the probe calls that undecided deployments need beside the pool."""
    rule, (traffic, share) = rates.rule, limits
    calls_per_hour = 3600 * traffic.offered_per_s * np.maximum(traffic.propensity, _LEAST_PROPENSITY)
    with np.errstate(invalid="ignore", divide="ignore"):
        natural = np.where(pool.merged, calls_per_hour * weight * pool.keep / pool.weight, 0.0)
    missing = np.where(undecided, rule.probe_calls_per_hour - np.nan_to_num(natural, posinf=np.inf), 0.0)
    missing = np.maximum(0.0, missing)
    unknown = rates.within_ttl.calls < rule.settled_calls * rates.phi
    clean = (rates.within_ttl.bad == 0) & ~np.isnan(rates.threshold)
    likely = undecided & ~pool.merged & clean & (chance > _LIKELY)
    pressing = undecided & unknown & ~np.isnan(rates.threshold) & (chance < _HARDLY)
    calls = (pressing * rule.derank_calls * rates.phi).sum(axis=-1, keepdims=True)
    soon = trial_share(rule, share) * calls_per_hour * _SOON_H >= calls
    return ProbeNeeds(missing * chance, missing * unknown * (1 - chance), likely, pressing & soon)


def probability_good(rates: FailureRates, undecided: Bools) -> Floats:
    """Compute the probability that a failure rate is below its threshold.

    It scales the weight of an undecided deployment; 1 for the other deployments.
    """
    rule = rates.rule
    limit = np.where(np.isnan(rates.threshold), rule.good_ceiling, rates.threshold)
    calls, bad = rates.within_ttl.calls / rates.phi, rates.within_ttl.bad / rates.phi
    chance = np.ones(undecided.shape)
    failed, worked = rule.prior_failed + bad, rule.prior_worked + calls - bad
    chance[undecided] = beta_cdf(limit[undecided], failed[undecided], worked[undecided])
    return chance


class ProbeNeeds(NamedTuple):
    """Probe calls an hour that undecided deployments need."""

    promising: Floats
    """In proportion to the probability of being good."""
    other: Floats
    """Beyond that."""
    likely: Bools
    """More likely good than not."""
    pressing: Bools
    """Hardly good, and soon decided with the share of trials."""


def trial_share(rule: AdaptiveParameters, share: float) -> float:
    """Return the largest share of the requests for trials that go well.

    An exploration share below its default is an operator's limit, which holds for trials as well.

    >>> from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    >>> [trial_share(AdaptiveParameters(), share) for share in (0.0, 0.01, 0.02, 0.2)]
    [0.0, 0.0, 0.1, 0.2]
    """
    return max(share, rule.trial_share) if rule.trial_share > 0 and share >= EXPLORATION_SHARE else 0.0


def _probes(
    needs: ProbeNeeds,
    demand: ProbeDemand,
    traffic: GroupTraffic,
    limits: tuple[AdaptiveParameters, float],
) -> tuple[Floats, Floats, Floats]:
    """Compute shares, budgets and fault limits of probes.

    Order of priority: steady trials together with undecided deployments in proportion to their probability of being
    good, then bursts, then deployments with too few calls for any verdict. (Measured at 30 requests a minute: a
    repaired deployment is readmitted after 31 h, with bursts first after 57 h, and with equal priorities after 62 h.)
    Trials without a failure and undecided deployments that are more likely good than not have a share of their own,
    and lose it with what they fail. Suspects have what is left of it where that soon decides.

    Args:
        needs: demand of undecided deployments.
        demand: demand of the trials of deranked deployments.
        traffic: requests that probes can be taken from.
        limits: the rule and the largest share of the requests that may be probes.
    """
    rule, share = limits
    per_call = 1 / np.maximum(traffic.propensity, _LEAST_PROPENSITY)
    requests = np.maximum(traffic.offered_per_s * traffic.interval_s, 1.0)
    burst = np.where(demand.in_burst, demand.burst_calls_left * per_call, 0.0)
    steady = np.where(demand.is_steady, rule.probe_calls_per_hour, needs.promising)
    steady, other = (calls / 3600 * traffic.interval_s * per_call for calls in (steady, needs.other))
    going_well = trial_share(rule, share)
    trusted = np.where(demand.is_steady, demand.is_clean, needs.likely & ~demand.in_burst) & (going_well > 0)
    trials = _scale_to(np.where(trusted, steady, 0.0) / requests, np.asarray(going_well))
    doubtful = np.where(trusted, 0.0, steady)
    # What goes well does not compete with bursts, so that these can come first. Others wait until both are done.
    in_order = [burst, doubtful] if going_well else [doubtful, burst]
    pressing = np.where(needs.pressing, other, 0.0)
    total = _in_order([*in_order, pressing, other - pressing], trials, requests, (share, going_well))
    budget = np.ceil(burst) + np.ceil(2 * (steady + other))
    faults = np.where(trusted, float(rule.trial_faults), np.inf)
    faults = np.where(demand.in_burst | demand.is_steady, demand.faults_left, faults)
    return np.where(share > 0, total, 0.0), np.where(total > 0, budget, 0.0), faults


def _in_order(wanted: Sequence[Floats], trials: Floats, requests: Floats, limits: tuple[float, float]) -> Floats:
    """Return the shares of trials and, in order, of what is wanted beside them.

    The first two wants do not compete with the trials; the third, of suspects, has the limit of trials.
    """
    share, going_well = limits
    total, nothing = trials, np.zeros_like(trials)
    for place, (probes, beside) in enumerate(zip(wanted, [trials, trials, nothing, nothing], strict=True)):
        most = going_well if place == 2 else share
        rest = np.maximum(0.0, most - (total - beside).sum(axis=-1, keepdims=True))
        total = total + _scale_to(probes / requests, rest)
    return total


def _scale_to(wanted: Floats, limit: Floats) -> Floats:
    """Scale a group's shares so that their sum is at most ``limit``.

    >>> _scale_to(np.array([[0.03, 0.01]]), np.array([[0.02]])).round(3).tolist()
    [[0.015, 0.005]]
    """
    total = wanted.sum(axis=-1, keepdims=True)
    return np.asarray(wanted * np.minimum(1.0, limit / np.maximum(total, 1e-12)))


class ProbeBackoff(NamedTuple):
    """Columns of ``AdaptiveState`` about trials of deranked deployments."""

    level: NDArray[np.int8]
    burst_at: Floats
    burst_from: Floats


def schedule_trials(
    now: float, before: ProbeBackoff, evidence: tuple[Floats, Floats], rule: AdaptiveParameters
) -> tuple[ProbeBackoff, ProbeDemand]:
    """Begin and end trials of deranked deployments.

    A trial is a burst, then steady probes until readmission; a failed trial doubles the pause. It fails with
    ``burst_faults`` bad calls early on, and with ``trial_faults`` later: otherwise a deployment that fails near the
    threshold would use up the probes that a repaired one needs.

    Args:
        now: UTC seconds.
        before: state after the last recompute.
        evidence: calls and bad calls of the trial in progress.
        rule: the parameters.
    """
    calls, bad = evidence
    running = ~np.isnan(before.burst_from)
    tolerated = np.where(calls < 2 * rule.burst_calls, rule.burst_faults, max(rule.burst_faults, rule.trial_faults))
    failed = running & (bad >= tolerated)
    level = np.minimum(before.level + failed, MOST_FAILED).astype(np.int8)
    pause_s = np.minimum(
        rule.burst_pause_s * np.exp2(level.astype(np.float64)), max(rule.burst_pause_s, rule.burst_pause_max_s)
    )
    # A time further ahead than the longest pause comes from a clock that went back.
    at = np.minimum(np.nan_to_num(before.burst_at, nan=now + rule.burst_pause_s), now + pause_s)
    at = np.where(failed, now + pause_s, at)
    begin = ~running & (now >= at)
    started = np.where(begin, now, np.where(failed | ~running, np.nan, np.minimum(before.burst_from, now)))
    running = ~np.isnan(started)
    calls, bad = np.where(begin, 0.0, calls), np.where(begin, 0.0, bad)
    burst = running & (calls < rule.burst_calls)
    left = np.where(burst, rule.burst_calls - calls, 0.0)
    faults = np.where(running, np.where(burst, rule.burst_faults, tolerated) - bad, np.inf)
    return ProbeBackoff(level, at, started), ProbeDemand(burst, left, faults, running & ~burst, running & (bad == 0))

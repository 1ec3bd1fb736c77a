"""Failure rates of a block: effective counts, thresholds and tests.

Arrays are of shape ``[group, deployment]``. ``judge`` derives tiers from the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.stats.binomial import RATE_RANGE, rate_below, rate_exceeds, wilson_lower, wilson_upper
from exacto_plugin.core.stats.leave_one_out import LeaveOneOut, leave_one_out_median, leave_one_out_near_best
from exacto_plugin.core.stats.peers import Peers, peers
from exacto_plugin.core.tiers.adaptive.common_cause import CommonRise, common_rise
from exacto_plugin.core.tiers.adaptive.evidence import DAY, HOUR, WINDOWS_S
from exacto_plugin.core.tiers.adaptive.history import Counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.evidence import Evidence
    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.columns import Block

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_FEW_PEERS = 3
"""Up to this many others, the reference of the cap is the best of them; with
more, the second-best."""


class DerankTest(NamedTuple):
    """Result of the derank tests, with counts of the shortest rejecting window."""

    rejected: Bools
    evidence: Counts
    window_s: Floats


class PeerRates(NamedTuple):
    """Numbers that thresholds follow from, ``[group, deployment]``."""

    has_evidence: Bools
    """Deployments that are peers of others."""
    others: LeaveOneOut
    near_best: Floats
    """Rate of the second-best other deployment (the best of up to 3)."""
    surely_near_best: Floats
    """``near_best`` by the upper ends of intervals with ``convicting_z``."""
    case_mix: Floats
    """Factor on a deployment's threshold for its mix of requests."""

    def threshold(self, deviations: float, floor: float, cap: Floats | float, near_best: Floats) -> Floats:
        """Compute each deployment's threshold from the other deployments.

        It is their median plus a margin for their spread, capped relative to the best of them.

        Args:
            deviations: standard deviations of the margin.
            floor: least margin.
            cap: largest distance from the second-best.
            near_best: the second-best's rate; that of this name or ``surely_near_best``.
        """
        spread = self.others.median + np.maximum(deviations * self.others.deviation, floor)
        return np.asarray(np.clip(np.minimum(spread, near_best + cap) * self.case_mix, *RATE_RANGE))


@dataclass(frozen=True, slots=True)
class FailureRates:
    """Failure rates of a block."""

    rule: AdaptiveParameters
    phi: Floats
    """Design effect per group, shape ``[group, 1]``."""
    windows: tuple[Counts, ...]
    """Per window of ``WINDOWS_S``."""
    within_ttl: Counts
    """Over the time to live."""
    ttl_s: Floats
    """The time to live per group, shape ``[group, 1]``."""
    threshold: Floats
    """The threshold; NaN without other deployments to compare with."""
    peers: Peers
    """Reference of all peers, as failure rates."""
    peer_rates: PeerRates
    common: CommonRise | None
    """Rises at the others; None where they do not count."""

    def derank_test(self, untested: Bools, threshold: Floats, share: float = 1.0) -> DerankTest:
        """Test each window for more failures than chance explains.

        Args:
            untested: deployments that are not tested.
            threshold: rate to exceed; ``self.threshold`` or a stricter one.
            share: of the tail probabilities.
        """
        tails = self.rule.derank_tails
        calls = np.stack([counts.calls for counts in self.windows[: len(tails)]])
        bad = np.stack([counts.bad for counts in self.windows[: len(tails)]])
        asked = ~untested & (calls >= self.rule.derank_calls)
        limit = np.where(asked, threshold, np.nan)
        if self.common is not None:
            limit = np.minimum(limit + self.rule.common_cause * self.common.held, RATE_RANGE[1])
        level = share * np.array([tail for _, tail in tails])[:, np.newaxis, np.newaxis]
        rejected = rate_exceeds(bad / self.phi, calls / self.phi, limit, level)
        first = rejected.argmax(axis=0)[np.newaxis]
        evidence = Counts(np.take_along_axis(calls, first, 0)[0], np.take_along_axis(bad, first, 0)[0])
        return DerankTest(
            np.asarray(rejected.any(axis=0)), evidence, np.array([window_s for window_s, _ in tails])[first[0]]
        )

    def verified(self, counts: Counts) -> Bools:
        """Test if the rate is below the threshold and the absolute ceiling."""
        rule = self.rule
        limit = np.minimum(self.threshold, rule.good_ceiling)
        with np.errstate(invalid="ignore"):
            settled = (counts.calls >= rule.settled_calls * self.phi) & (counts.rate() <= limit)
        enough = ~settled & (counts.calls >= rule.good_calls * self.phi)
        return settled | self._rate_is_below(counts, np.where(enough, limit, np.nan), rule.good_tail)

    def exceeded(self, counts: Counts) -> Bools:
        """Return the deployments above the threshold, with calls enough to tell."""
        with np.errstate(invalid="ignore"):
            return (counts.calls >= self.rule.derank_calls) & (counts.rate() > self.threshold)

    def _rate_is_below(self, counts: Counts, limit: Floats, level: float) -> Bools:
        """Test if so few failures are unlikely at a rate of ``limit``."""
        return rate_below(counts.bad / self.phi, counts.calls / self.phi, limit, level)

    def recovered(self, fresh: Counts, threshold: Floats) -> Bools:
        """Test if a deranked deployment's latest calls are below a threshold."""
        limit = np.where(np.isnan(threshold), self.rule.good_ceiling, threshold)
        return self._rate_is_below(fresh, limit, self.rule.fresh_tail)

    def improved(self, unsure: Bools) -> tuple[Bools, Floats]:
        """Find sudden improvements; returns also the window in seconds.

        The recent calls verify and contradict the older ones. Only deployments with insufficient data are tested: a
        verified one has no better tier, a deranked one has a restart of its own.
        """
        found = np.zeros(self.threshold.shape, np.bool_)
        within_s = np.zeros(self.threshold.shape)
        for counts, window_s in zip(self.windows[HOUR:DAY], WINDOWS_S[HOUR:DAY], strict=True):
            older = Counts(self.within_ttl.calls - counts.calls, self.within_ttl.bad - counts.bad)
            with np.errstate(invalid="ignore"):
                better = older.rate() > counts.rate()
            asked = unsure & ~found & better & (older.calls >= self.rule.derank_calls)
            if not asked.any():
                continue
            floor = wilson_lower(older.bad / self.phi, older.calls / self.phi, self.rule.peer_z)
            contradicted = self._rate_is_below(counts, np.where(asked, floor, np.nan), self.rule.change_tail)
            now = contradicted & self.verified(counts)
            within_s = np.where(now, window_s, within_s)
            found |= now
        return found, within_s


def failure_rates(block: Block, memory: AdaptiveState, evidence: Evidence, rule: AdaptiveParameters) -> FailureRates:
    """Compute the failure rates of a block from its evidence."""
    slots, member = block.slots, block.member
    phi = _design_effect(evidence.dispersion_sum[slots] * member, evidence.pairs[slots] * member, rule)
    windows, of_quiet = _windows(evidence, slots, member, rule)
    per_minute = np.maximum(evidence.offered_day[slots] / 1440, evidence.offered_hour[slots] / 60)
    quiet = (per_minute * member).sum(axis=-1, keepdims=True) < rule.quiet_requests_per_minute
    within_ttl = Counts(*(np.where(quiet, long, day) for long, day in zip(of_quiet, windows[DAY], strict=True)))
    frozen = memory.frozen[slots]
    deranked = memory.cause[slots] > 0

    def upper(z: float) -> Floats:
        return np.where(deranked, frozen, wilson_upper(within_ttl.bad / phi, within_ttl.calls / phi, z))

    rates = upper(rule.peer_z)
    has_evidence = member & np.where(deranked, ~np.isnan(frozen), within_ttl.calls >= rule.peer_calls)
    near_best = surely = leave_one_out_near_best(rates, has_evidence, _FEW_PEERS)
    if rule.bad_call_price > 0 and rule.convicting_z > rule.peer_z:
        surely = leave_one_out_near_best(upper(rule.convicting_z), has_evidence, _FEW_PEERS)
    peer_rates = PeerRates(
        has_evidence,
        leave_one_out_median(rates, has_evidence),
        near_best,
        surely,
        _case_mix(evidence.mix_calls[:, slots], evidence.mix_bad[:, slots], member, rule),
    )
    return FailureRates(
        rule,
        phi,
        tuple(windows),
        within_ttl,
        np.where(quiet, rule.quiet_ttl_s, rule.ttl_s),
        peer_rates.threshold(rule.deviations, rule.rate_floor, rule.peer_cap, near_best),
        peers(np.nan_to_num(rates), has_evidence),
        peer_rates,
        common_rise(windows, within_ttl, member & ~deranked) if rule.common_cause else None,
    )


def _windows(
    evidence: Evidence, slots: NDArray[np.intp], member: Bools, rule: AdaptiveParameters
) -> tuple[list[Counts], Counts]:
    """Compute the calls of each window, and of the time to live of quiet groups.

    Windows are those of ``WINDOWS_S``; every caller is limited.
    """

    def of_slots(column: Floats) -> Floats:
        return np.take(column, slots, axis=-1)

    lone_key = _has_one_caller(of_slots(evidence.by_caller) * member, rule)
    lone_account = _has_one_caller(of_slots(evidence.by_account) * member, rule)
    pairs = ((evidence.weight_calls, evidence.account_calls), (evidence.weight_bad, evidence.account_bad))
    weights = Counts(
        *(
            # Accounts are limited, and within each the keys as well: a limit of either kind holds.
            np.where(lone_key, 1.0, np.where(lone_account, key, np.minimum(key, account)))
            for key, account in (map(of_slots, pair) for pair in pairs)
        )
    )
    whole = _limited(of_slots(evidence.calls), of_slots(evidence.bad), weights)
    windows = [Counts(*counts) for counts in zip(*whole, strict=True)]
    # Factors reach back a day only; those of longer windows are the same.
    longest = Counts(weights.calls[-1], weights.bad[-1])
    own = _limited(evidence.quiet_calls[slots], evidence.quiet_bad[slots], longest)
    quiet = Counts(*(np.where(np.isnan(longer), three, longer) for longer, three in zip(own, windows[-1], strict=True)))
    return windows, quiet


def _limited(calls: Floats, bad: Floats, weight: Counts) -> Counts:
    """Return counts with the factors that limit callers."""
    calls = calls * weight.calls
    return Counts(calls, np.minimum(bad * weight.bad, calls))


def _design_effect(dispersion_sum: Floats, pairs: Floats, rule: AdaptiveParameters) -> Floats:
    """Compute the design effect: dispersion of half-hours, pooled over a group.

    It is shrunk towards the start value while there are few pairs. In the example 20 pairs of prior weight at 2 and 20
    pairs with a mean of 3 give 2.5.

    >>> from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    >>> _design_effect(np.array([[60.0]]), np.array([[20.0]]), AdaptiveParameters()).tolist()
    [[2.5]]
    """
    total = rule.phi_start * rule.phi_start_weight + dispersion_sum.sum(axis=-1, keepdims=True)
    return np.asarray(
        np.clip(total / (rule.phi_start_weight + pairs.sum(axis=-1, keepdims=True)), 1.0, max(1.0, rule.phi_max))
    )


def _has_one_caller(by_caller: Floats, rule: AdaptiveParameters) -> Bools:
    """Find groups with practically one caller, shape ``[group, 1]``."""
    calls = by_caller.sum(axis=-1)
    return np.asarray(calls.max(axis=0) >= rule.lone_caller_share * calls.sum(axis=0))[:, np.newaxis]


def _case_mix(calls: Floats, bad: Floats, member: Bools, rule: AdaptiveParameters) -> Floats:
    """Compute the expected failures of a deployment's mix relative to average.

    This is the expectation of O/E. The expected rate of each complexity bucket comes from the other deployments and is
    shrunk towards their overall rate; 1 where the others have no failures. In the example (2 buckets, 1 group, 3
    deployments) hard tools fail at 10 % elsewhere and easy ones at 1 %; the first deployment has only hard ones, so
    1.8 times the usual failures are expected of it.

    >>> from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    >>> calls = np.array([[[0.0, 5e4, 5e4]], [[1e5, 5e4, 5e4]]])
    >>> bad = np.array([[[0.0, 5e2, 5e2]], [[1e4, 5e3, 5e3]]])
    >>> _case_mix(calls, bad, np.ones((1, 3), bool), AdaptiveParameters(case_mix_max=3.0))[0, 0].round(1).item()
    1.8
    """
    calls, bad = calls * member, bad * member
    calls_elsewhere = calls.sum(axis=-1, keepdims=True) - calls
    bad_elsewhere = bad.sum(axis=-1, keepdims=True) - bad
    total = calls_elsewhere.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        overall = bad_elsewhere.sum(axis=0) / total
        rate = (bad_elsewhere + rule.case_mix_calls * overall) / (calls_elsewhere + rule.case_mix_calls)
        expected = (calls * rate).sum(axis=0) / calls.sum(axis=0)
        usual = (calls_elsewhere * rate).sum(axis=0) / total
        index = expected / usual
    return np.where(np.isfinite(index), np.clip(index, rule.case_mix_min, rule.case_mix_max), 1.0)

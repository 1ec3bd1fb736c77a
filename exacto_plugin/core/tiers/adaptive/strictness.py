"""Thresholds as strict as it pays, when a bad call costs several calls.

Two thresholds: a stricter one convicts, that of ``failure_rates`` acquits. Per model group the stricter one is chosen
among ``STEPS`` so that price and bad calls of the hosts that stay cost least. A deployment that only the stricter one
convicts is out *by price*: only while the others stay within ``max_cost_premium`` and can carry the traffic. Arrays
are ``[group, deployment]`` or ``[group, 1]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from exacto_plugin.core.tiers.adaptive.failure_rates import DerankTest
from exacto_plugin.core.tiers.adaptive.history import Counts
from exacto_plugin.core.tiers.signals import Strictness

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.failure_rates import FailureRates
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.columns import Block

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

STEPS = (0.05, 0.04, 0.03, 0.02, 0.015, 0.01, 0.0075, 0.005)
"""Distances above the second-best peer (the best of up to 3) to choose from, the loosest first.
Chosen, not measured: half a point is 1 bad call in 200."""

_NEXT = (*STEPS[1:], 0.0025)
"""The next stricter distance of each, whose cost is reported; the last one is never chosen."""

_LEAST_GAIN = 1e-9
"""Least difference of costs for which a stricter step is chosen, so that ties go to the looser one."""

T = TypeVar("T", bound=np.generic)

LEAST_HOSTS = 2
"""Number of deployments that convictions by price leave."""


class PriceShares(NamedTuple):
    """Prices and shares of the deployments of each group."""

    price: Floats
    """Relative to the group's usual price; 1 where unknown, 0 in the padding."""
    weight: Floats
    """In the operator's lottery; 0 in the padding."""
    capacity: Floats
    """Requests a minute; 0 in the padding."""
    needed: Floats
    """Requests a minute that those in service must be able to carry, ``[group, 1]``."""

    @classmethod
    def of(cls, block: Block, load: Floats, headroom: float) -> PriceShares:
        """Read prices and shares of a block."""
        member = block.member
        weight = np.where(member, block.weight, 0.0)
        weight = np.where(_total(weight) > 0, weight, member)
        known = np.where(np.isnan(block.price), 0.0, weight)
        usual = _total(known * np.nan_to_num(block.price)) / np.maximum(_total(known), 1e-300)
        with np.errstate(invalid="ignore", divide="ignore"):
            price = block.price / usual
        price = np.where(np.isnan(price) | (usual <= 0), 1.0, price) * member
        capacity = np.where(member, block.capacity, 0.0)
        return cls(price, weight, capacity, headroom * _total(load * member))

    def mean_price(self, pool: Bools) -> Floats:
        """Return the mean price of a lottery, relative to the usual; 1 among none."""
        return self._mean(self.price, pool, 1.0)

    def mean_rate(self, rate: Floats, pool: Bools) -> Floats:
        """Return the mean failure rate of the lottery among some; 0 among none."""
        return self._mean(rate, pool, 0.0)

    def _mean(self, values: Floats, pool: Bools, otherwise: float) -> Floats:
        weight = self.weight * pool
        total = _total(weight)
        return np.where(total > 0, _total(weight * values) / np.maximum(total, 1e-300), otherwise)

    def suffices(self, pool: Bools) -> Bools:
        """Test if enough deployments with enough capacity are left."""
        hosts = (pool & (self.weight > 0)).sum(axis=-1, keepdims=True)
        capacity = np.where(pool, self.capacity, 0.0).sum(axis=-1, keepdims=True)
        return np.asarray((hosts >= LEAST_HOSTS) & (capacity >= self.needed))


@dataclass(frozen=True, slots=True)
class StrictThresholds:
    """The thresholds of a block, and which deployments are out by price."""

    rates: FailureRates
    shares: PriceShares
    frozen: Counts
    """Counts of the derank, for deranked deployments."""
    by_price: Bools
    """Out by price before this recompute."""
    thresholds: Strictness
    planned: Bools
    """The hosts that stay at the step chosen."""

    @classmethod
    def of(cls, block: Block, memory: AdaptiveState, rates: FailureRates, load: Floats) -> StrictThresholds:
        """Choose the step of each group."""
        slots = block.slots
        shares = PriceShares.of(block, load, rates.rule.capacity_headroom)
        calls, rate = memory.frozen_calls[slots], memory.frozen[slots]
        by_price = memory.by_price[slots] & block.member
        frozen = Counts(calls, np.nan_to_num(rate) * calls)
        if rates.rule.bad_call_price == 0:
            same = Strictness(*(np.full(len(slots), np.nan),) * 4, rates.threshold, rates.threshold, by_price)
            return cls(rates, shares, frozen, by_price, same, block.member)
        return cls(rates, shares, frozen, by_price, *_choose(shares, rates, rate, memory.cause[slots] > 0, by_price))

    @property
    def readmits(self) -> Floats:
        """Threshold below which deranked deployments return."""
        return self.thresholds.acquits

    def derank_by_price(self, test: DerankTest, out: Bools, was_deranked: Bools) -> tuple[DerankTest, Bools, Bools]:
        """Derank by price, and take back what no longer pays.

        Args:
            test: results at the threshold that acquits.
            out: deranked, by whatever reason, those of ``by_price`` included.
            was_deranked: before this recompute.

        Returns:
            The results, with those of the convictions by price; all that are out by price; those that come back.
        """
        held, rule = self.by_price & out, self.rates.rule
        if rule.bad_call_price == 0:
            return test, np.zeros_like(held), held
        untested = was_deranked | out | self.planned | ~(self.thresholds.convicts < self.rates.threshold)
        strict = self.rates.derank_test(untested, self.thresholds.convicts, rule.convicting_tail)
        asked = strict.rejected
        rate = np.where(asked, strict.evidence.rate(), np.where(held, self.frozen.rate(), 0.0))
        accepted = affordable(self.shares, ~out | held, asked, held, np.nan_to_num(rate), rule.max_cost_premium)
        by_step = asked & accepted
        together = DerankTest(
            test.rejected | by_step,
            Counts(*(np.where(by_step, own, at) for own, at in zip(strict.evidence, test.evidence, strict=True))),
            np.where(by_step, strict.window_s, test.window_s),
        )
        return together, accepted, held & ~accepted


def _choose(
    shares: PriceShares, rates: FailureRates, frozen: Floats, deranked: Bools, by_price: Bools
) -> tuple[Strictness, Bools]:
    """Choose the cheapest allowed step of each group; return also its pool."""
    rule, mix = rates.rule, rates.peer_rates.case_mix
    measured = np.where(deranked, frozen, rates.within_ttl.rate()) / mix
    rate = np.nan_to_num(measured)
    telling = rates.peer_rates.has_evidence & ~(deranked & ~by_price) & ~np.isnan(measured)
    limits = _limits(rates)
    with np.errstate(invalid="ignore"):
        pools = telling & (rate <= limits / mix)
    pools = _within_premium(shares, pools, rate, rule.max_cost_premium)
    prices, errors = shares.mean_price(pools), shares.mean_rate(rate, pools)
    costs = prices + rule.bad_call_price * errors
    allowed = shares.suffices(pools)
    chosen, least = np.zeros(costs.shape[1:], np.intp), costs[0]
    for place in range(1, len(STEPS)):
        better = allowed[place] & (costs[place] < least - _LEAST_GAIN)
        chosen, least = np.where(better, place, chosen), np.where(better, costs[place], least)
    tightest = _tightest_alike(pools, chosen)

    def at(values: NDArray[T], places: NDArray[np.intp]) -> NDArray[T]:
        found: NDArray[T] = np.take_along_axis(values, places[np.newaxis], 0)[0]
        return found

    half = np.where(np.isnan(frozen), np.inf, frozen / 2)
    returns = np.minimum(np.maximum(half, at(limits, chosen)), rates.threshold)
    told = (~np.isnan(rates.threshold)).any(axis=-1)
    strictness = Strictness(
        np.where(told, np.array(STEPS)[tightest[:, 0]], np.nan),
        np.array(_NEXT)[tightest[:, 0]],
        (at(prices, tightest + 1) / np.maximum(at(prices, tightest), 1e-300) - 1)[:, 0],
        (at(errors, tightest) - at(errors, tightest + 1))[:, 0],
        at(limits, tightest),
        np.where(deranked, returns, rates.threshold),
        by_price,
    )
    return strictness, at(pools, chosen)


def _tightest_alike(pools: Bools, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the strictest step that leaves the same hosts as the chosen one.

    It convicts what the chosen one leaves out, as certainly as if a host between both had asked for it. The chosen one,
    which is looser, readmits.
    """
    tightest = chosen
    for place in range(1, len(STEPS)):
        alike = (pools[place] == pools[place - 1]).all(axis=-1, keepdims=True)
        tightest = np.where((tightest == place - 1) & alike, place, tightest)
    return tightest


def _limits(rates: FailureRates) -> Floats:
    """Return the threshold that convicts at each step, and at the one after the last.

    Of shape ``[step, group, deployment]``; never above that which acquits.
    """
    rule, of = rates.rule, rates.peer_rates
    steps = np.array((*STEPS, _NEXT[-1]))[:, np.newaxis, np.newaxis]
    floor = min(rule.rate_floor, rule.convicting_floor)
    stricter = np.minimum(of.threshold(rule.deviations, floor, steps, of.surely_near_best), rates.threshold)
    return np.where(steps < rule.peer_cap, stricter, rates.threshold)


def _ranks(shares: PriceShares, remaining: Bools, asked: Bools, held: Bools, rate: Floats) -> Floats:
    """Return the order of convictions by price, ascending; infinite for the others.

    Those that are out already come first, the worst first; then by what a conviction saves for its price, compared
    with the deployments that stay anyway: those that are dearer come first of all.
    """
    rest = remaining & ~asked & ~held
    rest = np.where(rest.any(axis=-1, keepdims=True), rest, remaining)
    saves = np.maximum(rate - shares.mean_rate(rate, rest), 0.0)
    price = np.maximum(shares.mean_price(rest) - shares.price, _LEAST_GAIN)
    return np.where(held, -1 - rate, np.where(asked, 1 / (1 + saves / price), np.inf))


def _within_premium(shares: PriceShares, pools: Bools, rate: Floats, most: float | None) -> Bools:
    """Return each step's pool within the premium, ``[step, group, deployment]``."""
    steps = len(pools)
    remaining = np.concatenate([pools[0]] * steps)
    asked = remaining & ~pools.reshape(-1, pools.shape[-1])
    if most is None or not asked.any():
        return pools
    whole = PriceShares(*(np.concatenate([column] * steps) for column in shares))
    out = affordable(whole, remaining, asked, np.zeros_like(asked), np.concatenate([rate] * steps), most)
    return np.asarray((remaining & ~out).reshape(pools.shape))


def affordable(
    shares: PriceShares, remaining: Bools, asked: Bools, held: Bools, rate: Floats, most: float | None
) -> Bools:
    """Return which deployments may be out by price, the worst first.

    One after the other they leave those that stay, where enough hosts remain and the mean price does not rise above
    ``most``. Those that are out already need no capacity: ``exploration.keep_for_capacity`` takes them back.

    Args:
        shares: prices and shares.
        remaining: deployments that nothing else deranks; includes those in question.
        asked: deployments to convict.
        held: deployments that are out by price already.
        rate: their failure rates.
        most: largest mean price relative to the usual; None: any.
    """
    accepted = np.zeros(asked.shape, np.bool_)
    groups = np.flatnonzero((asked | held).any(axis=-1))
    if not len(groups):
        return accepted
    shares = PriceShares(*(column[groups] for column in shares))
    pool, asked, held = remaining[groups].copy(), asked[groups], held[groups]
    order = np.argsort(_ranks(shares, pool, asked, held, rate[groups]), axis=-1, kind="stable")
    rows, price = np.arange(len(groups)), shares.mean_price(pool)
    # Twice, since a later one may make room for an earlier one.
    for turn in (*range(most_asked := int((asked | held).sum(axis=-1).max())), *range(most_asked)):
        place = order[:, turn]
        due = (asked | held)[rows, place] & pool[rows, place]
        if not due.any():
            continue
        rest = pool & (np.arange(pool.shape[-1]) != place[:, np.newaxis])
        dearer = shares.mean_price(rest)
        hosts = (rest & (shares.weight > 0)).sum(axis=-1, keepdims=True) >= LEAST_HOSTS
        carried = shares.suffices(rest) | held[rows, place][:, np.newaxis]
        fits = (dearer <= price) | (dearer <= (np.inf if most is None else most) * (1 + 1e-12))
        taken = due & (hosts & carried & fits)[:, 0]
        pool[rows, place] &= ~taken
        price = np.where(taken[:, np.newaxis], dearer, price)
        accepted[groups, place] |= taken
    return accepted


def _total(values: Floats) -> Floats:
    return np.asarray(values.sum(axis=-1, keepdims=True))

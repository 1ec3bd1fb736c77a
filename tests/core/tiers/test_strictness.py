"""Convictions by the price of a bad call: the neutral numbers, the marker and the bound on the mean price."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.adaptive.strictness import LEAST_HOSTS, PriceShares, affordable
from exacto_plugin.core.tiers.replay import preset_as_plain, preset_of_plain
from exacto_plugin.core.windows.increments import CounterKind
from tests.support.adaptive_fleets import Fleet
from tests.support.samples import START

RATES = (0.002, 0.002, 0.003, 0.015)
"""The last one is within 2 points of the others."""


def judged(prices: dict[str, float], **numbers: float | None) -> Engine:
    """Four deployments with 20,000 calls each, and these prices."""
    engine = Engine(AdaptivePreset(AdaptiveParameters(**numbers)))  # type: ignore[arg-type]
    names = [DeploymentKey(name) for name in "abcd"]
    known = {DeploymentKey(name): price for name, price in prices.items()}
    engine.observe_peers("g", names, START, prices=known)
    for name, rate in zip(names, RATES, strict=True):
        for part in range(10):
            counts = {CounterKind.ANSWERED: 2000, CounterKind.OFFERED: 2000, CounterKind.CALLED: 2000}
            engine.add("g", name, {**counts, CounterKind.SCHEMA_MISMATCH: int(2000 * rate)}, {}, START + 600 * part)
    engine.recompute(START + 6000)
    return engine


def verdict_of_d(engine: Engine) -> tuple[Tier, bool]:
    """The tier of ``d`` and whether it is out by price."""
    verdict = engine.snapshot.groups["g"].verdicts[DeploymentKey("d")]
    chosen = verdict.reasons[0].strictness
    return verdict.tier, chosen is not None and chosen.by_price


def test_a_bad_call_has_a_price() -> None:
    """With it, equal prices convict what the usual threshold acquits; without it, nothing."""
    assert verdict_of_d(judged({})) == (Tier.DERANKED, True)
    assert verdict_of_d(judged({}, bad_call_price=0.0))[0] is not Tier.DERANKED


def test_the_premium_bounds_it() -> None:
    """A cheap deployment stays, unless the premium is lifted and its bad calls cost more than it saves."""
    cheap = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.4}
    assert verdict_of_d(judged(cheap))[0] is not Tier.DERANKED
    assert verdict_of_d(judged(cheap, max_cost_premium=None, bad_call_price=60.0)) == (Tier.DERANKED, True)


def test_what_was_convicted_comes_back_when_the_bound_breaks() -> None:
    """Prices that change lift the conviction at the next recompute."""
    engine = judged({})
    prices = {DeploymentKey(name): price for name, price in zip("abcd", (1.0, 1.0, 1.0, 0.3), strict=True)}
    engine.observe_peers("g", list(prices), START + 6300, prices=prices)
    engine.recompute(START + 6300)
    assert verdict_of_d(engine)[0] is not Tier.DERANKED


@pytest.mark.parametrize("bad", [120, 156])
def test_who_is_left_out_anyway_is_convicted(bad: int) -> None:
    """By the strictest step that leaves the same others: a worse rate is no protection, nor is a loose step."""
    fleet = Fleet([0.0] * 6)
    for name, number in zip(fleet.names, (20, 32, 40, 48, bad, 400), strict=True):
        fleet.feed(name, 8000 if bad == 120 else 4000, number * (2 if bad == 120 else 1))
    assert [tier is Tier.DERANKED for tier in fleet.judge().values()] == [False] * 4 + [True] * 2
    chosen = fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey("d4")].reasons[0].strictness
    assert chosen is not None
    assert (chosen.step, chosen.by_price) == (0.005, True)
    # It comes back by the loosest of these steps.
    fleet.judge()
    after = fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey("d4")].reasons[0].strictness
    assert after is not None
    assert after.acquits_below > after.convicts_above


def test_the_marker_survives_a_restart() -> None:
    """It is part of the state that is saved."""
    engine = judged({})
    saved = engine.dump()
    assert saved["g"]["d"]["rule.by_price"] is True
    again = Engine(engine.rule)
    again.load(saved)
    assert again.dump()["g"]["d"]["rule.by_price"] is True


NEUTRAL = {"convicting_tail": 1.0, "convicting_z": 0.0}
"""The rule before these numbers were added."""


def alike(failed: list[int], **numbers: float) -> tuple[Tier, bool]:
    """The verdict on the last of several deployments with 600 calls each, and whether it is out by price."""
    engine = Engine(AdaptivePreset(AdaptiveParameters(**numbers)))  # type: ignore[arg-type]
    names = [DeploymentKey(f"d{place}") for place in range(len(failed))]
    engine.observe_peers("g", names, START, prices=dict.fromkeys(names, 1.0))
    for name, bad in zip(names, failed, strict=True):
        counts = {CounterKind.ANSWERED: 600, CounterKind.OFFERED: 600, CounterKind.CALLED: 600}
        engine.add("g", name, {**counts, CounterKind.SCHEMA_MISMATCH: bad}, {}, START)
    engine.recompute(START + 7200)
    verdict = engine.snapshot.groups["g"].verdicts[names[-1]]
    chosen = verdict.reasons[0].strictness
    return verdict.tier, chosen is not None and chosen.by_price


def test_chance_convicts_nobody_by_price() -> None:
    """Ten that fail 3 %, some less by chance and one more: each of both numbers spares it, and both spare more."""
    by_chance, more = [9, 10, 13, 16, 18, 18, 20, 21, 23, 32], [9, 10, 13, 16, 18, 18, 20, 21, 23, 36]
    for failed in (by_chance, more):
        assert alike(failed, **NEUTRAL, phi_start=1.0) == (Tier.DERANKED, True)
        assert alike(failed, phi_start=1.0)[0] is not Tier.DERANKED
    for name, neutral in NEUTRAL.items():
        assert alike(by_chance, **{name: neutral}, phi_start=1.0)[0] is not Tier.DERANKED


def test_a_clear_break_needs_no_more_failures() -> None:
    """Just enough failures at the usual threshold derank, whatever the price's threshold asks for."""
    clear = next(bad for bad in range(600) if alike([1] * 9 + [bad], bad_call_price=0.0)[0] is Tier.DERANKED)
    assert alike([1] * 9 + [clear]) == (Tier.DERANKED, False)


@pytest.mark.parametrize("lacking", [5, 2])
def test_older_rules_have_neutral_numbers(lacking: int) -> None:
    """A rule on record without the numbers judges as it did."""
    neutral = {"bad_call_price": 0.0, "max_cost_premium": None, "convicting_floor": 1.0, **NEUTRAL}
    plain = preset_as_plain(AdaptivePreset())
    for name in list(neutral)[-lacking:]:
        del plain["rule"][name]
    rule = preset_as_plain(preset_of_plain(plain))["rule"]
    assert [rule[name] for name in list(neutral)[-lacking:]] == list(neutral.values())[-lacking:]


@pytest.mark.parametrize("premium", [1.0, 1.1, 1.5])
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_premium_is_never_exceeded(premium: float, seed: int) -> None:
    """Whatever is asked: the mean price stays within the premium or does not rise, and enough hosts stay."""
    draw = np.random.default_rng(seed)
    shape = (6, 8)
    weight, price = draw.lognormal(size=shape), draw.lognormal(size=shape)
    price /= (weight * price).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    shares = PriceShares(price, weight, np.full(shape, np.inf), np.zeros((6, 1)))
    staying = draw.random(shape) < 0.8
    asked, held = staying & (draw.random(shape) < 0.4), np.zeros(shape, np.bool_)
    held = staying & ~asked & (draw.random(shape) < 0.3)
    out = affordable(shares, staying, asked, held, draw.random(shape), premium)
    assert not (out & ~(asked | held)).any()
    before, after = shares.mean_price(staying), shares.mean_price(staying & ~out)
    assert (after <= np.maximum(before, premium) + 1e-9).all()
    left = (staying & ~out).sum(axis=1)
    assert (left[out.any(axis=1)] >= LEAST_HOSTS).all()

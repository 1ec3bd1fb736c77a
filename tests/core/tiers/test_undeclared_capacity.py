"""What refused attempts teach about capacity, and the convictions by price that give way."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Reason, ReasonCode, Signal, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.windows.increments import CounterKind
from tests.support.adaptive_fleets import Fleet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Verdict

HOUR_S = 3600.0
BEST, SECOND, MILD, WORSE, OUTLIER = (f"d{number}" for number in range(5))
RATES = [0.0, 0.002, 0.04, 0.045, 0.2]


def fleet_of(rule: AdaptiveParameters | None = None) -> Fleet:
    """Five deployments with enough calls for verdicts: two good, two out by price, and an outlier."""
    fleet = Fleet(RATES, rule=AdaptivePreset(rule or AdaptiveParameters()))
    for _ in range(36):
        minute(fleet)
    return fleet


def minute(fleet: Fleet, refused: int = 0, answered: int = 200) -> None:
    """A minute's traffic, in which ``BEST`` answers and refuses this much; a recompute after 5 minutes."""
    for name, rate in zip(fleet.names, RATES, strict=True):
        calls = answered if name == BEST else 200
        fleet.feed(name, calls, round(calls * rate))
    if refused:
        fleet.engine.add(
            "g", DeploymentKey(BEST), {CounterKind.FAILED: refused, CounterKind.REFUSED: refused}, {}, fleet.now
        )
    fleet.judge()


def verdicts(engine: Engine) -> Mapping[DeploymentKey, Verdict]:
    """All that the snapshot says about each deployment."""
    return engine.snapshot.groups["g"].verdicts


def reason(fleet: Fleet, name: str, signal: Signal) -> Reason | None:
    """A verdict's reason of one signal."""
    return next((one for one in verdicts(fleet.engine)[DeploymentKey(name)].reasons if one.signal is signal), None)


def test_without_refusals_the_price_convicts() -> None:
    """The scene of the tests below: nobody refuses, and strictness is in force."""
    fleet = fleet_of()
    assert fleet.tiers == {
        BEST: Tier.VERIFIED_GOOD,
        SECOND: Tier.VERIFIED_GOOD,
        MILD: Tier.DERANKED,
        WORSE: Tier.DERANKED,
        OUTLIER: Tier.DERANKED,
    }


def test_the_mildest_conviction_is_suspended_first() -> None:
    """At the next recompute after refusals, with numbers; then the next one, where that is not enough."""
    fleet = fleet_of()
    # 100 answers a minute while 20 are refused: 80 are safe, of 217 requests a minute with headroom.
    minute(fleet, refused=20, answered=100)
    assert fleet.tiers[MILD] is Tier.INSUFFICIENT_DATA
    assert fleet.tiers[WORSE] is Tier.DERANKED
    assert 0.3 < verdicts(fleet.engine)[DeploymentKey(MILD)].keep_probability < 1.0
    told = reason(fleet, MILD, Signal.REFUSED)
    assert told is not None
    assert (told.code, told.samples, told.window_s) == (ReasonCode.CAPACITY, 120, 300.0)
    assert told.value == pytest.approx(20 / 120)
    carries = reason(fleet, BEST, Signal.CAPACITY)
    assert carries is not None
    assert (carries.code, carries.value, carries.samples) == (ReasonCode.LEARNED_CAPACITY, 100.0, 120)
    calls = reason(fleet, MILD, Signal.TOOL_CALL_SUCCESS)
    assert calls is not None
    assert calls.code is ReasonCode.CAPACITY
    assert calls.value == pytest.approx(0.96, abs=0.005)
    minute(fleet, refused=20, answered=20)
    assert fleet.tiers[WORSE] is Tier.INSUFFICIENT_DATA
    assert fleet.tiers[OUTLIER] is Tier.DERANKED


@pytest.mark.parametrize(
    ("rule", "refused"),
    [(AdaptiveParameters(refusal_hold_s=0.0), 20), (AdaptiveParameters(capacity_headroom=0.0), 20), (None, 0)],
    ids=["nothing is learned", "no headroom", "no refusals"],
)
def test_what_suspends_nothing(rule: AdaptiveParameters | None, refused: int) -> None:
    """The neutral values, and calm."""
    fleet = fleet_of(rule)
    minute(fleet, refused=refused, answered=100)
    assert fleet.tiers[MILD] is Tier.DERANKED
    assert reason(fleet, MILD, Signal.REFUSED) is None
    learned = reason(fleet, BEST, Signal.CAPACITY) is not None
    assert learned is (refused > 0 and (rule is None or rule.refusal_hold_s > 0))


@pytest.mark.parametrize(("refused", "answered", "learned"), [(1, 0, False), (2, 4, False), (3, 4, True), (1, 5, True)])
def test_few_refusals_beside_few_answers_tell_no_limit(refused: int, answered: int, *, learned: bool) -> None:
    """One refusal after a pause would tell that the deployment carries nothing."""
    fleet = fleet_of()
    minute(fleet, refused=refused, answered=answered)
    assert (reason(fleet, BEST, Signal.CAPACITY) is not None) is learned


def test_a_suspension_ends_slowly() -> None:
    """It stays for the hold and a while, without coming and going, and ends when the limit is forgotten."""
    fleet = fleet_of()
    minute(fleet, refused=20, answered=100)
    tiers = []
    for _ in range(12 * 12):
        minute(fleet)
        tiers.append(fleet.tiers[MILD])
    assert set(tiers[:11]) == {Tier.INSUFFICIENT_DATA}
    changes = sum(one is not other for one, other in pairwise(tiers))
    assert changes <= 1
    assert tiers[-1] is Tier.DERANKED


def test_a_higher_limit_takes_the_place_of_a_lower_one() -> None:
    """The median of what was answered while refusing counts, whatever was learned before."""
    fleet = fleet_of()
    minute(fleet, refused=20, answered=50)
    assert fleet.engine.dump("g")["g"][BEST]["rule.limit"] == 50.0
    minute(fleet, refused=20, answered=400)
    assert fleet.engine.dump("g")["g"][BEST]["rule.limit"] == 50.0
    minute(fleet, refused=20, answered=400)
    assert fleet.engine.dump("g")["g"][BEST]["rule.limit"] == 400.0
    minute(fleet, refused=1, answered=1000)  # a tenth of a percent
    assert fleet.engine.dump("g")["g"][BEST]["rule.limit"] == 400.0


def test_a_limit_that_begins_within_a_minute() -> None:
    """The answers of that minute exceed it; those of the next one do not."""
    fleet = fleet_of()
    minute(fleet, refused=3, answered=147)
    minute(fleet, refused=20, answered=80)
    assert fleet.engine.dump("g")["g"][BEST]["rule.limit"] == 80.0


def test_a_reported_limit_counts_before_any_refusal() -> None:
    """A provider's own header suspends as a refusal does, unless a capacity is declared or more was answered."""

    def suspended(limit: float, capacity: float = math.inf) -> bool:
        fleet = fleet_of()
        given = {DeploymentKey(BEST): capacity} if capacity < math.inf else {}
        keys = tuple(map(DeploymentKey, fleet.names))
        fleet.engine.observe_peers("g", keys, fleet.now, capacities=given, reported={DeploymentKey(BEST): limit})
        minute(fleet)
        return fleet.tiers[MILD] is Tier.INSUFFICIENT_DATA

    assert suspended(60.0)
    assert not suspended(60.0, capacity=1e6)
    assert not suspended(1e6)
    assert not suspended(10.0)  # 40 a minute were answered: no limit of a minute


def test_what_was_learned_is_remembered() -> None:
    """A restart goes on from the saved state: same tiers, same pool."""
    fleet = fleet_of()
    minute(fleet, refused=20, answered=100)
    again = Engine(AdaptivePreset())
    again.observe_peers("g", tuple(map(DeploymentKey, fleet.names)), fleet.now)
    again.load_windows("g", fleet.engine.dump_windows("g"))
    again.load(fleet.engine.dump())
    for engine in (fleet.engine, again):
        engine.recompute(fleet.now + 300)
    assert {name: one.tier for name, one in verdicts(again).items()} == dict(fleet.tiers)
    assert verdicts(again)[DeploymentKey(MILD)].keep_probability == (
        verdicts(fleet.engine)[DeploymentKey(MILD)].keep_probability
    )


def test_a_replaced_deployment_has_no_limit() -> None:
    """A new model behind a name has not refused anything."""
    fleet = fleet_of()
    minute(fleet, refused=20, answered=100)
    fleet.engine.restart("g", DeploymentKey(BEST), fleet.now)
    assert fleet.engine.dump("g")["g"][BEST]["rule.limit"] is None


def test_no_capacity_breaks_nothing() -> None:
    """A deployment that refuses everything, and a clock that goes back."""
    fleet = fleet_of()
    minute(fleet, refused=500, answered=0)
    fleet.now -= 10 * HOUR_S
    for _ in range(3):
        minute(fleet, refused=5)
        for one in verdicts(fleet.engine).values():
            assert 0.0 <= one.keep_probability <= 1.0
    assert np.isfinite([one.keep_probability for one in verdicts(fleet.engine).values()]).all()


def test_a_declared_capacity_takes_the_place_of_a_learned_one() -> None:
    """Operators know better than 40 answers a minute; while it refuses, what they declare bounds its part."""

    def tier_and_capacity(capacity: float) -> tuple[Tier, Reason | None]:
        fleet = fleet_of()
        keys = tuple(map(DeploymentKey, fleet.names))
        given = {DeploymentKey(BEST): capacity}
        fleet.engine.observe_peers("g", keys, fleet.now, capacities=given)
        minute(fleet, refused=20, answered=100)
        return fleet.tiers[MILD], reason(fleet, BEST, Signal.CAPACITY)

    assert tier_and_capacity(math.inf)[0] is Tier.INSUFFICIENT_DATA
    assert tier_and_capacity(1e6) == (Tier.DERANKED, None)
    assert tier_and_capacity(60.0) == (Tier.INSUFFICIENT_DATA, None)

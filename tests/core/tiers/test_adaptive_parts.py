"""The adaptive rule, part by part, on counts that are fed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Mode, Outcome, ReasonCode, Signal, Sort, Tier
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.stats.dispersion import dispersion
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from tests.support.adaptive_fleets import Fleet
from tests.support.fleet_builders import code, fed
from tests.support.samples import answer

GOOD, UNSURE, DERANKED = Tier.VERIFIED_GOOD, Tier.INSUFFICIENT_DATA, Tier.DERANKED


def test_the_design_effect_of_independent_and_of_clustered_calls() -> None:
    """About 1 for independent calls, 8 where eight calls share their fate; a break does not look like that."""
    draw = np.random.default_rng(5)
    calls = np.full((48, 200), 160)
    for bad, expected in (
        (draw.binomial(160, 0.03, (48, 200)), 1.0),
        (8 * draw.binomial(20, 0.03, (48, 200)), 8.0),
        (draw.binomial(160, np.where(np.arange(48) < 24, 0.01, 0.25)[:, np.newaxis], (48, 200)), 1.0),
    ):
        total, pairs = dispersion(calls, bad)
        assert total.sum() / pairs.sum() == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize("failed", [40, 400, 4000])
def test_one_caller_cannot_derank(failed: int) -> None:
    """However many of its 4,000 calls fail beside 400 good ones of others; the deployment even stays verified."""
    fleet = Fleet([0.0, 0.0])
    fleet.feed("d0", 400, 0)
    fleet.feed("d1", 400, 0)
    fleet.feed("d1", 4000, failed, caller=3)
    assert fleet.judge() == {"d0": GOOD, "d1": GOOD}
    assert fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey("d1")].reasons[0].samples < 900


def test_two_callers_can_derank_and_a_lone_one_too() -> None:
    """A deployment that fails for everybody is found whatever the callers' sizes; a lone key counts in full."""
    fleet = Fleet([0.0] * 3)
    fleet.feed("d0", 400, 0)
    fleet.feed("d1", 300, 75, caller=3)
    fleet.feed("d1", 100, 25, caller=4)
    fleet.feed("d2", 400, 100)
    assert fleet.judge() == {"d0": GOOD, "d1": DERANKED, "d2": DERANKED}
    lone = Fleet([0.0, 0.0])
    lone.feed("d0", 400, 0, caller=3)
    lone.feed("d1", 400, 80, caller=3)
    assert lone.judge()["d1"] is DERANKED


def test_hard_requests_raise_a_threshold() -> None:
    """A deployment with the hard requests is compared with what they do elsewhere."""
    fleet = Fleet([0.0] * 4)
    for name in fleet.names:
        hard = 900 if name == "d0" else 100
        fleet.feed(name, hard, hard // 10, complexity=3)
        fleet.feed(name, 1000 - hard, 0, complexity=0)
    assert fleet.judge()["d0"] is not DERANKED
    flat = Fleet([0.0] * 4, rule=AdaptivePreset(AdaptiveParameters(case_mix_min=1.0, case_mix_max=1.0)))
    for name in flat.names:
        flat.feed(name, 1000, 90 if name == "d0" else 10)
    assert flat.judge()["d0"] is DERANKED


def test_declared_capacity_spares_the_best_of_the_bad() -> None:
    """The rest must be able to take the traffic; without declarations everybody may be deranked."""
    counts = [(600, 0), (600, 60), (600, 200)]
    assert list(fed(*counts).tiers.values()) == [GOOD, DERANKED, DERANKED]
    fleet = fed(*counts, capacities={"d0": 90.0, "d1": 100.0, "d2": 100.0})
    assert list(fleet.tiers.values()) == [GOOD, UNSURE, DERANKED]
    assert code(fleet, "d1") is ReasonCode.CAPACITY
    group = fleet.engine.snapshot.groups["g"]
    assert group.merge_tiers
    carried = group.verdicts[DeploymentKey("d1")].keep_probability
    assert 132 * carried / 2 == pytest.approx(132 - 90)  # of 120 requests a minute and a tenth more


def test_one_that_can_take_nothing_is_not_spared() -> None:
    """A declared capacity of 0 helps nobody; without any traffic nobody is needed."""
    counts = [(600, 0), (600, 60), (600, 200)]
    fleet = fed(*counts, capacities={"d0": 1.0, "d1": 0.0, "d2": 0.0})
    assert list(fleet.tiers.values()) == [GOOD, DERANKED, DERANKED]
    fleet = fed(*counts, capacities={"d0": 1.0})
    assert fleet.tiers["d1"] is UNSURE
    assert fleet.judge(2 * 3600.0)["d1"] is DERANKED


def test_good_and_insufficient_share_until_good_covers() -> None:
    """A cold start does not give all traffic to whoever is measured first; 40 % of the weight ends the sharing."""
    counts = [(300, 0), (300, 0), (10, 0), (10, 0), (10, 0), (10, 0)]
    fleet = fed(*counts)
    group = fleet.engine.snapshot.groups["g"]
    assert group.merge_tiers
    assert 0.2 < group.verdicts[DeploymentKey("d2")].keep_probability < 0.9
    fleet.engine.observe_peers(
        "g",
        tuple(map(DeploymentKey, fleet.names)),
        fleet.now,
        weights={DeploymentKey(name): 9 if name in ("d0", "d1") else 4 for name in fleet.names},
    )
    fleet.judge()
    assert not fleet.engine.snapshot.groups["g"].merge_tiers


def probing_fleet() -> Fleet:
    """Two good ones that carry the traffic, and one that is deranked and due for a burst."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500))
    fleet.now += 3 * 3600.0
    for name in fleet.names[:2]:
        fleet.feed(name, 500, 0)
    fleet.judge()
    return fleet


ASK = RoutingRequest(
    "g", [Candidate(LiteLLMId(f"d{n}"), DeploymentKey(f"d{n}")) for n in range(3)], Policy(), tools=True
)


def test_a_burst_is_short_and_ends_at_the_first_failure() -> None:
    """20 probes at most until the next recompute, and none after one came back bad."""
    fleet = probing_fleet()
    verdict = fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey("d2")]
    assert (verdict.probe_budget, verdict.probe_faults) == (20, 1)
    assert 0 < verdict.probe_share <= 0.10
    for bad, most in ((False, 20), (True, 1)):
        fleet = probing_fleet()
        probes = 0
        for _ in range(20_000):
            decision = fleet.engine.decide(ASK, fleet.draw.random)
            if decision.explored:
                assert (decision.pool, decision.reason, decision.applied) == (("d2",), "probe", True)
                probes += 1
                outcome = Outcome.INVALID_JSON if bad else Outcome.VALID
                fleet.engine.record(answer("d2", fleet.now, outcome, probe=True))
        assert probes == most


def test_probes_stay_within_their_share() -> None:
    """Whatever is wanted, the share of the requests holds from the first request on."""
    fleet = fed((300, 0), (300, 0), (300, 0), (300, 0), (10, 0))
    ask = RoutingRequest(
        "g", [Candidate(LiteLLMId(name), DeploymentKey(name)) for name in fleet.names], Policy(), tools=True
    )
    explored = [fleet.engine.decide(ask, fleet.draw.random).explored for _ in range(3000)]
    assert 0 < sum(explored) <= 0.02 * 3000 + 3


@pytest.mark.parametrize(
    "more",
    [
        {"policy": Policy(Sort.EXACTO, explicit=True)},
        {"policy": Policy(Sort.PRICE, explicit=True)},
        {"policy": Policy(Sort.ORDER, explicit=True)},
        {"mode": Mode.OBSERVE},
        {"mode": Mode.OFF},
        {"in_share": False},
        {"tried": ("d0",)},
        {"tools": False},
    ],
)
def test_who_is_never_a_probe(more: dict[str, object]) -> None:
    """Explicit wishes, retries, requests without tools and wherever tiers are not applied."""
    fleet = probing_fleet()
    settings: dict[str, object] = {"policy": Policy(), "tools": True} | more
    ask = RoutingRequest("g", ASK.candidates, **settings)  # type: ignore[arg-type]
    assert not any(fleet.engine.decide(ask, lambda: 0.0).explored for _ in range(50))


def test_a_weight_of_0_keeps_probes_away() -> None:
    """Whom the operator's strategy never picks is not probed either, neither in bursts nor for lack of data."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500), (0, 0), share=0.2)
    for weight, probed in ((1.0, {"d2", "d3"}), (0.0, set())):
        weights = {
            DeploymentKey("d0"): 9.0,
            DeploymentKey("d1"): 9.0,
            DeploymentKey("d2"): weight,
            DeploymentKey("d3"): weight,
        }
        fleet.engine.observe_peers("g", tuple(map(DeploymentKey, fleet.names)), fleet.now, weights=weights)
        fleet.now += 3 * 3600.0
        for name in fleet.names[:2]:
            fleet.feed(name, 500, 0)
        fleet.judge()
        verdicts = fleet.engine.snapshot.groups["g"].verdicts
        assert {name for name, verdict in verdicts.items() if verdict.probe_share > 0} == probed


def test_no_share_no_probes() -> None:
    """An exploration share of 0 means never."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500), share=0.0)
    fleet.judge(4 * 3600.0)
    assert {verdict.probe_share for verdict in fleet.engine.snapshot.groups["g"].verdicts.values()} == {0.0}


def test_failed_bursts_double_the_pause() -> None:
    """3 hours to the first, then 6, then 12 and no more."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500))
    begun: list[float] = []
    for _ in range(12 * 50):
        for name in fleet.names[:2]:
            fleet.feed(name, 100, 0)
        if fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey("d2")].probe_share > 0:
            begun.append(fleet.now)
            fleet.feed("d2", 5, 3)
        fleet.judge()
    pauses = np.diff(begun) / 3600
    assert pauses.tolist() == pytest.approx([6.0, 12.0, 12.0, 12.0], abs=0.3)


@pytest.mark.parametrize("speeds", [[60, 60, 60, 14], [500, 450, 60, 80, 70]])
def test_throughput_on_the_log_scale(speeds: list[int]) -> None:
    """A quarter of the others' speed is abnormal; two fast ones among normal ones make nobody slow."""
    fleet = Fleet([0.0] * len(speeds))
    for number in range(100):
        for name, speed in zip(fleet.names, speeds, strict=True):
            fleet.engine.record(
                answer(name, fleet.now - 60 * number, None, output_tokens=200, duration_s=200 / speed, streamed=True)
            )
    fleet.judge()
    slow = [name for name in fleet.names if fleet.tiers[name] is DERANKED]
    assert slow == (["d3"] if len(speeds) == 4 else [])
    if slow:
        assert code(fleet, "d3", Signal.THROUGHPUT) is ReasonCode.BELOW_THRESHOLD
        for number in range(40):
            fleet.engine.record(
                answer("d3", fleet.now + 3500 + number, None, output_tokens=200, duration_s=3.0, streamed=True)
            )
        assert fleet.judge(2 * 3600.0)["d3"] is not DERANKED


def test_propensity_is_observed_and_deranks_by_setting() -> None:
    """A tenth of the others' share of answers with tool calls is a reason to see, and a derank only when asked for."""
    for deranks in (False, True):
        fleet = Fleet([0.0] * 4, rule=AdaptivePreset(AdaptiveParameters(propensity_deranks=deranks)))
        for number in range(600):
            for name in fleet.names:
                called = number % (20 if name == "d3" else 2) == 0
                fleet.engine.record(answer(name, fleet.now, Outcome.VALID if called else None))
        fleet.judge()
        assert code(fleet, "d3", Signal.PROPENSITY) is ReasonCode.BELOW_THRESHOLD
        assert (fleet.tiers["d3"] is DERANKED) is deranks


def test_a_change_of_preset_keeps_what_was_concluded() -> None:
    """From the published rule and back, deranked stays deranked until something is measured."""
    fleet = fed(*[(300, 0)] * 4, (300, 90), rule=OpenRouterParameters())
    assert fleet.tiers["d4"] is DERANKED
    fleet.engine.rule = AdaptivePreset()
    assert fleet.judge()["d4"] is DERANKED
    fleet.engine.rule = AdaptivePreset(AdaptiveParameters(peer_cap=0.03))
    assert fleet.judge()["d4"] is DERANKED


@pytest.mark.parametrize(
    "wrong",
    [
        {"phi_max": 0.5},
        {"good_tail": 0.7},
        {"cover": 1.1},
        {"derank_calls": 0},
        {"ttl_s": float("inf")},
        {"burst_faults": 10**30},
    ],
)
def test_numbers_out_of_range_are_named(wrong: dict[str, float]) -> None:
    """A bad number stops the start and says which it was."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdaptiveParameters(**wrong)  # type: ignore[arg-type]

"""The adaptive rule, part by part, on counts that are fed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from exacto_plugin.core.adaptive import AdaptivePreset, AdaptiveRule
from exacto_plugin.core.callers import concentration
from exacto_plugin.core.evidence import calls_and_bad, surprises
from exacto_plugin.core.model import Candidate, Mode, Outcome, ReasonCode, Signal, Sort, Tier
from exacto_plugin.core.ordering import Ask
from exacto_plugin.core.policy import Policy
from exacto_plugin.core.published import PublishedRule
from tests.core.fleets import Fleet
from tests.core.samples import answer

GOOD, UNSURE, DERANKED = Tier.VERIFIED_GOOD, Tier.INSUFFICIENT_DATA, Tier.DERANKED


def fed(*counts: tuple[int, int], **more: object) -> Fleet:
    """A fleet that was fed calls and failures once and judged."""
    fleet = Fleet([0.0] * len(counts), **more)  # type: ignore[arg-type]
    for name, (calls, failed) in zip(fleet.names, counts, strict=True):
        fleet.feed(name, calls, failed)
    fleet.judge()
    return fleet


def code(fleet: Fleet, name: str, signal: Signal = Signal.TOOL_CALL_SUCCESS) -> ReasonCode:
    """Why a deployment has its tier."""
    verdict = fleet.engine.snapshot.groups["g"].verdicts[name]
    return next(reason.code for reason in verdict.reasons if reason.signal is signal)


@pytest.mark.parametrize(
    ("counts", "tiers", "codes"),
    [
        pytest.param([(300, 0), (300, 75)], [GOOD, DERANKED], "within below", id="two, one bad"),
        pytest.param([(300, 0), (300, 3), (300, 75)], [GOOD, GOOD, DERANKED], "within within below", id="three"),
        pytest.param([(300, 75), (300, 75)], [UNSURE, UNSURE], "undecided undecided", id="equally bad"),
        pytest.param([(300, 0), (0, 0)], [UNSURE, UNSURE], "peers samples", id="nobody to compare with"),
        pytest.param([(300, 0), (40, 0)], [UNSURE, UNSURE], "peers samples", id="too few to be a peer"),
        pytest.param([(300, 0), (19, 19)], [UNSURE, UNSURE], "peers samples", id="too few to derank"),
        pytest.param([(300, 0), (20, 20)], [UNSURE, DERANKED], "peers below", id="enough to derank"),
        pytest.param([(300, 0), (300, 15)], [GOOD, UNSURE], "within undecided", id="neither convicted nor acquitted"),
    ],
)
def test_verdicts(counts: list[tuple[int, int]], tiers: list[Tier], codes: str) -> None:
    """What a single look at fresh deployments says, with the reason for it."""
    names = {
        "within": ReasonCode.WITHIN_THRESHOLD,
        "below": ReasonCode.BELOW_THRESHOLD,
        "undecided": ReasonCode.UNDECIDED,
        "samples": ReasonCode.TOO_FEW_SAMPLES,
        "peers": ReasonCode.TOO_FEW_PEERS,
    }
    fleet = fed(*counts)
    assert list(fleet.tiers.values()) == tiers
    assert [code(fleet, name) for name in fleet.names] == [names[each] for each in codes.split()]


def test_a_majority_of_bad_ones_is_deranked() -> None:
    """Ten bad ones of fourteen: the cap above the second-best peer finds them where a median cannot."""
    fleet = fed(*[(400, 1)] * 4, *[(400, 80)] * 10)
    assert list(fleet.tiers.values()) == [GOOD] * 4 + [DERANKED] * 10


def test_the_strict_cap_finds_what_the_default_leaves() -> None:
    """5 points above the best peers hold under the default, and not under a cap of 3 points."""
    counts = [(3000, 0), (3000, 0), (3000, 0), *[(3000, 140)] * 4]
    assert fed(*counts).tiers["d6"] is not DERANKED
    assert fed(*counts, rule=AdaptivePreset(AdaptiveRule(peer_cap=0.03))).tiers["d6"] is DERANKED


def test_nobody_above_the_absolute_ceiling_is_verified() -> None:
    """All alike at 25 %: nobody is deranked, and nobody is good."""
    assert set(fed(*[(2000, 500)] * 6).tiers.values()) == {UNSURE}


def test_parts_of_a_failure_and_what_is_apart() -> None:
    """Bad JSON, unknown names, schema mismatches and lost calls fail; unscored and pinned ones do not count."""
    called, json, name, schema, lost, pinned, pinned_bad = (np.array([n]) for n in (100, 3, 4, 5, 6, 20, 2))
    calls, bad = calls_and_bad(np.array([called, json, name, schema, lost, pinned, pinned_bad]))
    assert (calls[0], bad[0]) == (100 + 6 - 20, 3 + 4 + 5 + 6 - 2)


@pytest.mark.parametrize("how", ["invalid_json", "unknown_name", "schema_mismatch", "lost"])
def test_every_kind_of_failure_deranks(how: str) -> None:
    """Sample by sample, through the engine."""
    fleet = Fleet([0.0, 0.0])
    for number in range(120):
        at = fleet.now + number
        bad = answer("d1", at, None, lost=True) if how == "lost" else answer("d1", at, Outcome(how))
        for sample in (answer("d0", at), bad if number % 2 else answer("d1", at)):
            fleet.engine.record(sample)
    assert fleet.judge()["d1"] is DERANKED


def test_pinned_traffic_convicts_nobody() -> None:
    """Who pins a deployment is no random sample of the requests."""
    fleet = Fleet([0.0, 0.0])
    for number in range(120):
        fleet.engine.record(answer("d0", fleet.now + number))
        fleet.engine.record(answer("d1", fleet.now + number, Outcome.INVALID_JSON, routed=False))
    assert fleet.judge() == {"d0": UNSURE, "d1": UNSURE}


def test_a_verified_deployment_keeps_its_tier_until_its_calls_are_gone() -> None:
    """Neither doubt nor a quiet spell takes it away; fewer than 12 calls in the time to live do."""
    fleet = fed((300, 0), (300, 0))
    fleet.feed("d0", 100, 6)
    assert fleet.judge()["d0"] is GOOD
    assert fleet.judge(70 * 3600.0)["d0"] is GOOD
    assert fleet.judge(3 * 3600.0)["d0"] is UNSURE


def test_a_derank_starts_a_new_epoch_and_fresh_calls_end_it() -> None:
    """A repaired deployment comes back on 150 calls times the design effect, its failures notwithstanding."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500))
    assert fleet.tiers["d2"] is DERANKED
    fleet.feed("d2", 60, 0)
    assert fleet.judge()["d2"] is DERANKED
    for _ in range(5):
        fleet.feed("d2", 60, 0)
        fleet.judge()
    assert fleet.tiers["d2"] is GOOD
    assert fleet.transitions[-1].reasons[0].code is ReasonCode.READMITTED


def test_failures_before_the_freshest_calls_do_not_keep_a_repaired_one_out() -> None:
    """A bad burst, then a repair: only the most recent calls count."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500))
    fleet.feed("d2", 100, 30)
    fleet.judge()
    for _ in range(6):
        fleet.feed("d2", 60, 0)
        fleet.judge()
    assert fleet.tiers["d2"] is GOOD


def test_deranked_ones_keep_their_rate_in_the_reference() -> None:
    """When their calls are too old to count, those who are left are not measured against each other alone."""
    counts = [(900, 0), (900, 0), (900, 27), (900, 27), (900, 27), *[(900, 270)] * 4]
    fleet = fed(*counts)
    before = [fleet.engine.snapshot.groups["g"].verdicts[name].reasons[0].threshold for name in fleet.names[:5]]
    for _ in range(8):
        fleet.now += 10 * 3600.0
        fleet.engine.observe_peers("g", fleet.names, fleet.now)
        fleet.engine.recompute(fleet.now)
    for name, (calls, failed) in zip(fleet.names[:5], counts, strict=False):
        fleet.feed(name, calls, failed)
    fleet.judge()
    after = [fleet.engine.snapshot.groups["g"].verdicts[name].reasons[0].threshold for name in fleet.names[:5]]
    assert after == pytest.approx(before, abs=0.005)
    assert list(fleet.tiers.values())[5:] == [DERANKED] * 4


def test_a_sudden_improvement_restarts_the_evidence() -> None:
    """A poor but not convicted deployment that is repaired is verified on what came after."""
    fleet = fed((3000, 120), (3000, 120), (3000, 200))
    assert fleet.tiers["d2"] is UNSURE
    fleet.now += 3 * 3600.0
    for name in fleet.names[:2]:
        fleet.feed(name, 1000, 40)
    fleet.feed("d2", 1000, 0)
    assert fleet.judge()["d2"] is GOOD
    assert code(fleet, "d2") is ReasonCode.EVIDENCE_RESTARTED


def test_a_new_fingerprint_restarts_the_evidence() -> None:
    """Another model behind the same id has insufficient data, whatever the old one had."""
    fleet = fed((300, 0), (300, 75))
    for mark in ("old", "old", "new"):
        fleet.engine.observe_peers("g", fleet.names, fleet.now, fingerprints={"d1": mark})
        assert fleet.judge()["d1"] is (UNSURE if mark == "new" else DERANKED)


def test_one_that_was_away_is_known_by_its_fingerprint() -> None:
    """Who comes back as it was has its evidence still; who comes back as another one has not."""
    for mark, tier in (("old", DERANKED), ("new", UNSURE)):
        fleet = fed((300, 0), (300, 75))
        fleet.engine.observe_peers("g", fleet.names, fleet.now, fingerprints={"d1": "old"})
        for served in (["d0"], []):
            fleet.engine.observe_peers("g", served, fleet.now)
            fleet.engine.recompute(fleet.now)
        fleet.engine.observe_peers("g", fleet.names, fleet.now, fingerprints={"d1": mark})
        assert fleet.judge()["d1"] is tier


def test_the_design_effect_of_independent_and_of_clustered_calls() -> None:
    """About 1 for independent calls, 8 where eight calls share their fate; a break does not look like that."""
    draw = np.random.default_rng(5)
    calls = np.full((48, 200), 160)
    for bad, expected in (
        (draw.binomial(160, 0.03, (48, 200)), 1.0),
        (8 * draw.binomial(20, 0.03, (48, 200)), 8.0),
        (draw.binomial(160, np.where(np.arange(48) < 24, 0.01, 0.25)[:, np.newaxis], (48, 200)), 1.0),
    ):
        surprise, pairs = surprises(calls, bad)
        assert surprise.sum() / pairs.sum() == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize("failed", [40, 400, 4000])
def test_one_caller_cannot_derank(failed: int) -> None:
    """However many of its 4,000 calls fail beside 400 good ones of others; the deployment even stays verified."""
    fleet = Fleet([0.0, 0.0])
    fleet.feed("d0", 400, 0)
    fleet.feed("d1", 400, 0)
    fleet.feed("d1", 4000, failed, caller=3)
    assert fleet.judge() == {"d0": GOOD, "d1": GOOD}
    assert fleet.engine.snapshot.groups["g"].verdicts["d1"].reasons[0].samples < 900


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


def test_what_one_caller_counts() -> None:
    """No more than the others together, of the calls and of the failures; a few failures always count."""
    calls = np.array([[100, 0, 0], [50, 50, 0], [300, 50, 50], [10, 10, 10], [10, 10, 10], [0, 0, 0]])
    bad = np.array([[20, 0, 0], [10, 10, 0], [60, 10, 10], [10, 2, 0], [2, 0, 0], [0, 0, 0]])
    factor, factor_bad = concentration(calls.T[np.newaxis], bad.T[np.newaxis], 0.5)
    assert factor[0].tolist() == pytest.approx([0.0, 1.0, 0.5, 1.0, 1.0, 1.0])
    # Of the fourth row's 12 failures the first caller's 10 count as 3.
    assert factor_bad[0].tolist() == pytest.approx([0.0, 1.0, 0.5, 5 / 12, 1.0, 1.0])
    for column in concentration(calls.T[np.newaxis], bad.T[np.newaxis], 1.0):
        assert column[0].tolist() == [1.0] * 6


def test_hard_requests_raise_a_threshold() -> None:
    """A deployment with the hard requests is compared with what they do elsewhere."""
    fleet = Fleet([0.0] * 4)
    for name in fleet.names:
        hard = 900 if name == "d0" else 100
        fleet.feed(name, hard, hard // 10, complexity=3)
        fleet.feed(name, 1000 - hard, 0, complexity=0)
    assert fleet.judge()["d0"] is not DERANKED
    flat = Fleet([0.0] * 4, rule=AdaptivePreset(AdaptiveRule(case_mix_min=1.0, case_mix_max=1.0)))
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
    carried = group.verdicts["d1"].keep_probability
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
    """A cold start does not give all traffic to whoever is measured first; 80 % of the weight ends the sharing."""
    counts = [(300, 0), (300, 0), (10, 0), (10, 0)]
    fleet = fed(*counts)
    group = fleet.engine.snapshot.groups["g"]
    assert group.merge_tiers
    assert 0.2 < group.verdicts["d2"].keep_probability < 0.9
    fleet.engine.observe_peers("g", fleet.names, fleet.now, weights={"d0": 9, "d1": 9, "d2": 1, "d3": 1})
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


ASK = Ask("g", [Candidate(f"d{n}", f"d{n}") for n in range(3)], Policy(), tools=True)


def test_a_burst_is_short_and_ends_at_the_second_failure() -> None:
    """20 probes at most until the next recompute, and none after two came back bad."""
    fleet = probing_fleet()
    verdict = fleet.engine.snapshot.groups["g"].verdicts["d2"]
    assert (verdict.probe_budget, verdict.probe_faults) == (20, 2)
    assert 0 < verdict.probe_share <= 0.02
    for bad, most in ((False, 20), (True, 2)):
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
    ask = Ask("g", [Candidate(name, name) for name in fleet.names], Policy(), tools=True)
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
    ask = Ask("g", ASK.candidates, **settings)  # type: ignore[arg-type]
    assert not any(fleet.engine.decide(ask, lambda: 0.0).explored for _ in range(50))


def test_a_weight_of_0_keeps_probes_away() -> None:
    """Whom the operator's strategy never picks is not probed either, neither in bursts nor for lack of data."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500), (0, 0), share=0.2)
    for weight, probed in ((1.0, {"d2", "d3"}), (0.0, set())):
        weights = {"d0": 9.0, "d1": 9.0, "d2": weight, "d3": weight}
        fleet.engine.observe_peers("g", fleet.names, fleet.now, weights=weights)
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
        if fleet.engine.snapshot.groups["g"].verdicts["d2"].probe_share > 0:
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
        fleet = Fleet([0.0] * 4, rule=AdaptivePreset(AdaptiveRule(propensity_deranks=deranks)))
        for number in range(600):
            for name in fleet.names:
                called = number % (20 if name == "d3" else 2) == 0
                fleet.engine.record(answer(name, fleet.now, Outcome.VALID if called else None))
        fleet.judge()
        assert code(fleet, "d3", Signal.PROPENSITY) is ReasonCode.BELOW_THRESHOLD
        assert (fleet.tiers["d3"] is DERANKED) is deranks


def test_a_change_of_preset_keeps_what_was_concluded() -> None:
    """From the published rule and back, deranked stays deranked until something is measured."""
    fleet = fed(*[(300, 0)] * 4, (300, 90), rule=PublishedRule())
    assert fleet.tiers["d4"] is DERANKED
    fleet.engine.rule = AdaptiveRule()
    assert fleet.judge()["d4"] is DERANKED
    fleet.engine.rule = AdaptiveRule(peer_cap=0.03)
    assert fleet.judge()["d4"] is DERANKED


@pytest.mark.parametrize(
    "wrong", [{"phi_max": 0.5}, {"good_tail": 0.7}, {"cover": 1.1}, {"derank_calls": 0}, {"ttl_s": float("inf")}]
)
def test_numbers_out_of_range_are_named(wrong: dict[str, float]) -> None:
    """A bad number stops the start and says which it was."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdaptiveRule(**wrong)  # type: ignore[arg-type]

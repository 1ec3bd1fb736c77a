"""The adaptive rule at work: properties that hold of any traffic, and short seeded runs of whole fleets."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.windows.increments import CounterKind
from tests.support.adaptive_fleets import Fleet
from tests.support.samples import START, answer, samples, tiers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exacto_plugin.core.model import Sample, Verdict

NAMES = ("a", "b", "c", "d", "e")
GOOD, UNSURE, DERANKED = Tier.VERIFIED_GOOD, Tier.INSUFFICIENT_DATA, Tier.DERANKED


def background() -> list[Sample]:
    """Enough calls for verdicts of all kinds, on top of which anything may come."""
    bad = {"d": 3, "e": 15}
    return [
        answer(
            name,
            START - 60.0 * (number % 100),
            Outcome.INVALID_JSON if number % bad.get(name, 999) == 1 else Outcome.VALID,
        )
        for name in NAMES
        for number in range(150)
    ]


BACKGROUND = background()


def engine_with(recorded: Iterable[Sample]) -> Engine:
    """An engine that has seen some samples of five peers, not judged yet."""
    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", tuple(map(DeploymentKey, NAMES)), START - 8000)
    for sample in recorded:
        engine.record(sample)
    return engine


def verdicts(engine: Engine) -> dict[DeploymentKey, Verdict]:
    """All that the snapshot says about each deployment."""
    return dict(engine.snapshot.groups["g"].verdicts)


@settings(max_examples=25, deadline=None)
@given(st.lists(samples(), max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(extra: list[Sample], shuffler: object) -> None:
    """The same samples in another order give the same verdicts, numbers included."""
    recorded = BACKGROUND + extra
    other = list(recorded)
    shuffler.shuffle(other)  # type: ignore[attr-defined]
    one, two = engine_with(recorded), engine_with(other)
    for step in range(3):
        assert one.recompute(START + 300 * step).groups.keys() == two.recompute(START + 300 * step).groups.keys()
        assert verdicts(one) == verdicts(two)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(samples(), st.booleans()), max_size=40))
def test_merged_windows_of_two_replicas_are_those_of_one(parts: list[tuple[Sample, bool]]) -> None:
    """Adding up what two replicas counted gives the verdicts of one that counted everything."""
    alone = engine_with(BACKGROUND + [sample for sample, _ in parts])
    here = engine_with(BACKGROUND + [sample for sample, first in parts if first])
    there = engine_with(sample for sample, first in parts if not first)
    here.load_windows("g", there.dump_windows("g"), add=True)
    for engine in (alone, here):
        engine.recompute(START)
    assert verdicts(alone) == verdicts(here)


@settings(max_examples=25, deadline=None)
@given(st.lists(samples(), max_size=40), st.integers(0, 3))
def test_tiers_follow_from_windows_and_memory_alone(extra: list[Sample], recomputes: int) -> None:
    """An engine that is given another one's windows and plain-data memory goes on as that one does."""
    one = engine_with(BACKGROUND + extra)
    for step in range(recomputes):
        one.recompute(START + 300 * step)
    two = Engine(AdaptivePreset())
    two.observe_peers("g", tuple(map(DeploymentKey, NAMES)), START)
    two.load_windows("g", one.dump_windows("g"))
    two.load(json.loads(json.dumps(one.dump())))
    for step in range(recomputes, recomputes + 3):
        one.recompute(START + 300 * step)
        two.recompute(START + 300 * step)
        assert tiers_of(one) == tiers_of(two)
        assert one.dump() == two.dump()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-2e9, 2e9) | st.sampled_from([-86_400.0, -3600.0, 7.0, 300.0, 86_400.0]), max_size=8))
def test_no_jump_of_the_clock_breaks_anything(jumps: list[float]) -> None:
    """Whatever the clock did, recomputes end in sound snapshots, and with fresh calls in the right verdicts."""
    fleet = Fleet([0.0, 0.0, 0.0])
    fleet.now = START
    for jump in [0.0, *jumps]:
        fleet.now = min(max(fleet.now + jump, 1e6), 4e9)
        for name, failed in zip(fleet.names, (0, 0, 100), strict=True):
            fleet.feed(name, 300, failed)
        fleet.judge()
        for verdict in verdicts(fleet.engine).values():
            assert 0.0 <= verdict.keep_probability <= 1.0
            assert 0.0 <= verdict.probe_share <= 0.12
            assert not math.isnan(verdict.probe_budget)
    for _ in range(3):
        for name, failed in zip(fleet.names, (0, 0, 100), strict=True):
            fleet.feed(name, 300, failed)
        fleet.judge()
    assert fleet.tiers["d2"] is DERANKED
    assert fleet.tiers["d0"] is not DERANKED


def test_memory_that_is_not_understood_is_left_out() -> None:
    """Data of another version neither breaks nor convicts."""
    engine = engine_with([])
    engine.load(
        {"g": {"a": {"tier": "unheard of", "since": "x", "rule.tier": 7, "rule.colour": 1, "rule.epoch": None}}}
    )
    engine.recompute(START)
    assert tiers_of(engine)["a"] is UNSURE


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"cause": 6, "level": 3}, (6, 3)),
        ({"cause": 2 + 1024, "level": 300}, (2, 30)),
        ({"cause": 128, "level": 127}, (1, 30)),
        ({"cause": 2**63, "level": -9}, (1, 0)),
        ({"cause": 3.5, "level": None}, (1, 0)),
    ],
)
def test_memory_of_a_version_that_knows_more_is_cut_to_size(told: dict[str, object], kept: tuple[int, int]) -> None:
    """Causes that are not known here, and more failed bursts than are counted, neither stop a recompute nor wrap."""
    engine = engine_with(BACKGROUND)
    engine.load({"g": {"a": {"rule.tier": "deranked", **{f"rule.{name}": value for name, value in told.items()}}}})
    remembered = engine.dump("g")["g"]["a"]
    assert (remembered["rule.cause"], remembered["rule.level"]) == kept
    engine.recompute(START)
    assert 0 <= int(engine.dump("g")["g"]["a"]["rule.level"] or 0) <= 30


@pytest.mark.parametrize("deployments", [2, 3])
@pytest.mark.parametrize(("per_minute", "within_hours"), [(10, 3.0), (100, 0.25)])
def test_two_and_three_deployments(deployments: int, per_minute: int, within_hours: float) -> None:
    """One that fails a quarter of its calls is found in time, and its healthy peers stay."""
    late = 0
    for seed in range(4):
        fleet = Fleet([0.25] + [0.005] * (deployments - 1), seed=seed).serve(per_minute, 4.0, propensity=0.5)
        late += fleet.hours_to("d0", DERANKED) > within_hours
        assert {fleet.tiers[name] for name in fleet.names[1:]} == {GOOD}
        assert all(t.tier is not DERANKED for t in fleet.transitions if t.deployment != "d0")
    assert late <= 1


def test_identical_fleets_are_left_alone() -> None:
    """Thirty model-days of five equal deployments, with the rates at which false alarms are likeliest: none."""
    wrong = 0
    for rate in (0.01, 0.03, 0.08):
        fleet = Fleet([rate] * 5, seed=int(rate * 1000))
        names = [f"model-{number}" for number in range(10)]
        for name in names:
            fleet.engine.observe_peers(name, tuple(map(DeploymentKey, fleet.names)), fleet.now)
        for _ in range(144):
            for model in names:
                for name, calls in zip(fleet.names, fleet.draw.poisson(20, 5).tolist(), strict=True):
                    bad = int(fleet.draw.binomial(calls, rate))
                    counts = {CounterKind.OFFERED: calls, CounterKind.CALLED: calls, CounterKind.SCHEMA_MISMATCH: bad}
                    fleet.engine.add(model, DeploymentKey(name), counts, {}, fleet.now)
            fleet.judge(600.0)
        wrong += sum(transition.tier is DERANKED for transition in fleet.transitions)
    assert wrong == 0


def test_a_break_is_found_and_a_repair_as_well() -> None:
    """At 100 requests a minute: a break within 15 minutes, a repair within a day and a half, probes within 2 %."""
    fleet = Fleet([0.001] * 5 + [0.2] * 2).serve(100, 6.0, propensity=0.5)
    assert [fleet.tiers[name] for name in fleet.names] == [GOOD] * 5 + [DERANKED] * 2
    broke = fleet.now
    fleet.rates[0], fleet.rates[6] = 0.25, 0.0
    fleet.serve(100, 1.0, propensity=0.5)
    assert fleet.hours_to("d0", DERANKED, broke) <= 0.25
    while fleet.tiers["d6"] is DERANKED and fleet.now < broke + 30 * 3600:
        fleet.serve(100, 1.0, propensity=0.5)
    assert fleet.hours_to("d6", GOOD, broke) <= 30.0
    assert fleet.tiers["d5"] is DERANKED
    assert fleet.probes <= 0.02 * fleet.requests


def test_a_cold_start_is_no_worse_than_the_operators_own_order() -> None:
    """With one good deployment measured late, sharing until it can carry the traffic keeps errors below the default."""
    fleet = Fleet([0.15, 0.15, 0.0, 0.0, 0.15]).serve(10, 6.0, propensity=0.5)
    assert fleet.failed / fleet.calls < 0.6 * 0.09

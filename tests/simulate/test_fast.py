"""Fast runs: the same figures as single requests, the same shares and budgets, and refusals of the rest."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.cli.command import main
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Mode, Outcome, Sample, Snapshot
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.routing.probe_budget import ProbeBudget
from exacto_plugin.core.tiers.columns import Block, BlockVerdicts, ProbePlan, TierAssignments
from exacto_plugin.core.windows.speed import SpeedMedians
from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate.fast.probing import FastProbing
from exacto_plugin.simulate.fast.run import run_fast
from exacto_plugin.simulate.fast.shares import block_shares
from exacto_plugin.simulate.fast.traffic import FleetRates, draw_places
from exacto_plugin.simulate.library import load_scenario
from exacto_plugin.simulate.metrics import figures
from exacto_plugin.simulate.pick_shares import shares
from exacto_plugin.simulate.presets import preset_named
from exacto_plugin.simulate.run import RunConfig, run_together
from exacto_plugin.simulate.world import GroundTruth
from tests.support.scenarios import scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.simulate.trace import Trace

REPETITIONS = 12
TOLERANCES = {"none": (0.15, 0.005, 0.0), "openrouter": (0.2, 0.03, 3.0), "adaptive": (0.05, 0.01, 0.4)}
"""Largest difference of the means over 12 runs: bad calls in points, cost, deranks.

About twice the standard error of a difference of such means: a run of ``openrouter`` differs from the next by 0.2
points and 4 deranks (standard deviations), one of ``adaptive`` by 0.1 points and 0.4 deranks, mostly because of its
prices, which both have in common."""


@pytest.mark.parametrize("preset", list(TOLERANCES))
def test_figures_agree_with_single_requests(preset: str) -> None:
    """Bad calls, cost and deranks of the same prices, which differ by repetition.

    All repetitions are judged in one block, which takes half the time of as many runs in three.
    """
    observe_h = 3.0 if preset == "openrouter" else 0.0
    content = load_scenario("glm-5").model_copy(update={"hours": 12.0, "measure_from_h": 3.0, "observe_h": observe_h})
    course = RunConfig(0, REPETITIONS, 300.0, 300.0)

    def means(run: Callable[..., list[Trace]]) -> list[float]:
        (trace,) = run([content], preset_named(preset), course)
        found = figures(trace, content.measure_from_h)
        return [float(np.mean(each)) for each in (found.user_error, found.cost_ratio, found.derank_count)]

    fast, single = means(run_fast), means(run_together)
    for of, other, tolerance, unit in zip(fast, single, TOLERANCES[preset], (100.0, 1.0, 1.0), strict=True):
        assert abs(of - other) * unit <= tolerance, (preset, fast, single)


def test_sessions_and_difficulty_agree_with_single_requests() -> None:
    """Sessions with a common fate, hard tools, lost calls and a little traffic, under the default rule."""
    content = scenario(
        hours=16.0,
        requests_per_minute=30.0,
        session_requests=6,
        icc=0.4,
        day_night=0.5,
        complexity={"shares": [0.5, 0.3, 0.1, 0.1], "error_factors": [0.5, 1, 2, 4]},
        events=[{"at_h": 6, "kind": "change", "provider": "good-0", "lost_rate": 0.01, "every_h": 7}],
        providers=[
            *({"name": f"good-{n}", "error_rate": 0.01, "lost_rate": 0.002, "price": 1.0} for n in range(3)),
            {"name": "bad", "error_rate": 0.04, "price": 0.8, "error_factors": [0, 1, 8, 8]},
        ],
    )
    course = RunConfig(0, 10, 300.0, 300.0)
    fast, single = (
        figures(run([content], preset_named("adaptive"), course)[0], 4.0) for run in (run_fast, run_together)
    )
    assert fast.default_error == pytest.approx(single.default_error, rel=0.02)
    assert fast.user_error.mean() == pytest.approx(single.user_error.mean(), abs=0.004)
    assert fast.derank_count.mean() == pytest.approx(single.derank_count.mean(), abs=0.7)
    assert fast.probe_share.mean() == pytest.approx(single.probe_share.mean(), abs=0.01)


def test_counts_have_the_moments_of_their_distributions() -> None:
    """A session's failures vary as a beta-binomial: calls * rate * (1 - rate) * (1 + (calls - 1) * icc)."""
    content = scenario(session_requests=10, icc=0.3, providers=[{"name": "a", "error_rate": 0.2, "propensity": 1.0}])
    fleet = FleetRates.of([(content, GroundTruth(content, 0, 1))])
    chance = np.random.default_rng(1)
    sums = []
    for _ in range(3000):
        picks, calls = draw_places(chance, fleet, np.array([10]), np.ones((1, 1)), np.zeros(1, np.int64))
        assert picks.item() == len(calls.row) == 10
        assert len(set(calls.caller.tolist())) == 1
        sums.append(int(calls.bad.sum()))
    assert np.mean(sums) == pytest.approx(2.0, abs=0.1)
    assert np.var(sums) == pytest.approx(10 * 0.2 * 0.8 * (1 + 9 * 0.3), rel=0.08)


def test_a_seed_repeats_itself_and_presets_get_the_same_requests() -> None:
    """Equal seeds give equal runs; the number of requests does not depend on the preset."""
    events = [
        {"at_h": 0.5, "kind": "newcomer", "provider": "late", "error_rate": 0.0, "price": 1.0},
        {"at_h": 1.0, "kind": "leave", "provider": "good"},
    ]
    content = scenario(events=events, session_requests=3)
    traces = {
        (preset, seed): run_fast([content], preset_named(preset), RunConfig(seed, 2, 300.0, 300.0))[0]
        for preset in ("none", "adaptive")
        for seed in (0, 1)
    }
    (again,) = run_fast([content], preset_named("adaptive"), RunConfig(1, 2, 300.0, 300.0))
    assert np.array_equal(again.picks, traces["adaptive", 1].picks)
    assert again.changes == traces["adaptive", 1].changes
    assert not np.array_equal(again.picks, traces["adaptive", 0].picks)
    totals = [traces[preset, 1].picks.sum(axis=2) for preset in ("none", "adaptive")]
    assert np.array_equal(*totals)
    assert again.picks[0, :, 3].min() > 0
    assert again.picks[1, :, 0].max() == 0


def test_tiers_are_only_observed_at_first() -> None:
    """Until ``observe_h`` the lottery among all chooses, without probes."""
    content = scenario(observe_h=1.0)
    (trace,) = run_fast([content], preset_named("adaptive"), RunConfig(0, 2, 300.0, 300.0))
    (plain,) = run_fast([content], preset_named("none"), RunConfig(0, 2, 300.0, 300.0))
    assert np.array_equal(trace.picks[0], plain.picks[0])
    assert trace.picks[1, :, 2].sum() < plain.picks[1, :, 2].sum() / 5


def _plan(chance: np.random.Generator, shape: tuple[int, int]) -> ProbePlan:
    keep = np.where(chance.random(shape) < 0.2, np.round(chance.random(shape)), chance.random(shape))
    share, budget = chance.random(shape) * 0.02, chance.random(shape) * 9
    return ProbePlan(chance.random(shape[0]) < 0.7, keep, share, budget, np.ceil(chance.random(shape) * 4))


def test_shares_are_those_of_one_request() -> None:
    """The shares of a whole block equal those of ``pick_shares``, which are tested against the router's decisions."""
    chance = np.random.default_rng(3)
    shape = (60, 5)
    names = [DeploymentKey(f"d{place}") for place in range(shape[1])]
    groups = [f"g{number}" for number in range(shape[0])]
    weight = np.where(chance.random(shape) < 0.8, np.exp(chance.standard_normal(shape)), 0.0)
    weight[:, 0] = 1.0
    found = TierAssignments(chance.integers(0, 3, shape).astype(np.int8), (), _plan(chance, shape))
    picked = block_shares(weight, found)
    places = {name: place for place, name in enumerate(names)}
    block = Block(groups, [places] * shape[0], np.zeros(shape, np.intp), weight > 0, weight, weight, weight)
    unknown = SpeedMedians(np.zeros(shape, np.int64), np.full(shape, np.nan))
    verdicts = BlockVerdicts(block, found, np.zeros(shape), unknown, unknown, 0.0)
    snapshot = Snapshot("1", 0.0, {group: verdicts.group(number) for number, group in enumerate(groups)})
    for number, group in enumerate(groups):
        there = np.flatnonzero(weight[number]).tolist()
        candidates = [Candidate(LiteLLMId(names[place]), names[place]) for place in there]
        ask = RoutingRequest(group, candidates, Policy(), tools=True, mode=Mode.APPLY)
        weights = {LiteLLMId(names[place]): float(weight[number, place]) for place in there}
        one = shares(ask, snapshot, weights)
        assert picked[number, there].tolist() == pytest.approx([one[name] for name in weights], abs=1e-6)
        assert math.fsum(picked[number].tolist()) == pytest.approx(1.0)


def test_probes_are_granted_as_the_budget_grants_them() -> None:
    """Wanted probes of four groups over several intervals, each against ``ProbeBudget``."""
    chance = np.random.default_rng(5)
    shape = (4, 3)
    names = [DeploymentKey(f"d{place}") for place in range(shape[1])]
    fast, slow = FastProbing(shape[0]), ProbeBudget()
    granted_in_all = 0
    for _ in range(6):
        plan = _plan(chance, shape)
        wanted = chance.integers(0, 12, shape[0])
        accruing = chance.random(shape[0]) * 8
        place = chance.integers(0, shape[1], wanted.sum())
        group = np.repeat(np.arange(shape[0]), wanted)
        moment, faulty = np.sort(group + chance.random(len(group))) - group, chance.random(len(group)) < 0.3
        granted = fast.grant(plan, accruing, wanted, (place, moment, faulty))
        snapshot = _snapshot(plan, names)
        slow.reset(snapshot)
        passed = np.zeros(shape[0])
        for probe in range(len(group)):
            number, name = int(group[probe]), names[place[probe]]
            slow.accrue(str(number), float(accruing[number] * (moment[probe] - passed[number])))
            passed[number] = moment[probe]
            assert slow.allows(snapshot, str(number), name) == granted[probe]
            if granted[probe]:
                slow.charge(str(number), name)
                outcome = Outcome.INVALID_JSON if faulty[probe] else Outcome.VALID
                slow.record_result(Sample(str(number), name, 0.0, tools_offered=True, outcome=outcome, probe=True))
        for number in range(shape[0]):
            slow.accrue(str(number), float(accruing[number] * (1.0 - passed[number])))
        granted_in_all += int(granted.sum())
    assert granted_in_all > 20


def _snapshot(plan: ProbePlan, names: list[DeploymentKey]) -> Snapshot:
    shape = plan.share.shape
    found = TierAssignments(np.ones(shape, np.int8), (), plan)
    positions = {name: place for place, name in enumerate(names)}
    groups = [str(number) for number in range(shape[0])]
    everywhere = np.ones(shape)
    block = Block(groups, [positions] * shape[0], np.zeros(shape, np.intp), everywhere > 0, *(everywhere,) * 3)
    unknown = SpeedMedians(np.zeros(shape, np.int64), np.full(shape, np.nan))
    verdicts = BlockVerdicts(block, found, np.zeros(shape), unknown, unknown, 0.0)
    return Snapshot("1", 0.0, {group: verdicts.group(number) for number, group in enumerate(groups)})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hostile": {"share": 0.1}}, "hostile.share"),
        ({"pinned": {"share": 0.1}}, "pinned.share"),
        ({"providers": [{"name": "a", "capacity_rpm": 9.0}]}, "providers.capacity_rpm"),
        ({"providers": [{"name": "a", "refuses_above_rpm": 9.0}]}, "providers.refuses_above_rpm"),
        ({"providers": [{"name": "a", "tokens_per_s": 9.0}]}, "tokens_per_s"),
        ({"events": [{"at_h": 1, "kind": "change", "provider": "good", "tokens_per_s": 9.0}]}, "tokens_per_s"),
    ],
)
def test_what_needs_single_requests_is_refused(changes: dict[str, object], named: str) -> None:
    """The message names the part of the scenario."""
    with pytest.raises(SettingsError, match=f"--fast: {named}"):
        run_fast([scenario(**changes)], preset_named("none"), RunConfig(0, 1, 300.0, 300.0))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``exacto simulate --fast`` prints what it prints without, and refuses a log and odd intervals."""
    brief = ["simulate", "glm-5", "--fast", "--hours", "2", "--reps", "2", "--preset", "adaptive"]
    assert main([*brief, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["presets"]["adaptive"]["user_error"]["mean"] > 0.0
    for wrong, named in ((["--record", "x.jsonl"], "--record"), (["--interval", "700"], "--interval")):
        assert main([*brief, *wrong]) == 2
        assert named in capsys.readouterr().err
    assert main(["simulate", "hostile-caller", "--fast", "--hours", "1"]) == 2
    assert "hostile.share" in capsys.readouterr().err


def test_everything_is_as_wide_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The charts too, of which no hour is left out: two share a character."""
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["simulate", "three", "--fast", "--hours", "60", "--reps", "1", "--preset", "adaptive"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert [len(line.split()[1]) for line in lines if line.strip().startswith("host-b")] == [30]

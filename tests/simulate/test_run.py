"""The simulation: repeatable, driven by the engine, and right where the answer is known."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from exacto_plugin.cli.command import main
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Snapshot
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.tiers.columns import DERANKED, VERIFIED_GOOD, TierAssignments
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters, OpenRouterTierRule
from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate import command
from exacto_plugin.simulate.command import step_for
from exacto_plugin.simulate.library import load_scenario
from exacto_plugin.simulate.metrics import Figures, figures, mean_and_margin, student_975
from exacto_plugin.simulate.presets import NamedPreset, preset_named
from exacto_plugin.simulate.report import Result, render
from exacto_plugin.simulate.run import RunConfig, filled, run_together
from exacto_plugin.simulate.scenario import EventKind, ScenarioEvent
from exacto_plugin.simulate.world import GroundTruth
from tests.support.scenarios import scenario, traced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.simulate.trace import Trace


@pytest.mark.parametrize("preset", ["none", "openrouter", "adaptive"])
def test_a_seed_repeats_itself(preset: str) -> None:
    """The same seed gives the same run, another seed another one."""
    first, again, other = (traced(scenario(), preset, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.picks, again.picks)
    assert first.changes == again.changes
    assert not np.array_equal(first.picks, other.picks)


def test_presets_face_the_same_requests() -> None:
    """Paired seeds: the number of requests of every hour does not depend on the preset."""
    totals = [traced(scenario(), preset).picks.sum(axis=2) for preset in ("none", "openrouter", "adaptive")]
    assert np.array_equal(totals[0], totals[1])
    assert np.array_equal(totals[0], totals[2])


def test_scenarios_that_share_an_engine_do_not_notice() -> None:
    """A scenario runs alike alone and beside another one."""
    alone = traced(scenario(model_group="one"), "adaptive")
    both = [scenario(model_group="one"), scenario(model_group="two", requests_per_minute=20.0)]
    beside, _ = run_together(both, _preset("adaptive"), RunConfig(0, 2))
    assert np.array_equal(alone.picks, beside.picks)
    with pytest.raises(ValueError, match="different model groups"):
        run_together([both[0], both[0]], _preset("none"), RunConfig(0, 2))


class _ContraryJudge(OpenRouterTierRule):
    """Calls the third deployment good and all others bad."""

    def judge(self, block: Block, scores: Mapping[str, BenchmarkScores]) -> TierAssignments:
        """Whatever was measured."""
        judgement = super().judge(block, scores)
        tier = np.full_like(judgement.tier, DERANKED)
        tier[:, 2] = VERIFIED_GOOD
        return TierAssignments(tier, judgement.signals)


@dataclass(frozen=True)
class _ContraryRule:
    learns_capacity = False

    def judge(self) -> _ContraryJudge:
        """Its judge."""
        return _ContraryJudge(OpenRouterParameters())


def test_the_engine_decides() -> None:
    """With a rule that takes the bad one for good, all traffic goes there after the first recompute."""
    (trace,) = run_together([scenario()], NamedPreset("contrary", _ContraryRule()), RunConfig(0, 1))
    assert trace.picks[1, 0].tolist()[:2] == [0.0, 0.0]
    assert trace.picks[1, 0, 2] > 0
    assert [change.tier for change in trace.changes].count("deranked") == 2


def test_default_and_oracle_by_hand() -> None:
    """Equal prices: the default's error is the mean of all, the oracle's that of those within two points."""
    found = figures(traced(scenario(), "none"), 0.0)
    assert found.default_error == pytest.approx([0.43 / 3.0] * 2)
    assert found.oracle_error == pytest.approx([0.015] * 2)
    assert found.user_error == pytest.approx(found.default_error, rel=0.05)
    assert found.cost_ratio == pytest.approx([1.0, 1.0])


def test_weights_are_inverse_squares_of_prices() -> None:
    """Twice the price, a quarter of the traffic; and calls weigh by propensity."""
    providers = [
        {"name": "cheap", "error_rate": 0.1, "price": 1.0, "propensity": 0.25},
        {"name": "dear", "error_rate": 0.0, "price": 2.0, "propensity": 1.0},
    ]
    world = GroundTruth(scenario(providers=providers), 0, 1)
    assert world.default_shares()[0] == pytest.approx([0.8, 0.2])
    found = figures(traced(scenario(providers=providers)), 0.0)
    assert found.default_error == pytest.approx([0.8 * 0.25 * 0.1 / (0.8 * 0.25 + 0.2)] * 2)


def test_rho_makes_bad_providers_cheaper() -> None:
    """With full coupling, prices follow the rank in quality; with none, they are the same whatever the rates."""
    providers = [{"name": str(number), "error_rate": number / 100.0} for number in range(6)]
    coupled = GroundTruth(scenario(providers=providers, prices={"rho": 1.0}), 0, 3).price
    assert (np.diff(coupled, axis=1) < 0.0).all()
    free = GroundTruth(scenario(providers=providers), 0, 3).price
    assert np.array_equal(free, GroundTruth(scenario(providers=providers[::-1]), 0, 3).price)
    assert all(set(row) == set(free[0]) for row in free.tolist())
    assert (free[1:] != free[:-1]).all()


def test_events_change_the_world() -> None:
    """Selectors mean who is meant at that time, and newcomers and leavers come and go."""
    content = scenario(events=[{"at_h": 1, "kind": "newcomer", "provider": "late", "error_rate": 0.0, "price": 9.0}])
    world = GroundTruth(content, 0, 2)
    assert world.present[:, 3].tolist() == [False, False]
    assert [happening.place for happening in world.apply_event(content.events[0])] == [3, 3]
    assert world.present.all()
    dearest = world.apply_event(ScenarioEvent(at_h=2, kind=EventKind.BREAK, provider="@dearest_good"))
    assert [happening.place for happening in dearest] == [3, 3]
    assert world.error_rate[0, 3] == 0.25
    assert [h.place for h in world.apply_event(ScenarioEvent(at_h=2, kind=EventKind.FIX, provider="@worst"))] == [2, 2]
    world.apply_event(ScenarioEvent(at_h=3, kind=EventKind.LEAVE, provider="good"))
    assert world.default_shares()[0, 0] == 0.0


def test_breaks_are_timed_and_deranks_of_good_ones_called_false() -> None:
    """The contrary rule deranks a good one at the first recompute: falsely; and finds its break at once."""
    events = [{"at_h": 0.0, "kind": "break", "provider": "good"}]
    (trace,) = run_together([scenario(events=events)], NamedPreset("contrary", _ContraryRule()), RunConfig(0, 2))
    found = figures(trace, 0.0)
    assert found.detection.found_min == (5.0, 5.0)
    assert found.false_deranks_per_day == pytest.approx([12.0, 12.0])  # "fair", once in two hours


def test_nobody_waits_for_a_bad_newcomer() -> None:
    """A newcomer that is bad, and a fix that mends nothing, are not timed; a good newcomer is."""
    joins = {"at_h": 0.5, "kind": "newcomer", "price": 1.0}
    events = [
        {**joins, "provider": "poor", "error_rate": 0.3},
        {**joins, "provider": "fine", "error_rate": 0.01},
        {"at_h": 0.5, "kind": "fix", "provider": "bad", "error_rate": 0.3},
    ]
    found = figures(traced(scenario(events=events), "adaptive"), 0.0)
    assert (found.newcomer.events, found.readmission.events) == (2, 0)


def test_full_deployments_pass_requests_on() -> None:
    """Who is full is left out; what nobody takes is unserved."""
    ask = RoutingRequest("g", [Candidate(LiteLLMId(name), DeploymentKey(name)) for name in "ab"], Policy(), tools=True)
    nothing = Snapshot("", 0.0)
    served, unserved = filled(
        ask,
        nothing,
        {LiteLLMId("a"): 3.0, LiteLLMId("b"): 1.0},
        {LiteLLMId("a"): 30.0, LiteLLMId("b"): float("inf")},
        100.0,
    )
    assert served == pytest.approx({"a": 0.3, "b": 0.7})
    assert unserved == 0.0
    served, unserved = filled(
        ask, nothing, {LiteLLMId("a"): 3.0, LiteLLMId("b"): 1.0}, {LiteLLMId("a"): 30.0, LiteLLMId("b"): 20.0}, 100.0
    )
    assert served == pytest.approx({"a": 0.3, "b": 0.2})
    assert unserved == pytest.approx(0.5)


def test_limits_hold_in_a_run() -> None:
    """No provider serves more than it can, and the rest is counted as unserved."""
    providers = [{"name": name, "capacity_rpm": 20.0, "price": 1.0} for name in ("a", "b")]
    trace = traced(scenario(providers=providers), "none")
    assert trace.picks.sum(axis=(0, 1)) / 240.0 == pytest.approx([20.0, 20.0], rel=0.1)
    assert figures(trace, 0.0).unserved_share == pytest.approx([1.0 / 3.0] * 2, rel=0.1)


def test_a_provider_refuses_what_is_above_its_limit() -> None:
    """Without a declaration LiteLLM leaves nobody out: what exceeds the limit of a minute ends with the client."""
    providers = [{"name": "a", "refuses_above_rpm": 10.0, "price": 1.0}, {"name": "b", "price": 1.0}]
    trace = traced(scenario(providers=providers), "none")
    assert trace.picks[..., 0].sum(axis=0) / 120.0 == pytest.approx([10.0] * 2, rel=0.1)
    assert figures(trace, 0.0).unserved_share == pytest.approx([1.0 / 3.0] * 2, rel=0.1)


class Refusals(NamedTuple):
    """What `exacto simulate undeclared` measured: unserved shares by preset."""

    by_repetition: dict[str, list[float]]
    told: dict[str, float]
    """Their means, as the command prints them."""


@pytest.fixture(scope="module")
def undeclared() -> Refusals:
    """The last six of 30 hours; a preset takes several seconds."""
    presets = ["none", "adaptive", "adaptive,refusal_hold_s=0"]
    measured: list[Figures] = []

    def kept(trace: Trace, from_h: float) -> Figures:
        measured.append(figures(trace, from_h))
        return measured[-1]

    arguments = ["simulate", "undeclared", "--hours", "30", "--reps", "2", "--json", "--preset", *presets]
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patched:
        patched.setattr(command, "figures", kept)
        assert main(arguments) == 0
    shares = {preset: found.unserved_share.tolist() for preset, found in zip(presets, measured, strict=True)}
    told = json.loads(printed.getvalue())["presets"]
    return Refusals(shares, {preset: float(told[preset]["unserved_share"]["mean"]) for preset in presets})


def test_strictness_does_not_end_in_refusals(undeclared: Refusals) -> None:
    """The best host of ``undeclared`` carries 40 % of the demand: at most a tenth of a point more 429s than default."""
    default, learned, without = (max(shares) for shares in undeclared.by_repetition.values())
    assert learned <= default + 0.001
    assert without > default + 0.01  # what is learned makes the difference


def test_the_command_simulates_refusals_by_the_minute(undeclared: Refusals) -> None:
    """`exacto simulate undeclared`: hardly a 429, and fewer than when no limit is learned."""
    _, learned, without = undeclared.told.values()
    assert learned <= 0.002
    assert without > learned + 0.01


@pytest.mark.parametrize(
    ("changes", "interval_s", "step_s"),
    [
        ({}, 300.0, 300.0),
        ({}, 10.0, 10.0),
        ({}, 450.0, 225.0),
        ({}, 3600.0, 300.0),
        ({"providers": [{"name": "a", "refuses_above_rpm": 10.0}]}, 300.0, 60.0),
        ({"providers": [{"name": "a", "tokens_per_s": 10.0}]}, 300.0, 60.0),
        ({"events": [{"at_h": 1.0, "kind": "change", "provider": "bad", "tokens_per_s": 9.0}]}, 300.0, 60.0),
    ],
)
def test_a_step_is_as_short_as_the_rules_need(changes: dict[str, Any], interval_s: float, step_s: float) -> None:
    """Answers of a step are of one minute: by the minute where one matters, else within the shortest window."""
    assert step_for(scenario(**changes), interval_s) == step_s


def test_limits_need_whole_minutes() -> None:
    """The message says which part of the scenario needs them."""
    content = scenario(providers=[{"name": "a", "refuses_above_rpm": 10.0}])
    with pytest.raises(SettingsError, match=r"--interval: got 90, .*refuses_above_rpm"):
        step_for(content, 90.0)


def test_sessions_share_their_fate() -> None:
    """With a correlation of 1 the calls of a session fail together: the count of failures varies 8 times as much."""
    from exacto_plugin.simulate.probing import Probing
    from exacto_plugin.simulate.traffic import TrafficGenerator

    content = scenario(session_requests=8, icc=1.0, providers=[{"name": "a", "error_rate": 0.5, "propensity": 1.0}])
    world, traffic = GroundTruth(content, 0, 1), TrafficGenerator(content, ("a",))
    failed = []
    for seed in range(400):
        chance = np.random.default_rng(seed)
        requests = traffic.requests(chance, 1, 0.0, 60.0)
        answers = traffic.answers(chance, requests, world, np.ones((1, 1)), Probing(["g"], [DeploymentKey("a")]))
        failed.append(answers.bad.sum() - 0.5 * len(answers.bad))
    assert np.var(failed) / (0.25 * 60.0) == pytest.approx(8.0, rel=0.25)


def test_pinned_and_hostile_traffic_is_left_out_of_the_figures() -> None:
    """Nobody can route a pinned caller, and a hostile one's failures are its own."""
    content = scenario(pinned={"share": 0.3, "provider": "bad"}, hostile={"share": 0.2, "error_rate": 1.0})
    trace = traced(content)
    assert figures(trace, 0.0).user_error == pytest.approx([0.43 / 3.0] * 2, rel=0.05)
    assert trace.picks.sum() == pytest.approx(0.5 * 60.0 * 120.0 * 2, rel=0.05)


def test_margins_are_students() -> None:
    """The 97.5 % points are those of the tables, and the margin is theirs."""
    known = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 7: 2.365, 11: 2.201, 29: 2.045}
    for freedom, point in known.items():
        assert student_975(freedom) == pytest.approx(point, rel=0.004)
    assert mean_and_margin([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / 3.0**0.5), rel=1e-3)


def _preset(name: str) -> NamedPreset:
    from exacto_plugin.simulate.presets import preset_named

    return preset_named(name)


def test_a_run_that_ends_before_it_counts() -> None:
    """The heading names the hour that is counted, and a line says why."""
    scenario = load_scenario("two-deployments").model_copy(update={"hours": 2.0, "measure_from_h": 24.0})
    course = RunConfig(0, 1, 300.0, 300.0)
    for from_h, told in ((24.0, "from hour 1 on"), (1.0, "from hour 1 on")):
        counted = scenario.model_copy(update={"measure_from_h": from_h})
        (trace,) = run_together([counted], preset_named("none"), course)
        text = render(counted, course, [Result("none", figures(trace, from_h), trace)])
        assert told in text
        assert ("this run is shorter, so only its last hour counts" in " ".join(text.split())) is (from_h == 24.0)

"""Errors and lengths of the verifier's runs, and readmission at a request a minute, by simulation.

Deployments fail with the rates of the published tables of the K2 Vendor Verifier; the reference's run has 250 calls.
The second part lets the engine judge a deployment that broke and was repaired, with a request a minute.

    python -m benchmarks.verifier [--draws 4000] [--runs 8] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.benchmark_scores.sequential import MOST_CALLS, FailureTest, RunDecision
from exacto_plugin.benchmark_scores.signal import NO_SCORES
from exacto_plugin.benchmark_scores.verifier import findings_of, upper_rate
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample, Tier
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.demo.k2vv import table
from exacto_plugin.records import VerifierRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

DATES = ("2025-09-22", "2025-10-10", "2025-11-15")
RATES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.06, 0.1, 0.25)
DAY_S, INTERVAL_S = 86_400.0, 900.0
START = 1_750_003_200.0


class Lengths(NamedTuple):
    """Runs of one rate."""

    flagged: float
    """Share of runs, as the next two."""
    cleared: float
    in_time: float
    """Flagged within 60 calls, or cleared within 250."""
    median: float
    """Calls, as the next."""
    longest: float
    """The 99th percentile."""


def run_record(name: str, at: float, calls: int, bad: int) -> VerifierRecord:
    """Return the record of a run that took ten minutes."""
    triggers = "1" * calls
    return VerifierRecord(
        at, at - 600, "g", name, f"{name}@{at:.0f}", "s", calls, 0, calls, bad, {}, triggers, 1, 1, None, ""
    )


def decided(draw: np.random.Generator, rate: float, test: FailureTest) -> tuple[RunDecision, int, int]:
    """Return the decision of one run, its calls, and the bad ones."""
    bad = 0
    for calls, failed in enumerate(draw.random(MOST_CALLS) < rate, 1):
        bad += int(failed)
        decision = test.decide(calls, bad)
        if decision is not RunDecision.UNDECIDED:
            return decision, calls, bad
    return RunDecision.UNDECIDED, MOST_CALLS, bad


def lengths(draw: np.random.Generator, rate: float, reference: float, draws: int) -> Lengths:
    """Run the test many times, each beside a reference run of its own."""
    flagged, cleared, calls = np.zeros(draws, bool), np.zeros(draws, bool), np.zeros(draws)
    for number in range(draws):
        bad = int(draw.binomial(MOST_CALLS, reference))
        test = FailureTest.against(upper_rate(run_record("reference", START, MOST_CALLS, bad)))
        decision, calls[number], _ = decided(draw, rate, test)
        flagged[number], cleared[number] = decision is RunDecision.FLAGGED, decision is RunDecision.CLEARED
    in_time = flagged & (calls <= 60) | cleared
    return Lengths(
        flagged.mean(), cleared.mean(), in_time.mean(), float(np.median(calls)), float(np.quantile(calls, 0.99))
    )


class World:
    """Four deployments, a third of whose answers have calls, and the real engine."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.engine = Engine(AdaptivePreset())
        self.names = [DeploymentKey(name) for name in ("a", "b", "c", "broken")]
        self.rates = dict.fromkeys(self.names, 0.005)
        self.now = START
        self.runs: list[VerifierRecord] = []
        self.engine.observe_peers("g", self.names, self.now)
        self.engine.recompute(self.now)

    def serve(self, seconds: float, per_minute: float = 1.0) -> None:
        """Let time pass, with traffic, and recomputes."""
        asked = RoutingRequest("g", [Candidate(LiteLLMId(name), name) for name in self.names], Policy(), tools=True)
        for _ in range(round(seconds / INTERVAL_S)):
            for _ in range(self.draw.poisson(per_minute * INTERVAL_S / 60)):
                decision = self.engine.decide(asked, self.draw.random)
                name = DeploymentKey(decision.pool[int(self.draw.integers(len(decision.pool)))])
                self._answer(name, probe=decision.explored)
            self.now += INTERVAL_S
            self.engine.recompute(self.now)

    def _answer(self, name: DeploymentKey, *, probe: bool) -> None:
        called = self.draw.random() < 1 / 3
        failed = called and self.draw.random() < self.rates[name]
        outcome = (Outcome.SCHEMA_MISMATCH if failed else Outcome.VALID) if called else None
        caller = f"c{self.draw.integers(20)}"
        self.engine.record(
            Sample("g", name, self.now, tools_offered=True, outcome=outcome, probe=probe, caller=caller, account=caller)
        )

    def verify(self, name: str, test: FailureTest | None = None) -> RunDecision:
        """Run the verifier against a deployment; the engine takes the result over at its next recompute."""
        rate = self.rates[DeploymentKey(name)]
        if test is None:
            bad = int(self.draw.binomial(MOST_CALLS, rate))
            self.runs.append(run_record(name, self.now, MOST_CALLS, bad))
            decision = RunDecision.UNDECIDED
        else:
            decision, calls, bad = decided(self.draw, rate, test)
            self.runs.append(run_record(name, self.now, calls, bad))
        self.engine.observe_scores("g", replace(NO_SCORES, findings=findings_of(self.runs, "a")))
        return decision

    def tier(self, name: str) -> Tier:
        """The tier in force."""
        return self.engine.snapshot.groups["g"].verdicts[DeploymentKey(name)].tier


def readmission(seed: int, *, verified: bool) -> float:
    """Return the hours from a repair to the readmission; 14 days at most.

    A run flags the break. Later ones, if any, come twice a day, the first within half a day of the repair.
    """
    world = World(seed)
    world.serve(1.5 * DAY_S)
    world.rates[DeploymentKey("broken")] = 0.25
    world.serve(DAY_S / 4)
    world.verify("a")
    test = FailureTest.against(upper_rate(world.runs[0]))
    while world.tier("broken") is not Tier.DERANKED:
        world.verify("broken", test)
        world.serve(INTERVAL_S)
    world.serve(DAY_S / 2)
    world.rates[DeploymentKey("broken")] = 0.005
    repaired = world.now
    due = repaired + world.draw.uniform(0, DAY_S / 2) if verified else math.inf
    while world.tier("broken") is Tier.DERANKED and world.now < repaired + 14 * DAY_S:
        if world.now >= due:
            world.verify("broken", test)
            due += DAY_S / 2
        world.serve(INTERVAL_S)
    return (world.now - repaired) / 3600


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verifier", description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=8, help="of the readmission")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    out, draw = sys.stdout.write, np.random.default_rng(options.seed)
    out("a run beside a reference that fails 0.5 %; in time: flagged within 60 calls, or cleared within 250\n\n")
    out(f"{'fails':>6}{'flagged':>10}{'cleared':>10}{'in time':>10}{'calls':>8}{'99 %':>7}\n")
    for rate in RATES:
        found = lengths(draw, rate, 0.005, options.draws)
        out(f"{rate:>6.1%}{found.flagged:>10.2%}{found.cleared:>10.2%}{found.in_time:>10.2%}")
        out(f"{found.median:>8.0f}{found.longest:>7.0f}\n")
    out("\na run beside a reference that fails as often: share of runs that flag it\n\n")
    for rate in RATES[:-1]:
        found = lengths(draw, rate, rate, options.draws)
        out(f"{rate:>6.1%}{found.flagged:>10.2%}{found.cleared:>10.2%}\n")
    out("\nthe published tables, beside MoonshotAI's own run\n\n")
    for date in DATES:
        for one in table(date)[1:]:
            found = lengths(draw, one.error_rate, table(date)[0].error_rate, max(200, options.draws // 10))
            out(f"{date} {one.name:<22}{one.error_rate:>8.2%}{found.flagged:>10.1%}{found.cleared:>10.1%}")
            out(f"{found.median:>8.0f}{found.longest:>7.0f}\n")
    out("\nhours from a repair to readmission, four deployments, a request with tools a minute (at most 336)\n\n")
    for verified in (True, False):
        hours = [readmission(options.seed + number, verified=verified) for number in range(options.runs)]
        words = "with the verifier" if verified else "by traffic alone"
        out(f"{words:<20}median {np.median(hours):>6.1f}, longest {max(hours):>6.1f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

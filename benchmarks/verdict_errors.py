"""How often verdicts of the default rule are wrong, by their evidence: ``exacto_plugin/data/verdict_errors.json``.

Simulated groups of eight hosts with constant rates, by ``exacto simulate --fast``: good ones fail up to 1.5 points more
than the best, bad ones 5 to 40 points, and in half of the groups one lies in between; the number of bad ones is 0 to 5,
each as often, and the traffic 1 to 100 requests a minute. A derank is wrong if the host fails at most half a point
more than the best one (the least floor that convicts), a verification if it fails more than 5 points more (its cap).
Run as ``python -m benchmarks.verdict_errors --write``.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.audit.verdict_errors import CALLS, SHARES
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.columns import DERANKED, INSUFFICIENT_DATA, VERIFIED_GOOD
from exacto_plugin.simulate.fast.run import FastSimulation
from exacto_plugin.simulate.run import RunConfig
from exacto_plugin.simulate.scenario import Scenario, parse_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TABLE = Path(__file__).parents[1] / "exacto_plugin/data/verdict_errors.json"

HOSTS, MOST_BAD = 8, 5
RATES = (1.0, 3.0, 10.0, 30.0, 100.0)
HOURS, INTERVAL_S = 36.0, 300.0
FLOOR, CAP = 0.02, 0.05
CONVICTING_FLOOR = AdaptivePreset().rule.convicting_floor
VERIFIED_EVERY_H = 6.0
"""Verified hosts are counted this often, with the evidence that they have by then."""


def populations(groups: int, seed: int) -> list[Scenario]:
    """Draw groups of hosts; a scenario each."""
    chance = np.random.default_rng([seed, 99])
    found = []
    for number in range(groups):
        bad = number % (MOST_BAD + 1)
        best = float(np.exp(chance.uniform(np.log(0.001), np.log(0.02))))
        above = chance.uniform(0.0, 0.015, HOSTS)
        above[0] = 0.0
        above[1 : 1 + bad] = np.exp(chance.uniform(np.log(CAP), np.log(0.4), bad))
        if chance.random() < 0.5:
            above[-1] = chance.uniform(FLOOR, CAP)
        content: dict[str, Any] = {
            "model_group": f"group-{number}",
            "hours": HOURS,
            "requests_per_minute": RATES[number // (MOST_BAD + 1) % len(RATES)],
            "providers": [{"name": f"host-{at}", "error_rate": float(best + more)} for at, more in enumerate(above)],
        }
        found.append(parse_scenario(content, "drawn"))
    return found


class Counts:
    """Verdicts and wrong ones by evidence and share of deranked hosts."""

    def __init__(self) -> None:
        self.verdicts = {kind: np.zeros((2, len(CALLS), len(SHARES)), np.int64) for kind in ("deranked", "verified")}
        """By kind: verdicts, and wrong ones among them."""

    def add(
        self,
        kind: str,
        given: NDArray[np.bool_],
        wrong: NDArray[np.bool_],
        calls: NDArray[np.int64],
        tier: NDArray[np.int8],
    ) -> None:
        """Count the verdicts that were given, all of shape ``[group, host]``."""
        share = np.broadcast_to((tier == DERANKED).mean(axis=1, keepdims=True), tier.shape)
        row = np.searchsorted(CALLS, calls[given], "right") - 1
        column = np.searchsorted(SHARES, share[given], "left")
        there = (row >= 0) & (column < len(SHARES))
        for number, counted in enumerate((there, there & wrong[given])):
            np.add.at(self.verdicts[kind][number], (row[counted], column[counted]), 1)


def measure(scenarios: Sequence[Scenario], seed: int, counts: Counts) -> None:
    """Run the groups and count their verdicts."""
    simulation = FastSimulation(scenarios, AdaptivePreset(), RunConfig(seed, 1, INTERVAL_S, INTERVAL_S))
    failure = np.concatenate([part.world.failure_rate() for part in simulation.scenarios])
    above = failure - failure.min(axis=1, keepdims=True)
    previous = np.full(failure.shape, INSUFFICIENT_DATA, np.int8)
    for step in range(round(HOURS * 3600 / INTERVAL_S)):
        simulation.step(step)
        if simulation.judge is None or simulation.judge.assignments is None:
            continue
        found = simulation.judge.assignments
        calls = found.signals[0].samples
        newly = (found.tier == DERANKED) & (previous != DERANKED)
        counts.add("deranked", newly, above <= CONVICTING_FLOOR, calls, found.tier)
        if not (step + 1) % round(VERIFIED_EVERY_H * 3600 / INTERVAL_S):
            counts.add("verified", found.tier == VERIFIED_GOOD, above > CAP, calls, found.tier)
        previous = found.tier


def as_plain(counts: Counts) -> dict[str, Any]:
    """Return the table as it is kept, with the rule that it was measured with."""
    tables = {
        kind: {name: table[number].tolist() for number, name in enumerate(("verdicts", "wrong"))}
        for kind, table in counts.verdicts.items()
    }
    return {
        "calls_from": list(CALLS),
        "deranked_share_to": list(SHARES),
        **tables,
        "rule": asdict(AdaptivePreset().rule),
    }


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=150, help="model groups of a run (default: 150)")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--write", action="store_true", help="write the package's table")
    options = parser.parse_args()
    counts = Counts()
    for seed in range(options.runs):
        measure(populations(options.groups, seed), seed, counts)
    for kind, (verdicts, wrong) in counts.verdicts.items():
        sys.stdout.write(f"{kind}: wrong of all, by calls from {CALLS} and share of deranked hosts up to {SHARES}\n")
        for calls, row, bad in zip(CALLS, verdicts.tolist(), wrong.tolist(), strict=True):
            sys.stdout.write(
                f"  {calls:6d}  " + "  ".join(f"{w:5d} of {v:6d}" for v, w in zip(row, bad, strict=True)) + "\n"
            )
    if options.write:
        TABLE.write_text(json.dumps(as_plain(counts), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

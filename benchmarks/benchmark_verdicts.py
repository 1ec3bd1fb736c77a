"""Errors of the verdicts on benchmark scores, by simulation: equal deployments accused, worse ones missed.

Five deployments answer 50 tasks, as in tau2's airline domain, or 198, as in GPQA Diamond, whose difficulty is Beta
distributed with mean 0.65. A worse one answers each task right less often. Compared are the median and MAD of the
scores and the paired test that ``exacto_plugin.bench`` uses, with peers or with a reference of as many runs.

    python -m benchmarks.benchmark_verdicts [--draws 2000] [--seed 1]
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.benchmark_scores.statistics import difference, limit_below
from exacto_plugin.benchmark_scores.tasks import TaskScore

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES, DEPLOYMENTS = (50, 198), 5
"""Tasks of the two benchmarks of the published rule, and deployments."""
ALPHA, BETA = 1.3, 0.7
"""Of the tasks' chances: mean 0.65, and a standard error of one run of about 5 points."""


def scores(draw: np.random.Generator, drops: list[float], runs: int, tasks: int) -> list[dict[str, TaskScore]]:
    """Draw the tasks of deployments, each with a drop of its mean score."""
    chance = draw.beta(ALPHA, BETA, tasks)
    found = []
    for drop in drops:
        lower = np.clip(chance * (1 - drop / (ALPHA / (ALPHA + BETA))), 0.0, 1.0)
        right = draw.binomial(runs, lower) / runs
        found.append({str(task): TaskScore(float(mean), runs) for task, mean in enumerate(right)})
    return found


def accused(found: list[dict[str, TaskScore]], *, reference: bool) -> list[bool]:
    """Return the deployments below their limit; with a reference the last one is it, and is never accused."""
    told = []
    for place, own in enumerate(found):
        others = [found[-1]] if reference else [one for other, one in enumerate(found) if other != place]
        if reference and place == len(found) - 1:
            told.append(False)
            continue
        mean = sum(task.mean for task in own.values()) / len(own)
        comparisons = len(found) - 1 if reference else 1
        told.append(mean < limit_below(difference(own, others, paired=True), mean, comparisons))
    return told


def outside(found: list[dict[str, TaskScore]]) -> list[bool]:
    """Return the deployments more than two MADs below the median."""
    means = np.array([sum(task.mean for task in one.values()) / len(one) for one in found])
    median = np.median(means)
    return list(means < median - 2 * 1.4826 * np.median(np.abs(means - median)))


RULES: dict[str, Callable[[list[dict[str, TaskScore]]], list[bool]]] = {
    "median - 2 MAD": outside,
    "paired, peers": lambda found: accused(found, reference=False),
    "paired, reference": lambda found: accused(found, reference=True),
}


def evaluated(
    name: str,
    rule: Callable[[list[dict[str, TaskScore]]], list[bool]],
    runs: int,
    tasks: int,
    options: argparse.Namespace,
) -> list[float]:
    """Return the shares that accuse an equal deployment, find 10 points, and 5."""
    draw = np.random.default_rng(options.seed)
    extra = [0.0] if name.endswith("reference") else []
    equal = [0.0] * DEPLOYMENTS
    false = sum(any(rule(scores(draw, [*equal, *extra], runs, tasks))) for _ in range(options.draws))
    found = [
        sum(rule(scores(draw, [drop, *equal[1:], *extra], runs, tasks))[0] for _ in range(options.draws))
        for drop in (0.1, 0.05)
    ]
    return [count / options.draws for count in (false, *found)]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.benchmark_verdicts", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"$ python -m benchmarks.benchmark_verdicts --draws {options.draws} --seed {options.seed}\n")
    for tasks in SIZES:
        out(f"{DEPLOYMENTS} deployments, {tasks} tasks; share of evaluations that ...\n\n")
        out(f"{'runs':>4}  {'rule':<28}{'accuse an equal one':>20}{'find -10 points':>17}{'find -5 points':>16}\n")
        for runs in (1, 4, 8, 20):
            for name, rule in RULES.items():
                shares = evaluated(name, rule, runs, tasks, options)
                out(f"{runs:>4}  {name:<28}{shares[0]:>20.3f}{shares[1]:>17.3f}{shares[2]:>16.3f}\n")
        out("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

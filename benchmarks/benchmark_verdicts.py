"""Errors of the verdicts on benchmark scores, by simulation: equal deployments accused, worse ones missed.

Five deployments answer 50 tasks whose difficulty is Beta distributed with mean 0.65, as in tau2's airline domain. A
worse one answers each task right less often. Compared are the median and MAD of the scores and the paired test that
``exacto_plugin.bench`` uses, with peers or with a reference of as many runs.

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

TASKS, DEPLOYMENTS = 50, 5
ALPHA, BETA = 1.3, 0.7
"""Of the tasks' chances: mean 0.65, and a standard error of one run of about 5 points."""


def scores(draw: np.random.Generator, drops: list[float], runs: int) -> list[dict[str, TaskScore]]:
    """Draw the tasks of deployments, each with a drop of its mean score."""
    chance = draw.beta(ALPHA, BETA, TASKS)
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


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.benchmark_verdicts", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"$ python -m benchmarks.benchmark_verdicts --draws {options.draws} --seed {options.seed}\n")
    out(f"{DEPLOYMENTS} deployments, {TASKS} tasks; share of evaluations that ...\n\n")
    out(f"{'runs':>4}  {'rule':<28}{'accuse an equal one':>20}{'find -10 points':>17}{'find -5 points':>16}\n")
    rules: dict[str, Callable[[list[dict[str, TaskScore]]], list[bool]]] = {
        "median - 2 MAD": outside,
        "paired, peers": lambda found: accused(found, reference=False),
        "paired, reference": lambda found: accused(found, reference=True),
    }
    for runs in (1, 4, 8, 20):
        for name, rule in rules.items():
            draw = np.random.default_rng(options.seed)
            extra = [0.0] if name.endswith("reference") else []
            false = sum(any(rule(scores(draw, [0.0] * 5 + extra, runs))) for _ in range(options.draws))
            ten = sum(rule(scores(draw, [0.1, *[0.0] * 4, *extra], runs))[0] for _ in range(options.draws))
            five = sum(rule(scores(draw, [0.05, *[0.0] * 4, *extra], runs))[0] for _ in range(options.draws))
            shares = [count / options.draws for count in (false, ten, five)]
            out(f"{runs:>4}  {name:<28}{shares[0]:>20.3f}{shares[1]:>17.3f}{shares[2]:>16.3f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

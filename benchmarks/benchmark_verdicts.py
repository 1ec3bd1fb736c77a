"""Errors of the verdicts on benchmark scores, by simulation: equal deployments accused, worse ones missed.

Five deployments answer 50 tasks, as in tau2's airline domain, or 198, as in GPQA Diamond, whose difficulty is Beta
distributed with mean 0.65. A worse one answers each task right less often. Compared are the median and MAD of the
scores and the paired test that ``exacto_plugin.benchmark_scores`` uses: with the peers, with a reference of as many
runs, and with one of three times as many. The simulation computes many evaluations at once; the first ones of each
are compared with the functions that the plugin uses.

    python -m benchmarks.benchmark_verdicts [--draws 10000] [--equal 40000] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import sys
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.benchmark_scores.statistics import (
    CHANCE,
    LEAST_DIFFERENCE,
    REFERENCE_CHANCE,
    difference,
    limit_below,
    student,
)
from exacto_plugin.benchmark_scores.tasks import TaskScore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIZES, DEPLOYMENTS, RUNS = (50, 198), 5, (1, 4, 8, 20)
"""Tasks of the two benchmarks of the published rule, deployments, and runs of each."""
ALPHA, BETA = 1.3, 0.7
"""Of the tasks' chances: mean 0.65, and a standard error of one run of about 5 points."""
_AT_ONCE, _CHECKED, _TIE = 1000, 20, 1e-9


class Rule(NamedTuple):
    """A rule to accuse deployments by."""

    name: str
    reference: int = 0
    """Runs of the reference for each run of a deployment; 0: there is none."""
    paired: bool = True

    @property
    def chance(self) -> float:
        """Of accusing an equal deployment."""
        return REFERENCE_CHANCE / DEPLOYMENTS if self.reference else CHANCE


RULES = (
    Rule("median - 2 MAD", paired=False),
    Rule("paired, peers"),
    Rule("paired, reference", 1),
    Rule("paired, reference of 3 x runs", 3),
)


def drawn(rule: Rule, drop: float, runs: int, tasks: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield scores by evaluation, deployment and task; the first deployment is worse, a reference comes last."""
    draw = np.random.default_rng(seed)
    counts = [runs] * DEPLOYMENTS + [runs * rule.reference] * bool(rule.reference)
    for _ in range(0, draws, _AT_ONCE):
        chance = draw.beta(ALPHA, BETA, (_AT_ONCE, tasks))
        worse = chance * (1 - drop / (ALPHA / (ALPHA + BETA)))
        of = [worse, *[chance] * (len(counts) - 1)]
        yield np.stack([draw.binomial(count, one) / count for count, one in zip(counts, of, strict=True)], axis=1)


def margins(rule: Rule, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances to the limits, by evaluation and deployment; one below 0 is accused."""
    means = scores.mean(axis=2)
    if not rule.paired:
        median = np.median(means, axis=1, keepdims=True)
        spread: NDArray[np.float64] = np.median(np.abs(means - median), axis=1, keepdims=True)
        return np.asarray(means - median + 2 * 1.4826 * spread, dtype=np.float64)
    own = scores[:, :DEPLOYMENTS]
    others = scores[:, DEPLOYMENTS:] if rule.reference else (own.sum(axis=1, keepdims=True) - own) / (DEPLOYMENTS - 1)
    apart, tasks = own - others, scores.shape[2]
    error = apart.std(axis=2, ddof=1) / math.sqrt(tasks)
    quantile = student(1 - rule.chance, tasks - 1)
    return np.asarray(apart.mean(axis=2) + np.maximum(LEAST_DIFFERENCE, quantile * error), dtype=np.float64)


def as_the_plugin(rule: Rule, scores: NDArray[np.float64]) -> list[bool]:
    """Return the same of one evaluation, by the plugin's functions."""
    kept = [{str(task): TaskScore(float(mean), 1) for task, mean in enumerate(one)} for one in scores]
    told = []
    for place in range(DEPLOYMENTS):
        others = kept[DEPLOYMENTS:] or [one for other, one in enumerate(kept) if other != place]
        mean = float(scores[place].mean())
        told.append(mean < limit_below(difference(kept[place], others, paired=True), mean, rule.chance))
    return told


def share(rule: Rule, drop: float, runs: int, tasks: int, options: argparse.Namespace) -> tuple[float, float]:
    """Return the share of evaluations that accuse, and half of its 95 % interval.

    Without a drop any deployment counts, with one the worse one.

    Raises:
        AssertionError: the plugin decides otherwise.
    """
    asked, found = options.draws if drop else options.equal, 0
    count = -(-asked // _AT_ONCE) * _AT_ONCE
    for place, scores in enumerate(drawn(rule, drop, runs, tasks, count, options.seed)):
        apart = margins(rule, scores)
        told = apart < 0
        if place == 0 and rule.paired:
            plugin = np.array([as_the_plugin(rule, one) for one in scores[:_CHECKED]])
            assert np.all((plugin == told[:_CHECKED]) | (np.abs(apart[:_CHECKED]) < _TIE))
        found += int((told[:, 0] if drop else told.any(axis=1)).sum())
    rate = found / count
    return rate, NormalDist().inv_cdf(0.975) * math.sqrt(rate * (1 - rate) / count)


def least_runs(tasks: int, drop: float, reference: int) -> int:
    """Return the runs with which a drop is found in 8 of 10 evaluations beside a reference, by the normal distribution.

    Args:
        tasks: of the benchmark.
        drop: in score.
        reference: its runs for each run of a deployment; 0: its score is known without error.
    """
    one_run = ALPHA * BETA / ((ALPHA + BETA) * (ALPHA + BETA + 1)) / tasks
    apart = student(1 - REFERENCE_CHANCE / DEPLOYMENTS, tasks - 1) + NormalDist().inv_cdf(0.8)
    return math.ceil(one_run * (1 + (1 / reference if reference else 0)) * (apart / drop) ** 2)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.benchmark_verdicts", description=__doc__)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--equal", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    out = sys.stdout.write
    for tasks in SIZES:
        out(f"{DEPLOYMENTS} deployments, {tasks} tasks; share of evaluations that ... ({options.equal} and ")
        out(f"{options.draws} draws, ± half of the 95 % interval)\n\n")
        out(f"{'runs':>4}  {'rule':<30}{'accuse an equal one':>20}{'find -10 points':>17}{'find -5 points':>17}\n")
        for runs in RUNS:
            for rule in RULES:
                cells = [share(rule, drop, runs, tasks, options) for drop in (0.0, 0.1, 0.05)]
                equal, ten, five = (f"{rate:.4f} ± {half:.4f}" for rate, half in cells)
                out(f"{runs:>4}  {rule.name:<30}{equal:>20}{ten:>17}{five:>17}\n")
        out("\nruns that find a drop in 8 of 10 evaluations beside a reference, by arithmetic: ")
        told = [
            f"{drop:.0%}: {least_runs(tasks, drop, 1)} (reference of as many), {least_runs(tasks, drop, 3)} "
            f"(of three times as many), {least_runs(tasks, drop, 0)} (without error)"
            for drop in (0.1, 0.05)
        ]
        out(f"{'; '.join(told)}\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The paired comparison of benchmark scores, task by task.

Scores of one benchmark differ between deployments by chance: one run of tau2's 50 airline tasks has a standard error
of about 5 points. The median and MAD of five such scores accuse an honest deployment in 3 of 10 evaluations, because
equal deployments cluster tightly; pairing the answers of the same tasks and a least difference do so in 1 of 20
(``benchmarks/results/benchmark_verdicts.txt``).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.benchmark_scores.tasks import TaskScore

Tasks = "Mapping[str, TaskScore]"

CHANCE = 0.012
"""Chance that a deployment equal to its peers is below its limit.

Each is compared with the mean of the others: of five equal ones about 1 in 20 evaluations accuses one, and at most 6 in
100 may (``benchmarks/benchmark_verdicts.py``)."""

REFERENCE_CHANCE = 0.009
"""The same beside a reference, for all comparisons together, since its errors are common to them.

It keeps the measured share, with its 95 % interval, below 1 in 100 (the same benchmark)."""

LEAST_DIFFERENCE = 0.03
"""A difference that counts, in score: 3 points; less is not worth losing a deployment for."""

POWER = 0.8


class TaskDifference(NamedTuple):
    """TaskDifference of a deployment to others on their common tasks, in score."""

    mean: float
    error: float
    """Standard error of ``mean``; infinite for fewer than two tasks."""
    tasks: int


def pooled(runs: Sequence[Mapping[str, TaskScore]]) -> dict[str, TaskScore]:
    """Pool the answers of several runs by task.

    >>> from exacto_plugin.benchmark_scores.tasks import TaskScore
    >>> pooled([{"a": TaskScore(1.0, 1)}, {"a": TaskScore(0.5, 3)}])
    {'a': TaskScore(mean=0.625, answers=4)}
    """
    from exacto_plugin.benchmark_scores.tasks import TaskScore

    totals: dict[str, tuple[float, int]] = {}
    for run in runs:
        for task, (mean, answers) in run.items():
            total, count = totals.get(task, (0.0, 0))
            totals[task] = total + mean * answers, count + answers
    return {task: TaskScore(total / count, count) for task, (total, count) in totals.items()}


def score_of(tasks: Mapping[str, TaskScore]) -> tuple[float, float]:
    """Return the mean over tasks and its standard error.

    The error is infinite below two tasks.
    """
    means = np.array([task.mean for task in tasks.values()])
    if len(means) < 2:
        return (float(means.mean()) if len(means) else math.nan), math.inf
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means)))


def difference(
    own: Mapping[str, TaskScore], others: Sequence[Mapping[str, TaskScore]], *, paired: bool
) -> TaskDifference:
    """Compare a deployment with the mean of others.

    Args:
        own: the deployment's tasks.
        others: those of the others, at least one.
        paired: the keys name tasks; False: answers were only counted, and the samples are independent.
    """
    common = sorted(set(own).intersection(*others)) if paired else []
    if not paired:
        return _unpaired(own, others)
    if len(common) < 2:
        return TaskDifference(math.nan, math.inf, len(common))
    theirs = np.mean([[other[task].mean for task in common] for other in others], axis=0)
    apart: NDArray[np.float64] = np.array([own[task].mean for task in common]) - theirs
    return TaskDifference(float(apart.mean()), float(apart.std(ddof=1) / math.sqrt(len(common))), len(common))


def _unpaired(own: Mapping[str, TaskScore], others: Sequence[Mapping[str, TaskScore]]) -> TaskDifference:
    def rate(tasks: Mapping[str, TaskScore]) -> tuple[float, float]:
        good, count = sum(task.mean for task in tasks.values()), len(tasks)
        cautious = (good + 0.5) / (count + 1)
        return good / count, cautious * (1 - cautious) / count

    (mean, variance), rest = rate(own), [rate(other) for other in others]
    theirs = sum(one for one, _ in rest) / len(rest)
    spread = sum(one for _, one in rest) / len(rest) ** 2
    return TaskDifference(mean - theirs, math.sqrt(variance + spread), len(own))


def limit_below(found: TaskDifference, own: float, chance: float = CHANCE) -> float:
    """Return the score below which a deployment is significantly worse.

    Args:
        found: its difference to them.
        own: its score.
        chance: that an equal deployment is below it.

    Returns:
        NaN when the tasks are too few for an error.
    """
    if not math.isfinite(found.error):
        return math.nan
    return own - found.mean - max(LEAST_DIFFERENCE, student(1 - chance, found.tasks - 1) * found.error)


def least_visible(found: TaskDifference, chance: float = CHANCE) -> float:
    """Return the drop in score that as many answers show in 8 of 10 evaluations."""
    return max(LEAST_DIFFERENCE, (student(1 - chance, found.tasks - 1) + NormalDist().inv_cdf(POWER)) * found.error)


def student(chance: float, freedom: int) -> float:
    """Return a quantile of Student's distribution.

    By the expansion of Cornish and Fisher, within 0.01 from 8 degrees of freedom on (Abramowitz and Stegun, 26.7.5).

    >>> round(student(0.99, 49), 2)
    2.4
    """
    z, v = NormalDist().inv_cdf(chance), max(1, freedom)
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def frozen_limit(scores: Sequence[float]) -> tuple[float, float]:
    """Return the median of a baseline, and the median minus two deviations.

    The published rule: "median of per-endpoint scores minus 2 sigma". Source: OpenRouter's documentation of Auto
    Exacto; the deviation is that of the population, as in its public exports.

    >>> median, limit = frozen_limit([0.6, 0.7, 0.8])
    >>> median, round(limit, 6)
    (0.7, 0.536701)
    """
    found = np.array(scores)
    median = float(np.median(found))
    return median, median - 2 * float(found.std())

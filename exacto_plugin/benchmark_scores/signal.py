"""Benchmark scores as the signal that tiers are computed from.

A deployment in several benchmarks is represented by the one in which it stands worst. Groups without accepted runs have
no scores, and a deployment without one is never deranked for that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from exacto_plugin.benchmark_scores.standings import WINDOW_S, Standing, scores_of, tasks_of
from exacto_plugin.benchmark_scores.statistics import frozen_limit, pooled, score_of
from exacto_plugin.benchmark_scores.tasks import is_baseline, least_tasks
from exacto_plugin.core.model import BenchmarkScores, DeploymentKey, SignalValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.benchmark_scores.standings import Score
    from exacto_plugin.benchmark_scores.tasks import TaskScore
    from exacto_plugin.records import BenchmarkRecord

BASELINE_S = 21 * 86_400.0
"""Seconds after the first run in which the scores form the baseline, frozen then. Source: the same as the window."""

NO_SCORES = BenchmarkScores({}, math.nan, None, 1)
"""Scores of a model group without runs that count: no reason for any tier, and the end of those that there were."""


def paired_scores(
    records: Sequence[BenchmarkRecord], now: float, reference: str | None = None
) -> BenchmarkScores | None:
    """Return the scores of a model group, with limits from paired comparisons.

    Args:
        records: accepted runs of the group, in order of time.
        now: UTC seconds.
        reference: the deployment that the others are compared with; None: each with all others.
    """
    scores = _counted(scores_of(records, now, reference))
    worst = {one.deployment: one for one in sorted(scores, key=_margin, reverse=True)}
    compared = {
        name: (one.others, one.limit) for name, one in worst.items() if one.others is not None and one.limit is not None
    }
    return _signal(worst, scores, compared)


def published_scores(records: Sequence[BenchmarkRecord], now: float) -> BenchmarkScores | None:
    """Return the scores of a model group with the published, frozen limit."""
    limits: dict[tuple[str, str], tuple[float, float]] = {}
    series: dict[tuple[str, str], list[BenchmarkRecord]] = defaultdict(list)
    for record in records:
        if not record.refused and record.at <= now:
            series[record.benchmark, record.configuration].append(record)
    for key, runs in series.items():
        limits[key] = frozen_limit(_baseline(runs))
    scores = _counted(scores_of(records, now))
    worst = {
        one.deployment: one
        for one in sorted(scores, key=lambda one: one.score - limits[one.benchmark, one.configuration][1], reverse=True)
    }
    return _signal(worst, scores, {name: limits[one.benchmark, one.configuration] for name, one in worst.items()})


def _counted(scores: Sequence[Score]) -> list[Score]:
    return [one for one in scores if one.standing is not Standing.TOO_FEW and not is_baseline(one.deployment)]


def _baseline(runs: Sequence[BenchmarkRecord]) -> list[float]:
    """Return the score of each deployment in the first 21 days."""
    until = min(run.at for run in runs) + BASELINE_S
    of: dict[str, list[dict[str, TaskScore]]] = defaultdict(list)
    for run in runs:
        if run.at < until and not is_baseline(run.deployment):
            of[run.deployment].append(tasks_of(run))
    return [score_of(pooled(tasks))[0] for tasks in of.values()]


def _margin(one: Score) -> float:
    return one.score - one.limit if one.limit is not None else 1.0


def _signal(
    worst: Mapping[str, Score], scores: Sequence[Score], limits: Mapping[str, tuple[float, float]]
) -> BenchmarkScores | None:
    """Return the scores with the median and the limit of each deployment that has one."""
    if not worst:
        return None
    values = {DeploymentKey(name): SignalValue(one.score, one.tasks) for name, one in worst.items()}
    needed = min(least_tasks(one.benchmark) for one in scores)
    own = {DeploymentKey(name): limit for name, (_, limit) in limits.items()}
    middle = sorted(median for median, _ in limits.values()) or sorted(one.score for one in worst.values())
    runs = {DeploymentKey(name): one.runs[-1] for name, one in worst.items()}
    return BenchmarkScores(values, middle[len(middle) // 2], None, needed, WINDOW_S, own, runs)

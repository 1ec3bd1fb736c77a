"""Scores, comparisons and verdicts from the runs of a model group.

Runs are compared only where benchmark and configuration are equal, and count for 32 days.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from exacto_plugin.benchmark_scores.statistics import (
    CHANCE,
    REFERENCE_CHANCE,
    difference,
    least_visible,
    limit_below,
    pooled,
    score_of,
    student,
)
from exacto_plugin.benchmark_scores.tasks import TaskScore, is_baseline, least_answers, least_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.records import BenchmarkRecord

WINDOW_S = 32 * 86_400.0
"""Seconds that a run counts. Source: OpenRouter's rolling 32 days."""


class Standing(StrEnum):
    """The result of a comparison."""

    TOO_FEW = "too_few_tasks"
    ALONE = "nothing_to_compare"
    REFERENCE = "reference"
    BELOW = "significantly_below"
    SAME = "indistinguishable"
    ABOVE = "above"
    LITTLE_BELOW = "slightly_below"
    """Lower beyond chance, by less than the difference that counts."""


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a deployment in one benchmark and configuration."""

    benchmark: str
    configuration: str
    """Hash of the configuration."""
    deployment: str
    score: float
    """Mean over tasks, 0..1."""
    error: float | None
    """Standard error over tasks; None below two tasks."""
    tasks: int
    answers: int
    runs: Sequence[str]
    """Names of the runs, newest last."""
    standing: Standing
    others: float | None = None
    """Score of those it is compared with, on the tasks that both answered."""
    limit: float | None = None
    """A score below this is significantly worse."""
    share: tuple[float, float, float] | None = None
    """Share of the score of the others, with its 95 % interval: share, low, high."""
    visible: float | None = None
    """Least drop in score that as many answers show in 8 of 10 evaluations."""
    tokens: float | None = None
    """Output tokens of one answer; None when no log says."""
    against: str | None = None
    """The reference that it is compared with; None: all others."""


def scores_of(records: Sequence[BenchmarkRecord], now: float, reference: str | None = None) -> list[Score]:
    """Return the scores of a model group, by benchmark, configuration and deployment.

    Args:
        records: accepted runs of the group, in order of time.
        now: UTC seconds; runs older than 32 days are left out.
        reference: the deployment that the others are compared with; None, or one without enough tasks: each
            deployment is compared with the mean of all others.
    """
    series: dict[tuple[str, str], dict[str, list[BenchmarkRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if not record.refused and now - WINDOW_S <= record.at <= now:
            series[record.benchmark, record.configuration][record.deployment].append(record)
    found: list[Score] = []
    for (benchmark, configuration), deployments in sorted(series.items()):
        tasks = {name: pooled([tasks_of(run) for run in runs]) for name, runs in deployments.items()}
        enough = [name for name in tasks if _is_enough(benchmark, tasks[name])]
        pinned = [name for name in enough if not is_baseline(name)]
        chosen = reference if reference in enough else None
        for name in sorted(deployments):
            others = [chosen] if chosen is not None else [other for other in pinned if other != name]
            against = None if name not in enough else [tasks[other] for other in others if other != name]
            chance = CHANCE if chosen is None else REFERENCE_CHANCE / max(1, len(pinned) - 1)
            runs, is_reference = deployments[name], name == chosen
            one = _score((benchmark, configuration, name), tasks[name], runs, against, chance, is_reference)
            found.append(one if chosen is None or is_reference else replace(one, against=chosen))
    return found


def _is_enough(benchmark: str, tasks: Mapping[str, TaskScore]) -> bool:
    answers = sum(task.answers for task in tasks.values())
    return len(tasks) >= least_tasks(benchmark) and answers >= least_answers(benchmark) * len(tasks)


def tasks_of(record: BenchmarkRecord) -> dict[str, TaskScore]:
    """Return the tasks of a run on record."""
    return {task: TaskScore(float(mean), int(answers)) for task, (mean, answers) in record.tasks.items()}


def _score(
    key: tuple[str, str, str],
    tasks: Mapping[str, TaskScore],
    runs: Sequence[BenchmarkRecord],
    others: Sequence[Mapping[str, TaskScore]] | None,
    chance: float,
    is_reference: bool,
) -> Score:
    own, error = score_of(tasks)
    answers = sum(task.answers for task in tasks.values())
    counted = [run.output_tokens for run in runs if run.output_tokens is not None]
    tokens = sum(counted) / answers if counted and answers and len(counted) == len(runs) else None
    spread = error if math.isfinite(error) else None
    names = [run.run for run in runs]
    if others is None or not others:
        standing = Standing.TOO_FEW if others is None else Standing.REFERENCE if is_reference else Standing.ALONE
        return Score(*key, own, spread, len(tasks), answers, names, standing, tokens=tokens)
    found = difference(tasks, others, paired=all(run.paired for run in runs))
    limit = limit_below(found, own, chance)
    if math.isnan(limit):
        return Score(*key, own, spread, len(tasks), answers, names, Standing.ALONE, tokens=tokens)
    theirs = own - found.mean
    margin = student(0.975, found.tasks - 1) * found.error
    share = None
    if theirs > 0:
        share = own / theirs, max(0.0, (own - margin) / theirs), (own + margin) / theirs
    return Score(
        *key,
        own,
        spread,
        len(tasks),
        answers,
        names,
        _standing(own, limit, found.mean, margin),
        theirs,
        limit,
        share,
        least_visible(found, chance),
        tokens,
    )


def _standing(own: float, limit: float, mean: float, margin: float) -> Standing:
    if own < limit:
        return Standing.BELOW
    if abs(mean) <= margin:
        return Standing.SAME
    return Standing.ABOVE if mean > 0 else Standing.LITTLE_BELOW

"""Tasks of a benchmark: their scores, and how many a score needs."""

from __future__ import annotations

from typing import NamedTuple

LEAST_TASKS = {"tau2_airline": 45, "gpqa_diamond": 50}
"""Scored tasks that a run needs. Source: OpenRouter's documentation of Auto Exacto."""

LEAST_OF_OTHERS = 30
"""The same for other benchmarks: the difference of fewer tasks has no standard error worth a verdict."""


def least_tasks(benchmark: str) -> int:
    """Return the scored tasks that a score of a benchmark needs."""
    return LEAST_TASKS.get(benchmark, LEAST_OF_OTHERS)


class TaskScore(NamedTuple):
    """The answers of one task in a run."""

    mean: float
    """Mean score of the answers, 0..1."""
    answers: int

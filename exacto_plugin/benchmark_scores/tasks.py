"""Tasks of a benchmark: their scores, and how many a score needs."""

from __future__ import annotations

from typing import NamedTuple

LEAST_TASKS = {"tau2_airline": 45, "gpqa_diamond": 50, "parcels": 12}
"""Scored tasks that a run needs.

Source: OpenRouter's documentation of Auto Exacto; of ``parcels``, a benchmark of our own, all of its tasks.
"""

LEAST_ANSWERS = {"parcels": 4}
"""Answers to each task, on average over all runs, that a verdict needs where there are few tasks; one for others."""

LEAST_OF_OTHERS = 30
"""The same for other benchmarks: the difference of fewer tasks has no standard error worth a verdict."""


BASELINE = "baseline/"
"""Beginning of the name of a model group's unpinned runs, in which LiteLLM's own routing picks."""


def is_baseline(name: str) -> bool:
    """Return True for the name of unpinned runs, which are no deployment's."""
    return name.startswith(BASELINE)


def least_tasks(benchmark: str) -> int:
    """Return the scored tasks that a score of a benchmark needs."""
    return LEAST_TASKS.get(benchmark, LEAST_OF_OTHERS)


def least_answers(benchmark: str) -> int:
    """Return the answers to each task that a verdict needs."""
    return LEAST_ANSWERS.get(benchmark, 1)


class TaskScore(NamedTuple):
    """The answers of one task in a run."""

    mean: float
    """Mean score of the answers, 0..1."""
    answers: int

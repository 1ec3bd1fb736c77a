"""Reasons for which a run counts as no score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.benchmark_scores.tasks import least_tasks

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from exacto_plugin.bench.runs import BenchmarkRun

MOST_ERRORS = 0.1
"""Share of answers that may end in an error; source: the benchmark harness of OpenRouter fails a run beyond it."""


def refusal(run: BenchmarkRun, names: AbstractSet[str], seen: AbstractSet[str]) -> str | None:
    """Return the reason to refuse a run, in words; None if it counts.

    Args:
        run: as read from its log.
        names: those of the deployment that the score is for, as its answers may name it.
        seen: digests of the logs that were read before.
    """
    if run.log_digest in seen:
        return "this log was read before"
    if not run.complete:
        why = f"{run.errors} answers ended in an error" if run.errors else "it failed, was cancelled or is unfinished"
        return f"the run did not end well: {why}"
    answers = sum(task.answers for task in run.tasks.values())
    lost = max(run.errors, run.planned - answers if run.paired else 0)
    if lost > MOST_ERRORS * max(1, run.planned):
        return f"{lost} of {run.planned} answers ended in an error or are missing (at most {MOST_ERRORS:.0%} may)"
    if not answers:
        return "no answer in it has a score"
    if run.output_tokens == 0:
        return "the deployment generated no token: something else answered"
    if others := sorted(run.answered_by - names):
        return f"other deployments answered: {', '.join(others[:3])}"
    needed = least_tasks(run.benchmark)
    if len(run.tasks) < needed:
        return f"{len(run.tasks)} scored tasks, {needed} are needed for {run.benchmark}"
    return None

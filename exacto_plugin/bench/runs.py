"""One run of a benchmark against one deployment, free of any text of its tasks."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exacto_plugin.benchmark_scores.tasks import TaskScore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """A run as its log reports it."""

    benchmark: str
    """``tau2_airline``, ``gpqa_diamond``, or the name of the task in lower case."""
    harness: str
    """The program that ran it, with its version."""
    deployment: str
    """The deployment named in the log; empty when it names none."""
    configuration: Mapping[str, Any]
    """All that must be equal for two scores to be compared."""
    tasks: Mapping[str, TaskScore]
    """Scored tasks by ``task_key``."""
    planned: int
    """Answers that the run was to have."""
    errors: int
    """Answers that ended in an error and have no score."""
    started: float
    """UTC seconds, as ``finished``; 0 when the log does not say."""
    finished: float
    log_digest: str
    """SHA-256 of the log: the same log counts once."""
    complete: bool = True
    """False for a run that its own program calls failed, cancelled or unfinished."""
    input_tokens: int = 0
    """Of the deployment, without a simulated user or a judge; 0 when the log does not say."""
    output_tokens: int | None = None
    """None when the log does not say."""
    answered_by: frozenset[str] = field(default_factory=frozenset)
    """Deployments that answered, where the log says so."""
    paired: bool = True
    """The keys of ``tasks`` name tasks; False where answers were only counted."""

    @property
    def score(self) -> float:
        """The mean over tasks of each task's mean, 0..1; 0 without tasks."""
        return sum(task.mean for task in self.tasks.values()) / max(1, len(self.tasks))

    @property
    def configuration_hash(self) -> str:
        """Sixteen hexadecimal digits that are equal for equal configurations."""
        text = json.dumps([self.benchmark, self.configuration], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def task_key(task: object) -> str:
    """Return sixteen hexadecimal digits for a task, which reveal no text of it.

    >>> task_key(7) == task_key("7")
    True
    """
    return hashlib.sha256(f"task {task}".encode()).hexdigest()[:16]


def by_task(answers: Iterable[tuple[object, float]]) -> dict[str, TaskScore]:
    """Average answers by task.

    Args:
        answers: the task's name and the score 0..1 of each answer.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for task, score in answers:
        scores[task_key(task)].append(score)
    return {key: TaskScore(sum(found) / len(found), len(found)) for key, found in scores.items()}


def known_name(task: str) -> str:
    """Return one name for a benchmark that programs name differently.

    >>> known_name("openbench/tau_bench_airline"), known_name("inspect_evals/tau2_airline")
    ('tau2_airline', 'tau2_airline')
    """
    name = task.rsplit("/", 1)[-1].strip().lower().replace("-", "_").replace(" ", "_")
    return _SAME.get(name, name)


_SAME = {"tau_bench_airline": "tau2_airline", "tau2_bench_airline": "tau2_airline", "airline": "tau2_airline"}

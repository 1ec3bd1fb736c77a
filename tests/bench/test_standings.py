"""Scores, comparisons and verdicts from runs on record."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.bench.runs import task_key
from exacto_plugin.benchmark_scores.signal import paired_scores, published_scores
from exacto_plugin.benchmark_scores.standings import Standing, scores_of
from exacto_plugin.benchmark_scores.tasks import TaskScore
from exacto_plugin.records import BenchmarkRecord

if TYPE_CHECKING:
    from exacto_plugin.core.model import BenchmarkScores

DAY_S = 86_400.0
NOW = 1_800_000_000.0


def run(deployment: str, rate: float, *, at: float = NOW - DAY_S, number: int = 0, **changes: Any) -> BenchmarkRecord:
    """A run of 50 tasks of different difficulty, two answers each."""
    draw, hard = Random(f"{deployment} {number}"), Random(4)
    easy = [hard.random() for _ in range(50)]
    answers = [(0.5 * (easy[task] < rate) + 0.5 * (draw.random() < rate), 2) for task in range(50)]
    tasks = {task_key(task): list(score) for task, score in enumerate(answers)}
    values: dict[str, Any] = {
        "at": at, "model_group": "g", "deployment": deployment, "benchmark": "tau2_airline",
        "score": sum(mean for mean, _ in answers) / 50, "questions": 50, "run": f"{deployment}{number}",
        "harness": "h", "configuration": "c", "tasks": tasks, "error": 0.05, "answers": 100, "errors": 0,
        "input_tokens": 10, "output_tokens": 1000, "paired": True, "refused": "",
    }  # fmt: skip
    return BenchmarkRecord(**{**values, **changes})


def standings(records: list[BenchmarkRecord], reference: str | None = None) -> dict[str, Standing]:
    """The verdict on each deployment."""
    return {one.deployment: one.standing for one in scores_of(records, NOW, reference)}


def test_a_deployment_far_below_its_peers() -> None:
    """Twenty points with four runs each are found, and no peer is accused."""
    records = [run(name, 0.75, number=number) for name in "abcd" for number in range(4)]
    records += [run("bad", 0.5, number=number) for number in range(4)]
    found = standings(records)
    assert found["bad"] is Standing.BELOW
    assert Standing.BELOW not in {found[name] for name in "abcd"}


def test_equal_deployments_are_never_accused_for_a_point() -> None:
    """A difference below three points counts for nothing, however certain it is."""
    sure = {task_key(task): [0.7, 1000] for task in range(50)}
    less = {task_key(task): [0.68, 1000] for task in range(50)}
    found = standings([run("a", 0.7, tasks=sure), run("b", 0.7, tasks=less)])
    assert found["b"] is not Standing.BELOW


def test_a_reference_is_compared_with_nobody() -> None:
    """The others get their share of its score, with an interval around it."""
    records = [run(name, rate, number=n) for name, rate in (("r", 0.8), ("a", 0.8), ("b", 0.5)) for n in range(4)]
    scores = {one.deployment: one for one in scores_of(records, NOW, "r")}
    assert scores["r"].standing is Standing.REFERENCE
    assert scores["b"].standing is Standing.BELOW
    share, low, high = scores["b"].share or (0, 0, 0)
    assert low < share < high < 1.0
    assert share == pytest.approx(scores["b"].score / scores["r"].score)


@pytest.mark.parametrize("change", [{"configuration": "other"}, {"benchmark": "gpqa_diamond"}])
def test_other_configurations_and_benchmarks_are_not_compared(change: dict[str, Any]) -> None:
    """The worst score of another series accuses nobody."""
    found = standings([run("a", 0.9), run("b", 0.3, **change)])
    assert Standing.BELOW not in found.values()


def test_old_and_refused_runs_do_not_count() -> None:
    """After 32 days a run is history."""
    assert scores_of([run("a", 0.9, at=NOW - 33 * DAY_S), run("b", 0.9, refused="why")], NOW) == []


def test_too_few_tasks() -> None:
    """44 tasks of tau2 are one too few."""
    short = dict(list(run("a", 0.2).tasks.items())[:44])
    found = standings([run("a", 0.2, tasks=short), run("b", 0.9), run("c", 0.9)])
    assert found["a"] is Standing.TOO_FEW


def test_answers_that_were_only_counted() -> None:
    """They are compared as independent samples: 24 points of 1,300 answers are found."""

    def counted(name: str, valid: int) -> BenchmarkRecord:
        tasks = {task_key(place): [float(place < valid), 1] for place in range(1300)}
        return run(name, 0.0, benchmark="k2_vendor_verifier", tasks=tasks, paired=False)

    found = standings([counted("a", 1300), counted("b", 1290), counted("bad", 990)])
    assert found["bad"] is Standing.BELOW
    assert found["b"] is not Standing.BELOW


def test_the_signal_has_a_limit_for_each_deployment() -> None:
    """The worst of several benchmarks represents a deployment."""
    records = [run(name, 0.75, number=n) for name in ("a", "b", "c") for n in range(4)]
    records += [run("a", 0.4, number=n, benchmark="other") for n in range(4)]
    records += [run("b", 0.75, number=n, benchmark="other") for n in range(4)]
    signal = paired_scores(records, NOW)
    assert signal is not None
    below = {
        name for name, value in signal.scores.items() if value.value is not None and value.value < _limit(signal, name)
    }
    assert below == {"a"}


def _limit(signal: BenchmarkScores, name: Any) -> float:
    return signal.limits.get(name, 0.0)


def test_the_published_limit_is_frozen_after_21_days() -> None:
    """Later scores do not move it; two deviations of five equal deployments are next to nothing."""
    first = NOW - 30 * DAY_S
    rates = {"a": 0.7, "b": 0.7, "c": 0.72, "d": 0.68}
    records = [run(name, rate, at=first, number=1) for name, rate in rates.items()]
    before = published_scores(records, NOW)
    after = published_scores([*records, *(run(name, 0.2, at=NOW - DAY_S, number=2) for name in "ab")], NOW)
    assert before is not None
    assert after is not None
    assert before.baseline == after.baseline
    assert set(before.limits.values()) == set(after.limits.values())


def test_nothing_counts_without_accepted_runs() -> None:
    """A group whose runs were all refused has no benchmark signal."""
    assert paired_scores([run("a", 0.1, refused="no")], NOW) is None
    assert published_scores([run("a", 0.1, refused="no")], NOW) is None


def test_tasks_reveal_no_text() -> None:
    """A task is known by a hash."""
    assert "secret" not in task_key("secret question")
    assert TaskScore(1.0, 1) == (1.0, 1)

"""Result files of the official tau2-bench.

One JSON object with ``info``, ``tasks`` and ``simulations``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.bench.logs.fields import LogError, at, digest, items, moment, number
from exacto_plugin.bench.runs import BenchmarkRun, by_task, known_name

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = ("agent_error", "user_error", "infrastructure_error")
"""Reasons of an end that say nothing about the task."""


def is_results(plain: Any) -> bool:
    """Return True for the content of such a file."""
    return isinstance(at(plain, "simulations"), list) and isinstance(at(plain, "info"), dict)


def read_results(path: Path, data: bytes, plain: Any) -> list[BenchmarkRun]:
    """Read the run of a file.

    Raises:
        LogError: it has no simulations.
    """
    simulations = [one for one in items(plain["simulations"]) if isinstance(one, dict)]
    if not simulations:
        raise LogError(f"{path.name} has no simulations")
    info = plain["info"]
    domain = str(at(info, "environment_info", "domain_name") or "tau2")
    scored = [(one.get("task_id"), _reward(one)) for one in simulations]
    return [
        BenchmarkRun(
            benchmark=known_name(f"tau2_{domain}"),
            harness=f"tau2-bench {at(info, 'git_commit') or 'of unknown version'}",
            deployment=str(at(info, "agent_info", "llm") or "").rsplit("/", 1)[-1],
            configuration={
                "commit": at(info, "git_commit"),
                "domain": domain,
                "agent": [at(info, "agent_info", "implementation"), at(info, "agent_info", "llm_args")],
                "user": [at(info, "user_info", "llm"), at(info, "user_info", "llm_args")],
                "steps": at(info, "max_steps"),
                "tasks": len(items(plain.get("tasks"))),
            },
            tasks=by_task((task, reward) for task, reward in scored if reward is not None),
            planned=max(len(simulations), len(items(plain.get("tasks"))) * int(number(at(info, "num_trials")) or 1)),
            errors=sum(reward is None for _, reward in scored),
            started=min(moment(one.get("start_time")) for one in simulations),
            finished=max(moment(one.get("end_time")) for one in simulations),
            log_digest=digest(data),
        )
    ]


def _reward(simulation: Any) -> float | None:
    if simulation.get("termination_reason") in FAULTS:
        return None
    found = number(at(simulation, "reward_info", "reward"))
    return None if found is None else min(1.0, max(0.0, found))

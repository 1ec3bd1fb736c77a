"""Results of the K2 Vendor Verifier: ``summary.json``, ``results.jsonl``, tables.

A table is JSON with ``providers``: rows of ``provider``, ``tool_calls`` and ``valid_tool_calls``, as in
``exacto_plugin/data/k2vv``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exacto_plugin.bench.logs.fields import LogError, at, count, digest, items, moment
from exacto_plugin.bench.runs import BenchmarkRun, by_task, task_key
from exacto_plugin.benchmark_scores.tasks import TaskScore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "k2_vendor_verifier"


def is_results(plain: Any) -> bool:
    """Return True for the content of a summary or of a table."""
    return _is_table(plain) or at(plain, "finish_tool_calls") is not None


def _is_table(plain: Any) -> bool:
    rows = items(at(plain, "providers"))
    return bool(rows) and all(at(row, "tool_calls") is not None and at(row, "provider") is not None for row in rows)


def read_results(path: Path, data: bytes, plain: Any) -> list[BenchmarkRun]:
    """Read the run of a summary, or the runs of a table.

    Raises:
        LogError: no answer called a tool.
    """
    if _is_table(plain):
        shared = {
            "date": plain.get("date"),
            "model": plain.get("model"),
            "requests": plain.get("requests_per_provider"),
        }
        return [_row(row, shared, data, moment(plain.get("date"))) for row in items(plain["providers"])]
    valid, wrong = count(plain.get("successful_tool_call_count")), count(plain.get("schema_validation_error_count"))
    if not valid + wrong:
        raise LogError("no answer in it called a tool")
    answered, failed = count(plain.get("success_count")), count(plain.get("failure_count"))
    run = _counted(path.stem, {"requests": answered + failed}, (valid, wrong), data)
    return [_with(run, planned=answered + failed, errors=failed)]


def read_lines(path: Path, data: bytes, lines: Sequence[Any]) -> list[BenchmarkRun]:
    """Read the run of ``results.jsonl``; answers without a tool call have no score.

    Raises:
        LogError: the lines are no such results.
    """
    rows = [line for line in lines if isinstance(line, dict) and "hash" in line and "status" in line]
    if not rows or len(rows) != len(lines):
        raise LogError("its lines are no results that are known; see docs/benchmarks.md")
    scored = [(row["hash"], float(bool(row.get("tool_calls_valid")))) for row in rows if _called(row)]
    times = [moment(row.get("last_run_at")) for row in rows]
    return [
        BenchmarkRun(
            benchmark=NAME,
            harness="K2-Vendor-Verifier",
            deployment=str(at(rows[0], "request", "model") or path.stem).rsplit("/", 1)[-1],
            configuration={"requests": digest("".join(sorted(str(row["hash"]) for row in rows)).encode())},
            tasks=by_task(scored),
            planned=len(rows),
            errors=sum(row["status"] != "success" for row in rows),
            started=min(times),
            finished=max(times),
            log_digest=digest(data),
        )
    ]


def _called(row: Mapping[str, Any]) -> bool:
    return row["status"] == "success" and row.get("finish_reason") == "tool_calls"


def _row(row: Mapping[str, Any], shared: dict[str, Any], data: bytes, dated: float) -> BenchmarkRun:
    calls, name = count(row["tool_calls"]), str(row["provider"])
    valid = min(calls, count(row.get("valid_tool_calls")))
    run = _counted(name, shared, (valid, calls - valid), data + name.encode())
    return _with(run, planned=count(shared["requests"]) or calls, started=dated, finished=dated)


def _counted(name: str, configuration: dict[str, Any], counts: tuple[int, int], data: bytes) -> BenchmarkRun:
    tasks, planned = counted_tasks(*counts), sum(counts)
    return BenchmarkRun(
        NAME,
        "K2-Vendor-Verifier",
        name,
        configuration,
        tasks,
        planned,
        0,
        0.0,
        0.0,
        log_digest=digest(data),
        paired=False,
    )


def _with(run: BenchmarkRun, **changes: Any) -> BenchmarkRun:
    return replace(run, **changes)


def counted_tasks(valid: int, wrong: int) -> dict[str, TaskScore]:
    """Return one nameless task for each answer of a form that only counts them.

    Two such runs share the keys, which compare nothing: the difference of their means is that of unpaired answers.
    """
    return {task_key(place): TaskScore(float(place < valid), 1) for place in range(valid + wrong)}

"""Summaries of the MiniMax Provider Verifier: ``*_summary.json``.

They count answers and do not name tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.bench.logs.fields import LogError, at, count, digest
from exacto_plugin.bench.logs.vendor_verifier import counted_tasks
from exacto_plugin.bench.runs import BenchmarkRun

if TYPE_CHECKING:
    from pathlib import Path


def is_results(plain: Any) -> bool:
    """Return True for the content of a summary."""
    return at(plain, "tool_calls_finish_tool_calls") is not None and at(plain, "success_count") is not None


def read_results(path: Path, data: bytes, plain: Any) -> list[BenchmarkRun]:
    """Read the run of a summary: the share of tool-calling answers that fit.

    Raises:
        LogError: no answer called a tool.
    """
    valid, wrong = count(plain.get("tool_calls_successful_count")), _wrong(plain)
    if not valid + wrong:
        raise LogError("no answer in it called a tool")
    return [
        BenchmarkRun(
            benchmark="minimax_provider_verifier",
            harness="MiniMax-Provider-Verifier",
            deployment=path.name.removesuffix("_summary.json"),
            configuration={"requests": count(plain.get("all_count"))},
            tasks=counted_tasks(valid, wrong),
            planned=count(plain.get("all_count")) or count(plain["success_count"]),
            errors=count(plain.get("failure_count")),
            started=0.0,
            finished=0.0,
            log_digest=digest(data),
            paired=False,
        )
    ]


def _wrong(plain: Any) -> int:
    answered = count(plain.get("tool_calls_finish_tool_calls"))
    return max(
        count(plain.get("tool_calls_schema_validation_error_count")),
        answered - count(plain.get("tool_calls_successful_count")),
    )

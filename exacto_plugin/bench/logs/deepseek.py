"""Journals and results of deepseek-provider-verifier.

A journal is JSON lines of ``{"record", "previous_hash", "record_hash"}``; a report has ``case_results``. Cases that
passed or failed count; errors, skipped and undecided ones do not.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from exacto_plugin.bench.logs.fields import LogError, at, digest, items
from exacto_plugin.bench.runs import BenchmarkRun, by_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SCORES = {"PASS": 1.0, "FAIL": 0.0}


def is_journal(lines: Sequence[Any]) -> bool:
    """Return True for the lines of a journal."""
    return bool(lines) and all(isinstance(at(line, "record"), dict) for line in lines)


def is_results(plain: Any) -> bool:
    """Return True for the content of a report."""
    return isinstance(at(plain, "case_results"), list)


def read(data: bytes, lines: Sequence[Any]) -> list[BenchmarkRun]:
    """Read the runs of a journal, one for each endpoint.

    A later result of a case replaces the earlier.

    Raises:
        LogError: it has no results.
    """
    records = [line["record"] for line in lines]
    manifest = next((at(one, "manifest_hash") for one in records if one.get("kind") == "manifest"), None)
    results = [one["result"] for one in records if one.get("kind") == "result" and isinstance(one.get("result"), dict)]
    return _runs(data, results, manifest)


def read_results(data: bytes, plain: Any) -> list[BenchmarkRun]:
    """Read the runs of a report, one for each endpoint.

    Raises:
        LogError: it has no results.
    """
    complete = plain.get("complete") is not False
    results = [one for one in items(plain["case_results"]) if isinstance(one, dict)]
    return _runs(data, results, plain.get("manifest_hash"), complete=complete)


def _runs(data: bytes, results: Iterable[Any], manifest: Any, *, complete: bool = True) -> list[BenchmarkRun]:
    endpoints: dict[str, dict[str, str]] = defaultdict(dict)
    for result in results:
        endpoints[str(result.get("endpoint"))][str(result.get("case_id"))] = str(result.get("status"))
    if not endpoints:
        raise LogError("it has no results of cases")
    return [
        BenchmarkRun(
            benchmark="deepseek_provider_verifier",
            harness="deepseek-provider-verifier",
            deployment=endpoint,
            configuration={"manifest": manifest},
            tasks=by_task((case, _SCORES[status]) for case, status in cases.items() if status in _SCORES),
            planned=sum(status != "SKIP" for status in cases.values()),
            errors=sum(status == "ERROR" for status in cases.values()),
            started=0.0,
            finished=0.0,
            log_digest=digest(data + endpoint.encode()),
            complete=complete,
        )
        for endpoint, cases in endpoints.items()
    ]

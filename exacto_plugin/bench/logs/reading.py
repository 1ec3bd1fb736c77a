"""The form of a log, and the reader for it."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

from exacto_plugin.bench.logs import csv_runs, deepseek, inspect_log, minimax, tau2, vendor_verifier
from exacto_plugin.bench.logs.fields import LogError

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.bench.runs import BenchmarkRun

LARGEST = 512 * 1024 * 1024
"""Bytes of the largest log that is read: Inspect's of tau2 through inspect_evals are about 105 MB compressed."""


def read_runs(path: Path, inspect: str | None = None) -> list[BenchmarkRun]:
    """Read the runs of a log; one of a table has one for each provider.

    Args:
        path: the log.
        inspect: the program ``inspect`` of a benchmark environment, for logs that only it can read.

    Raises:
        LogError: it has no known form, or lacks what its form promises.
        OSError: it cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise LogError(f"it is larger than {LARGEST // 1024**2} MB")
    if zipfile.is_zipfile(path):
        return inspect_log.read_archive(path, inspect)
    data = path.read_bytes()
    if path.suffix.lower() == ".csv":
        return csv_runs.read(data)
    plain = _json(data)
    if isinstance(plain, list):  # JSON lines
        return (
            deepseek.read(data, plain) if deepseek.is_journal(plain) else vendor_verifier.read_lines(path, data, plain)
        )
    if inspect_log.is_log(plain):
        return [inspect_log.read_plain(plain, data)]
    if tau2.is_results(plain):
        return tau2.read_results(path, data, plain)
    if deepseek.is_results(plain):
        return deepseek.read_results(data, plain)
    if minimax.is_results(plain):
        return minimax.read_results(path, data, plain)
    if vendor_verifier.is_results(plain):
        return vendor_verifier.read_results(path, data, plain)
    raise LogError("its form is not known; see docs/benchmarks.md for those that are")


def _json(data: bytes) -> Any:
    """Return an object, or the list of objects of JSON lines."""
    try:
        return json.loads(data)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError:
        raise LogError("it is neither JSON, JSON lines, CSV nor an .eval archive") from None

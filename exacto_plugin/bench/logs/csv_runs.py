"""A table of our own for results of any other program.

The first line has the names of the columns. Needed: ``benchmark``, ``deployment``, ``task``, ``score`` (0..1; empty for
an answer that ended in an error). Optional: ``config`` (any text that differs where scores must not be compared),
``finished`` (ISO time), ``output_tokens``. One line for each answer; lines of one benchmark, deployment and config are
one run.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict

from exacto_plugin.bench.logs.fields import LogError, digest, moment
from exacto_plugin.bench.runs import BenchmarkRun, by_task, known_name

NEEDED = ("benchmark", "deployment", "task", "score")


def read(data: bytes) -> list[BenchmarkRun]:
    """Read the runs of a table.

    Raises:
        LogError: a column is missing, or a score is no number from 0 to 1; the message has the line.
    """
    try:
        table = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise LogError(f"it is no CSV file: {error}") from None
    missing = [name for name in NEEDED if name not in (table.fieldnames or ())]
    if missing:
        raise LogError(f"it lacks the columns: {', '.join(missing)}")
    runs: dict[tuple[str, str, str], list[tuple[dict[str, str], float | None]]] = defaultdict(list)
    for line, row in enumerate(rows, start=2):
        key = known_name(row["benchmark"] or ""), row["deployment"] or "", row.get("config") or ""
        runs[key].append((row, _score(row["score"] or "", line)))
    if not runs:
        raise LogError("it has no lines below the names of the columns")
    return [_run(*key, found, data) for key, found in runs.items()]


def _score(text: str, line: int) -> float | None:
    if not text.strip():
        return None
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0:
        raise LogError(f"line {line}: score {text[:20]!r} is no number from 0 to 1")
    return score


def _run(
    benchmark: str, deployment: str, config: str, rows: list[tuple[dict[str, str], float | None]], data: bytes
) -> BenchmarkRun:
    times = [moment(row.get("finished") or "") for row, _ in rows]
    tokens = [row.get("output_tokens") or "" for row, _ in rows]
    return BenchmarkRun(
        benchmark=benchmark,
        harness="csv",
        deployment=deployment,
        configuration={"config": config},
        tasks=by_task((row["task"], score) for row, score in rows if score is not None),
        planned=len(rows),
        errors=sum(score is None for _, score in rows),
        started=min(times),
        finished=max(times),
        log_digest=digest(data + f"{benchmark}\n{deployment}\n{config}".encode()),
        output_tokens=sum(int(one) for one in tokens if one.isdigit()) if any(tokens) else None,
    )

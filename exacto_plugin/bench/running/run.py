"""One run of a benchmark, from its lease to its records.

A run that was broken off goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.bench.ingest import Known
from exacto_plugin.bench.isolated.costs import lines_of
from exacto_plugin.bench.isolated.guarded import GuardedProcess
from exacto_plugin.bench.logs.fields import LogError
from exacto_plugin.bench.recording import add_log
from exacto_plugin.bench.running.environments import inspect_of
from exacto_plugin.bench.running.shared import LEASE_S
from exacto_plugin.bench.running.specifications import Invocation, command_of, variables_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exacto_plugin.bench.isolated.proxy import IsolatedProxy
    from exacto_plugin.bench.running.plan import PlannedRun
    from exacto_plugin.bench.running.shared import BenchmarkState
    from exacto_plugin.bench.running.specifications import BenchmarkSpec
    from exacto_plugin.records import BenchmarkRecord
    from exacto_plugin.store.location import StoreLocation

RESUMED_S: Final = 86_400.0
"""Seconds in which a run that was broken off goes on; later it starts anew, so that its answers are of one time."""

LONGEST_S: Final = 6 * 3600.0
"""Seconds that a run may take."""

_POLL_S = 0.5
_NOT_PASSED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class RunEnd(StrEnum):
    """How a run ended."""

    SCORED = "scored"
    REFUSED = "refused"
    """It ended, and does not count; the reason is on record."""
    BUDGET = "budget"
    """The budget is spent; it goes on when there is more."""
    ELSEWHERE = "elsewhere"
    """Another process has the lease."""
    FAILED = "failed"
    """Its program wrote no log that can be read; it goes on the next time."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run."""

    run: PlannedRun
    end: RunEnd
    reason: str = ""
    records: tuple[BenchmarkRecord, ...] = field(default_factory=tuple)
    usd: float = 0.0
    """Cost of this invocation's answers."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The parts that all runs of an invocation share."""

    proxy: IsolatedProxy
    location: StoreLocation
    shared: BenchmarkState
    root: Path
    """Directory of the runs."""
    max_usd: float | None
    progress: Callable[[str], None]
    monthly_usd: float | None = None
    """Of all machines with this store, which spend at the same time."""


def run_benchmark(
    context: RunContext, spec: BenchmarkSpec, run: PlannedRun, program: Path, extra: Invocation
) -> RunResult:
    """Run a benchmark against one model, or go on with a run that was broken off.

    Args:
        context: of the invocation.
        spec: of the benchmark.
        run: as planned.
        program: of the benchmark's environment.
        extra: the parameters of the command.

    Raises:
        SQLAlchemyError, OSError: the store or the directory cannot be written.
    """
    if not context.shared.lease(run.model, run.benchmark):
        return RunResult(run, RunEnd.ELSEWHERE, "another process runs it now")
    try:
        return _leased(context, spec, run, program, extra)
    finally:
        context.shared.release(run.model, run.benchmark)


def _leased(context: RunContext, spec: BenchmarkSpec, run: PlannedRun, program: Path, extra: Invocation) -> RunResult:
    folder = _folder(context.root, run, extra)
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
    environment |= variables_of(spec, context.proxy.base_url, context.proxy.key, extra)
    before, asked = context.proxy.spent_usd(), _answered(context, run)
    goes_on = newest_log(logs) is not None
    with (folder / "output.txt").open("ab") as output:
        process = GuardedProcess(command_of(spec, program, extra, logs), environment, folder, output)
        try:
            stopped = _watch(process, context, run)
            ended_well = process.poll() == 0
        finally:
            process.stop()
    usd = context.proxy.spent_usd() - before
    if stopped is not None:
        return RunResult(run, stopped, _REASONS[stopped], usd=usd)
    made = _recorded(context, run, folder, inspect_of(program), usd, extra)
    if made.records and (ended_well or made.end is RunEnd.SCORED):
        folder.rename(folder.with_name(f"{folder.name}-done-{int(time.time() * 1e3)}"))  # the next run is a new one
    elif goes_on and made.end is RunEnd.FAILED and _answered(context, run) == asked:
        # Its program cannot go on with this log.
        folder.rename(folder.with_name(f"{folder.name}-left-{int(time.time() * 1e3)}"))
        return replace(made, reason=f"it could not go on, and starts anew the next time ({made.reason})")
    return made


def _answered(context: RunContext, run: PlannedRun) -> int:
    """Return the requests to a run's model that were answered."""
    return sum(line["model"] == run.model for line in lines_of(context.proxy.costs))


_REASONS = {
    RunEnd.BUDGET: "the budget is spent; the same command with more goes on from here",
    RunEnd.ELSEWHERE: "the lease was lost",
    RunEnd.FAILED: "it took too long",
}


def _watch(process: GuardedProcess, context: RunContext, run: PlannedRun) -> RunEnd | None:
    """Wait for the program; return the reason to stop it, None if it ended by itself."""
    began = renewed = told = time.monotonic()
    answers = 0
    while True:
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            pass
        else:
            return RunEnd.BUDGET if _is_spent(context) else None
        now = time.monotonic()
        if now - renewed > LEASE_S / 4:
            renewed = now
            if not context.shared.lease(run.model, run.benchmark):
                return RunEnd.ELSEWHERE
        if _is_spent(context):
            return RunEnd.BUDGET
        if now - began > LONGEST_S:
            return RunEnd.FAILED
        if now - told >= 5.0:
            told = now
            if context.monthly_usd is not None and context.shared.spent() >= context.monthly_usd:
                return RunEnd.BUDGET
            count = _answered(context, run)
            if count != answers:
                answers = count
                spent = f"{context.proxy.spent_usd():.4f} USD so far"
                context.progress(
                    f"{run.benchmark}, {run.model}: {count} requests answered, {now - began:.0f} s, {spent}"
                )


def _is_spent(context: RunContext) -> bool:
    return context.max_usd is not None and context.proxy.spent_usd() >= context.max_usd


def _recorded(
    context: RunContext, run: PlannedRun, folder: Path, inspect: str, usd: float, extra: Invocation
) -> RunResult:
    """Write the records of the newest log."""
    log = newest_log(folder / "logs")
    if log is None:
        return RunResult(run, RunEnd.FAILED, f"its program wrote no log; see {folder / 'output.txt'}", usd=usd)
    named = [Known(group, run.model, run.provider) for group in run.model_groups]
    try:
        records = add_log(context.location, log, named, inspect, {"data": extra.tasks} if extra.tasks else None)
    except LogError as error:
        return RunResult(run, RunEnd.FAILED, str(error), usd=usd)
    refused = next((record.refused for record in records if record.refused), "")
    if refused:
        return RunResult(run, RunEnd.REFUSED, refused, tuple(records), usd)
    return RunResult(run, RunEnd.SCORED, records=tuple(records), usd=usd)


def newest_log(logs: Path) -> Path | None:
    """Return the newest log of Inspect in a directory; None without one."""
    found = [one for one in logs.glob("*.eval")] + [one for one in logs.glob("*_*.json")]
    return max(found, key=lambda one: one.stat().st_mtime_ns, default=None)


def _folder(root: Path, run: PlannedRun, extra: Invocation) -> Path:
    """Return the directory of a run.

    It is that of a run with the same parameters that was broken off, if that is fresh.
    """
    same: dict[str, Any] = {
        "benchmark": run.benchmark,
        "model": run.model,
        "runs": extra.runs,
        "user_model": extra.user_model,
        "data": extra.tasks or str(extra.data or ""),
    }
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:12]
    folder = root / f"{run.benchmark}-{digest}"
    kept = folder / "run.json"
    began = json.loads(kept.read_text()).get("began", 0.0) if kept.exists() else 0.0
    if time.time() - began > RESUMED_S:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        kept.write_text(json.dumps({**same, "began": time.time()}))
    return folder

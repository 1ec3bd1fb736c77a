"""The runs of one invocation, one after the other, through one isolated proxy."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exacto_plugin.bench.isolated.proxy import isolated_proxy
from exacto_plugin.bench.running.run import RunContext, RunEnd, run_benchmark
from exacto_plugin.bench.running.shared import BenchmarkState
from exacto_plugin.bench.running.spending import add_leftovers, counting, limit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from exacto_plugin.bench.running.plan import PlannedRun
    from exacto_plugin.bench.running.run import RunResult
    from exacto_plugin.bench.running.specifications import BenchmarkSpec, Invocation
    from exacto_plugin.store.location import StoreLocation


@dataclass(frozen=True, slots=True)
class Invoked:
    """The parts of an invocation that all of its runs share."""

    config: Path
    """LiteLLM's config.yaml."""
    location: StoreLocation
    root: Path
    """Directory of the runs and of the log of the proxy."""
    program: Path
    """The benchmark's program."""
    extra: Invocation


def run_all(
    invoked: Invoked,
    spec: BenchmarkSpec,
    runs: Sequence[PlannedRun],
    limits: tuple[float | None, float | None],
    *,
    say: Callable[[str], None],
    told: Callable[[RunResult], None],
) -> list[RunResult]:
    """Run a benchmark against deployments until the budget is spent.

    Args:
        invoked: configuration, store and program.
        spec, runs: as planned.
        limits: USD for this invocation, and for all of this month; None: no limit.
        say, told: are called with lines on the progress, and with each result.

    Raises:
        ExactoError: the month's limit is reached, or the proxy does not start.
        SQLAlchemyError, OSError: the store or the directory cannot be written.
    """
    root = invoked.root
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    shared = BenchmarkState(invoked.location)
    add_leftovers(root, shared)
    limit = limit_of(*limits, shared)
    costs = root / f"costs-{int(time.time() * 1e3)}.jsonl"
    results: list[RunResult] = []
    say("starting an isolated proxy ...")
    with isolated_proxy(invoked.config, max_usd=limit, costs=costs, directory=root) as proxy, counting(costs, shared):
        context = RunContext(proxy, invoked.location, shared, root, limit, say, limits[1])
        for number, run in enumerate(runs, start=1):
            say(f"{spec.name}, {run.model} ({number} of {len(runs)}): {run.answers} answers")
            result = run_benchmark(context, spec, run, invoked.program, replace(invoked.extra, model=run.model))
            results.append(result)
            told(result)
            if result.end is RunEnd.BUDGET:
                break
    return results

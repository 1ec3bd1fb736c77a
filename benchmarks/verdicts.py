"""Bad calls and cost of the presets against what the same money buys when the true rates are known.

Populations: the measured tables of the K2 Vendor Verifier, constructed ones and hostile ones (see their scenario
files), at 1, 10 and 100 requests a minute, by ``exacto simulate --fast``. Presets face the same prices. Reported tables
use a seed that follows from the commit, so that nothing can be tuned to it; ``--seed`` below 1000 is for tuning. Run as
``python -m benchmarks.verdicts``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.frontiers import BAD_CALL_PRICE, frontiers
from exacto_plugin.simulate.fast.run import run_fast
from exacto_plugin.simulate.library import load_scenario
from exacto_plugin.simulate.metrics import figures, mean_and_margin
from exacto_plugin.simulate.presets import preset_named
from exacto_plugin.simulate.run import RunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.simulate.scenario import Scenario

MEASURED = ("k2vv-2025-09-22", "k2vv-2025-10-10", "k2vv-2025-11-15")
CONSTRUCTED = ("glm-5", "glm-4.7", "gpt-oss-120b", "deepseek-v3.2")
CLOSE = ("ladder", "six-1-3", "three", "three-close", "cheapbad", "majority-bad")
CHANGING = ("drift", "flap20", "storm", "daynight")
MIXED = ("tenant5", "sessions", "hard-tools")
EQUAL = ("ten-same", "ten-same-3", "ten-same-sessions")
POPULATIONS = (*MEASURED, *CONSTRUCTED, *CLOSE, *CHANGING, *MIXED, *EQUAL)

RATES = (100.0, 10.0, 1.0)
SEED_HELP = "below 1000 for tuning, else one that a table names (default: that of the commit)"
_REPORTED = 1000
"""The least seed of a reported table."""
INTERVAL_S = 300.0
WARM_H, MEASURED_H = 24.0, 60.0
"""Hours before the measured ones, and these. ``warm`` runs only observe in the former."""


@dataclass(frozen=True)
class Column:
    """A preset with or without a time in which its tiers are only observed."""

    title: str
    preset: str
    observe_h: float = 0.0


COLUMNS = (
    Column("none", "none"),
    Column("openrouter cold", "openrouter"),
    Column("openrouter warm", "openrouter", WARM_H),
    Column("adaptive", "adaptive"),
)


@dataclass(frozen=True)
class Job:
    """All populations under one preset at one rate of requests."""

    column: Column
    requests_per_minute: float
    seed: int
    repetitions: int


@dataclass(frozen=True)
class Outcome:
    """What came of one population; one entry per repetition."""

    bad: NDArray[np.float64]
    cost: NDArray[np.float64]
    deranks_per_day: NDArray[np.float64]


def scenario(name: str, **changes: float) -> Scenario:
    """Return a population with the hours of this benchmark."""
    hours = {"hours": WARM_H + MEASURED_H, "measure_from_h": WARM_H}
    return load_scenario(name).model_copy(update={"model_group": name, **hours, **changes})


def run(job: Job) -> tuple[list[Outcome], float]:
    """Run one job in a process of its own; return also its processor seconds."""
    began = time.process_time()
    changes = {"requests_per_minute": job.requests_per_minute, "observe_h": job.column.observe_h}
    scenarios = [scenario(name, **changes) for name in POPULATIONS]
    course = RunConfig(job.seed, job.repetitions, INTERVAL_S, INTERVAL_S)
    found = []
    for one, trace in zip(scenarios, run_fast(scenarios, preset_named(job.column.preset), course), strict=True):
        of = figures(trace, one.measure_from_h)
        found.append(Outcome(of.user_error, of.cost_ratio, of.derank_count / (one.hours / 24.0)))
    return found, time.process_time() - began


def chosen_seed(parser: argparse.ArgumentParser, given: int | None) -> tuple[int, str]:
    """Return the seed and where it is from; a negative one ends the program."""
    if given is None:
        return reported_seed()
    if given < 0:
        parser.error(f"--seed: got {given}, expected no negative number")
    return given, "a seed for tuning" if given < _REPORTED else "a seed that was given"


def reported_seed() -> tuple[int, str]:
    """Return the seed of the commit and the commit."""
    command = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    ).stdout.strip()
    return _REPORTED + zlib.crc32(commit.encode()) % 10**6, commit


def table(results: Sequence[Sequence[Outcome]], bounds: Sequence[Bounds]) -> None:
    """Print one table, ``results[column][population]``, and the means over populations."""
    rows = [["population", "J* (pool)", *(column.title for column in COLUMNS)]]
    excess: list[list[float]] = [[] for _ in COLUMNS]
    moves: list[list[float]] = [[] for _ in COLUMNS]
    for place, name in enumerate(POPULATIONS):
        of = bounds[place]
        cells = []
        for number, outcomes in enumerate(results):
            outcome = outcomes[place]
            over = outcome.cost + BAD_CALL_PRICE * outcome.bad - of.least_total
            mean, margin = mean_and_margin(over)
            attainable = np.mean([one.lp50(cost) for one, cost in zip(of.frontiers, outcome.cost, strict=True)])
            excess[number].append(mean)
            moves[number].append(float(outcome.deranks_per_day.mean()))
            cells.append(
                f"{outcome.bad.mean():6.2%} x{outcome.cost.mean():.2f} ({attainable:6.2%}) {mean:+.2f} ±{margin:.2f} "
                f"{moves[number][-1]:4.1f}/d"
            )
        rows.append([name, f"{of.least_total.mean():.2f} ({of.pool_total.mean():.2f})", *cells])
    means = [f"excess J {np.mean(e):+.3f}, moves {np.mean(m):.2f}/d" for e, m in zip(excess, moves, strict=True)]
    rows.append(["mean over populations", "", *means])
    _print_rows(rows)


class Bounds:
    """The frontiers of one population, by repetition."""

    def __init__(self, name: str, seed: int, repetitions: int) -> None:
        self.frontiers = frontiers(scenario(name), seed, repetitions)
        self.least_total = np.array([one.least_total for one in self.frontiers])
        self.pool_total = np.array([one.pool.total for one in self.frontiers])


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in [rows[0], ["-" * width for width in widths], *rows[1:]]:
        _print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=12, help="repetitions (default: 12)")
    parser.add_argument("--seed", type=int, help=SEED_HELP)
    parser.add_argument("--rpm", type=float, nargs="+", default=RATES, help="requests a minute (default: 100 10 1)")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    began = time.monotonic()
    seed, commit = chosen_seed(parser, options.seed)
    _print(f"Seed {seed} ({commit}), {options.reps} repetitions, {MEASURED_H:g} h measured from hour {WARM_H:g}.")
    _print("Cells: bad calls, cost against the default, (least bad calls at that cost, nobody above 50 %), excess of")
    _print(
        f"J = cost + {BAD_CALL_PRICE:g} x bad calls over J* ± its 95 % interval, moves into `deranked` a day and group."
    )
    bounds = [Bounds(name, seed, options.reps) for name in POPULATIONS]
    jobs = [Job(column, rpm, seed, options.reps) for rpm in options.rpm for column in COLUMNS]
    with ProcessPoolExecutor(options.processes) as pool:
        found = []
        for job, (outcomes, cpu_s) in zip(jobs, pool.map(run, jobs), strict=True):
            sys.stderr.write(f"{job.column.title} R={job.requests_per_minute:g}: {cpu_s:.0f} s of processor time\n")
            found.append(outcomes)
    for number, rpm in enumerate(options.rpm):
        _print(f"\nR = {rpm:g} requests a minute")
        table(found[number * len(COLUMNS) : (number + 1) * len(COLUMNS)], bounds)
    _print(f"\n{time.monotonic() - began:.0f} s on {options.processes} processes")


if __name__ == "__main__":
    main()

"""Detection times and false deranks by preset, simulated request by request with the real engine.

Presets face the same prices and requests (paired seeds); ± is the 95 % interval of the mean over repetitions. Bad calls
and cost of whole populations are in ``verdicts``. Run as ``python -m benchmarks.routing_quality``; ``--quick`` for a
rough look.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.simulate.command import step_for
from exacto_plugin.simulate.library import load_scenario
from exacto_plugin.simulate.metrics import figures
from exacto_plugin.simulate.presets import preset_named
from exacto_plugin.simulate.report import duration, interval
from exacto_plugin.simulate.run import RunConfig, run_together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.simulate.metrics import Figures, Timing

INTERVAL_S = 300.0
EVENT_RATES = (1.0, 10.0, 30.0, 100.0, 1000.0)
SMALL = ("two-deployments", "three-deployments")


@dataclass(frozen=True)
class Job:
    """Scenarios that run together under one preset."""

    key: str
    preset: str
    repetitions: int
    scenarios: Sequence[tuple[str, str, Mapping[str, Any]]]
    """Label, name in the library, changes."""


@dataclass
class Found:
    """All results, by job and label."""

    figures: dict[tuple[str, str], Figures] = field(default_factory=dict)
    aims: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def at(self, key: str, label: str) -> Figures:
        """What came of one scenario."""
        return self.figures[key, label]

    def aim(self, what: str, wanted: str, reached: str, good: bool) -> None:
        """Note an aim and what was reached."""
        self.aims.append((what, wanted, reached, good))


def jobs(quick: bool, reps: int) -> list[Job]:
    """Everything to run, dearest first."""
    reps = 2 if quick else reps
    fewer = -(-reps // 2)

    def events(rpm: float, **more: float) -> tuple[str, str, dict[str, Any]]:
        short = {"hours": 30.0} if quick or more else {}
        return f"{rpm:g} phi 2" if more else f"{rpm:g}", "k2vv-events", {"requests_per_minute": rpm, **more, **short}

    # 8 requests a session, 32 % of them tool calls: 1 + 2.24 * 0.45 = 2.
    clustered = {"session_requests": 8, "icc": 0.45}
    small = [
        (f"{name} {rpm:g}", name, {"requests_per_minute": rpm, "hours": 12.0})
        for name in SMALL
        for rpm in (10.0, 100.0)
    ]
    null = [(name, name, {"hours": 24.0 if quick else 72.0}) for name in ("null-independent", "null-clustered")]
    return [
        Job("null", "adaptive", reps, null),
        Job("events", "adaptive", fewer, [events(rpm) for rpm in EVENT_RATES]),
        Job("null", "openrouter", reps, null),
        Job("events", "openrouter", fewer, [events(rpm) for rpm in (10.0, 100.0)]),
        Job("phi", "adaptive", reps, [events(100.0), events(100.0, **clustered)]),
        Job("small", "adaptive", fewer, small),
        Job("small", "openrouter", fewer, small),
    ]


def run(job: Job) -> tuple[Job, list[Figures], float]:
    """Run one job in a process of its own."""
    began = time.process_time()
    scenarios = [
        load_scenario(name).model_copy(update={"model_group": label, **changes})
        for label, name, changes in job.scenarios
    ]
    step_s = min(step_for(scenario, INTERVAL_S) for scenario in scenarios)
    traces = run_together(scenarios, preset_named(job.preset), RunConfig(0, job.repetitions, step_s, INTERVAL_S))
    found = [figures(trace, scenario.measure_from_h) for trace, scenario in zip(traces, scenarios, strict=True)]
    return job, found, time.process_time() - began


def collect(planned: Sequence[Job], processes: int) -> Found:
    """Run everything."""
    found = Found()
    with ProcessPoolExecutor(processes) as pool:
        for job, results, cpu_s in pool.map(run, planned):
            sys.stderr.write(f"{job.key} {job.preset}: {cpu_s:.0f} s of processor time\n")
            for (label, _, _), result in zip(job.scenarios, results, strict=True):
                found.figures[f"{job.preset} {job.key}", label] = result
    return found


def characteristics(found: Found) -> None:
    """The table with events, by traffic."""
    heading = ["R", "preset", "bad calls, %", "regret, pp", "break found", "readmitted", "newcomer good", "probes, %"]
    heading += ["cost", "false deranks/day"]
    rows = []
    for (key, label), f in found.figures.items():
        if not key.endswith(" events"):
            continue
        timings = [_timing(t) for t in (f.detection, f.readmission, f.newcomer)]
        tail = [interval(f.probe_share * 100, 2), f"x{interval(f.cost_ratio, 2)}", interval(f.false_deranks_per_day, 3)]
        rows.append([label, key.split()[0], _error(f.user_error), interval(f.regret * 100, 2), *timings, *tail])
    _print(
        "\nK2-0905 of 2025-11-15, 120 h from a cold start; a break to 25 % at 24 h, a fix at 48 h, a newcomer at 60 h"
    )
    _table(heading, rows)
    plain, clustered = (found.at("adaptive phi", label).detection for label in ("100", "100 phi 2"))
    found.aim("break to 25 %, R=100, phi 1: median", "<= 5 min", _timing(plain), _within(plain, 5.0))
    found.aim("break to 25 %, R=100, phi 2: median", "<= 10 min", _timing(clustered), _within(clustered, 10.0))


def equal_fleets(found: Found) -> None:
    """False deranks among equal deployments."""
    _print("\nFalse deranks a model-day among fourteen equal hosts (3 % errors, equal speeds, all signals on)")
    labels = ("null-independent", "null-clustered")
    _table(
        ["preset", *labels],
        [
            [p, *(interval(found.at(f"{p} null", n).false_deranks_per_day, 3) for n in labels)]
            for p in ("openrouter", "adaptive")
        ],
    )
    for label, aim in zip(labels, (0.01, 1.0), strict=True):
        values = found.at("adaptive null", label).false_deranks_per_day
        found.aim(f"{label}: false deranks a model-day", f"<= {aim:g}", interval(values, 3), values.mean() <= aim)


def small_groups(found: Found) -> None:
    """Two and three deployments."""
    _print("\nTwo and three deployments, one bad (25 %) from the start: when it is deranked, median / p90")
    labels = [f"{name} {rpm}" for name in SMALL for rpm in (10, 100)]
    rows = [
        [p, *(_timing(found.at(f"{p} small", label).detection) for label in labels)] for p in ("openrouter", "adaptive")
    ]
    _table(["preset", *labels], rows)
    for label in labels:
        timing = found.at("adaptive small", label).detection
        limit = 180.0 if label.endswith(" 10") else 15.0
        found.aim(f"{label}: bad one deranked", f"<= {duration(limit)}", _timing(timing), _within(timing, limit))
        false = found.at("adaptive small", label).false_deranks_per_day
        found.aim(f"{label}: good ones stay", "0 deranks", interval(false, 3), not false.any())


def _within(timing: Timing, limit_min: float) -> bool:
    median = timing.quantile_min(0.5)
    return median is not None and median <= limit_min


def _timing(timing: Timing) -> str:
    if not timing.events:
        return "-"
    median, tail = (duration(timing.quantile_min(share)) for share in (0.5, 0.9))
    return f"{median} / {tail} ({len(timing.found_min)}/{timing.events})"


def _error(values: Any) -> str:
    return interval(np.asarray(values) * 100.0, 2)


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in [heading, *rows]) for at in range(len(heading))]
    for row in [heading, ["-" * width for width in widths], *rows]:
        _print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 repetitions, short: only to see that it runs")
    parser.add_argument("--reps", type=int, default=12, help="repetitions, of some half as many (default: 12)")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    began = time.monotonic()
    found = collect(jobs(options.quick, options.reps), options.processes)
    for section in (characteristics, equal_fleets, small_groups):
        section(found)
    _print("\nAims and what was reached")
    _table(
        ["", "what", "aim", "reached"],
        [["ok" if good else "SHORT", what, wanted, reached] for what, wanted, reached, good in found.aims],
    )
    _print(f"\n{time.monotonic() - began:.0f} s on {options.processes} processes")


if __name__ == "__main__":
    main()

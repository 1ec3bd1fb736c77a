"""Broken answers as a derank signal beside tool calls, simulated with the real rule: false deranks, detection, regret.

Fourteen hosts, 100 requests a minute, 40 callers. Each answer breaks with its host's rate, alone or in sessions of
eight with one fate; a third of the answers call a tool, of which every host spoils 3 %. ``observe`` and ``derank`` face
the same requests. Regret is the share of broken answers that clients got beyond that of the best hosts. A false derank
is one of a host that breaks as few answers as the best; those under ``observe`` are due to tool calls. Broken answers
are drawn by ``simulate.fast``, which draws them as it draws bad calls. Run as ``python -m benchmarks.broken_verdicts``.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.windows.increments import increments_of
from exacto_plugin.simulate.fast import run as fast
from exacto_plugin.simulate.fast.windows import IntervalWindows
from exacto_plugin.simulate.metrics import Figures, figures, mean_and_margin
from exacto_plugin.simulate.run import RunConfig
from exacto_plugin.simulate.scenario import Scenario, parse_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.simulate.fast.traffic import Calls, FleetRates

HOSTS: Final = 14
CALLS, SPOILED = 0.32, 0.03
"""Share of the answers that call a tool, and of those that are bad, at every host."""
CLUSTERED: Final = {"session_requests": 8, "icc": 0.45}
NULL_H, BREAK_H = 72.0, 36.0
AIMS: Final = {"independent": 0.05, "clustered": 1.0}
INTERVAL_S: Final = 300.0


class BothSignals(fast._Judge):
    """The windows and tiers of all groups, with the drawn calls as answers and tool calls drawn beside them."""

    def __init__(self, rule: AdaptivePreset, parts: Sequence[fast._Part], fleet: FleetRates, course: RunConfig) -> None:
        super().__init__(rule, parts, fleet, course)
        self._callers = int(fleet.callers.max())
        self._chance = np.random.default_rng([course.seed, 77])
        cells = [[_cells(caller, faulty) for faulty in (False, True)] for caller in range(self._callers)]
        of_calls, of_answers = (np.array([[one[kind] for one in row] for row in cells]) for kind in (0, 1))
        numbers, places = np.unique(np.concatenate([of_calls.ravel(), of_answers.ravel()]), return_inverse=True)
        self._of_calls, self._of_answers = (
            one.reshape(self._callers, 2, -1) for one in np.split(places, [of_calls.size])
        )
        self._windows = IntervalWindows(self._rows, int(course.interval_s), numbers)

    def _add(self, picks: NDArray[np.int64], calls: Calls) -> None:
        rows, width = self._rows, len(self._windows.cell_numbers)
        row, broken = self._slots.ravel()[calls.row], calls.bad
        asked = self._chance.random(len(row)) < CALLS * ~broken
        spoiled = asked & (self._chance.random(len(row)) < SPOILED)
        counts = [np.bincount(row[mask], minlength=rows) for mask in (broken | ~broken, asked, spoiled)]
        counts += [np.zeros(rows, np.int64), np.bincount(row[broken], minlength=rows)]
        keys = [
            (self._of_answers[calls.caller, broken.astype(np.intp)] * rows + row[:, np.newaxis]).ravel(),
            (self._of_calls[calls.caller, spoiled.astype(np.intp)] * rows + row[:, np.newaxis])[asked].ravel(),
        ]
        cells = np.bincount(np.concatenate(keys), minlength=width * rows).reshape(-1, rows)
        self._windows.add(np.stack(counts).astype(np.int64), cells)


def _cells(caller: int, faulty: bool) -> tuple[Sequence[int], Sequence[int]]:
    """Return the cells of a tool call, and those of an answer."""
    outcome = Outcome.SCHEMA_MISMATCH if faulty else Outcome.VALID
    plain = Sample("", DeploymentKey(""), 0.0, tools_offered=True, outcome=outcome, caller=f"caller-{caller}")
    of_calls = increments_of(plain, 1).cells
    both = increments_of(plain, 1, checked_callers=True).cells
    of_answer = [cell for cell in both if cell not in of_calls]
    return of_calls, [cell + faulty for cell in of_answer]


def scenario(name: str, hours: float, rates: Sequence[float], clustered: bool, **more: Any) -> Scenario:
    """A group whose hosts break answers at these rates."""
    content: dict[str, Any] = {
        "title": name,
        "model_group": name,
        "hours": hours,
        "requests_per_minute": 100.0,
        "providers": [
            {"name": f"host-{at}", "error_rate": rate, "propensity": 1.0, "price": 1.0} for at, rate in enumerate(rates)
        ],
        **(CLUSTERED if clustered else {}),
        **more,
    }
    return parse_scenario(content, name)


def scenarios(rpm: Sequence[float]) -> list[Scenario]:
    """All of them, for independent and for clustered failures."""
    found = []
    for kind, clustered in (("independent", False), ("clustered", True)):
        found += [
            scenario(f"null {rate:.1%} {kind}", NULL_H, [rate] * HOSTS, clustered) for rate in (0.001, 0.01, 0.03)
        ]
        for asked in rpm:
            broken = {"at_h": 24.0, "kind": "break", "provider": "host-3", "error_rate": 0.25}
            found.append(
                scenario(
                    f"break {asked:g} {kind}",
                    BREAK_H,
                    [0.002] * HOSTS,
                    clustered,
                    requests_per_minute=asked,
                    events=[broken],
                    measure_from_h=24.0,
                )
            )
        bad = [0.002] * (HOSTS - 3) + [0.05, 0.1, 0.25]
        found.append(scenario(f"three bad {kind}", BREAK_H, bad, clustered, measure_from_h=0.0))
    return found


def run(seed: int, repetitions: int, rpm: Sequence[float], *, derank: bool) -> dict[str, Figures]:
    """Run every scenario under one setting."""
    there = scenarios(rpm)
    course = RunConfig(seed, repetitions, INTERVAL_S, INTERVAL_S)
    preset = AdaptivePreset(broken_answers=derank)
    simulation = fast.FastSimulation(there, preset, course)
    simulation.judge = BothSignals(preset, simulation.scenarios, simulation._fleet, course)
    for step in range(max(part.steps for part in simulation.scenarios)):
        simulation.step(step)
    return {
        one.title: figures(part.trace, one.measure_from_h)
        for one, part in zip(there, simulation.scenarios, strict=True)
    }


def _interval(values: NDArray[np.float64], factor: float, digits: int) -> str:
    mean, margin = mean_and_margin(values * factor)
    return f"{mean:.{digits}f} ±{margin:.{digits}f}"


def report(found: dict[str, dict[str, Figures]]) -> list[str]:
    """The tables."""
    lines = ["false deranks a model-day among fourteen equal hosts"]
    lines.append(f"{'':26}{'observe':>16}{'derank':>16}")
    titles = list(found["observe"])
    for title in (one for one in titles if one.startswith("null")):
        row = [_interval(found[kind][title].false_deranks_per_day, 1.0, 3) for kind in ("observe", "derank")]
        lines.append(f"{title:26}" + "".join(f"{one:>16}" for one in row))
    for kind, aim in AIMS.items():
        of_kind = [one for one in titles if one.startswith("null") and one.endswith(kind)]
        worst = max(float(found["derank"][one].false_deranks_per_day.mean()) for one in of_kind)
        lines.append(f"{'ok' if worst <= aim else 'SHORT':6}{kind}: at most {worst:.3f} (aim {aim:g})")
    lines += ["", "a break to 25 % of all answers: minutes until its derank, median / p90 (found / all)"]
    for title in (one for one in titles if one.startswith("break")):
        row = []
        for kind in ("observe", "derank"):
            timing = found[kind][title].detection
            median, late = timing.quantile_min(0.5), timing.quantile_min(0.9)
            told = "-" if median is None else f"{median:.0f} / {'-' if late is None else f'{late:.0f}'}"
            row.append(f"{told} ({len(timing.found_min)}/{timing.events})")
        lines.append(f"{title:26}" + "".join(f"{one:>20}" for one in row))
    lines += ["", "broken answers that clients got, %, and regret, points"]
    for title in (one for one in titles if not one.startswith("null")):
        row = []
        for kind in ("observe", "derank"):
            one = found[kind][title]
            row.append(f"{_interval(one.user_error, 100.0, 2)} ({_interval(one.regret, 100.0, 2)})")
        lines.append(f"{title:26}" + "".join(f"{one:>30}" for one in row))
    return lines


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rpm = (10.0, 30.0, 100.0)
    found = {kind: run(options.seed, options.reps, rpm, derank=kind == "derank") for kind in ("observe", "derank")}
    sys.stdout.write("\n".join([f"{options.reps} repetitions, seed {options.seed}", "", *report(found)]) + "\n")


if __name__ == "__main__":
    main()

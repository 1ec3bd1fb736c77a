"""The way back and little traffic: repaired hosts, newcomers, a cold start and the moves into ``deranked``.

Repairs and newcomers happen at hour 48 of populations whose bad hosts are known by then; a repaired host fails 0.2 % of
its calls. The cold start is that of the newest table of the K2 Vendor Verifier, measured over seven days from the first
request. All by ``exacto simulate --fast``. Run as ``python -m benchmarks.way_back``; ``--seed`` below 1000 is for
tuning, without it the seed follows from the commit.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.verdicts import MEASURED_H, POPULATIONS, SEED_HELP, WARM_H, chosen_seed
from benchmarks.verdicts import scenario as population
from exacto_plugin.core.model import Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.simulate.fast.run import run_fast
from exacto_plugin.simulate.library import load_scenario
from exacto_plugin.simulate.metrics import figures
from exacto_plugin.simulate.presets import preset_named
from exacto_plugin.simulate.run import RunConfig
from exacto_plugin.simulate.scenario import EventKind, Scenario, ScenarioEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exacto_plugin.simulate.presets import NamedPreset
    from exacto_plugin.simulate.trace import Trace

BEFORE = {
    "burst_faults": 2,
    "chance_power": 1.0,
    "cover": 0.8,
    "quiet_ttl_s": 259_200.0,
    "suspect_chance": 0.0,
    "trial_share": 0.0,
}
"""The numbers that stand for the rule before trials had a share of their own."""

CHANGED = ("k2vv-2025-09-22", "k2vv-2025-11-15", "glm-5")
"""Populations in which a host is repaired or joins."""

EVENT_H, WATCHED_H = 48.0, 72.0
INTERVAL_S = 300.0


def changed(name: str, kind: EventKind, per_minute: float) -> Scenario:
    """Return a population in which the cheapest bad host is repaired, or a good one joins."""
    host = "@cheapest_bad" if kind is EventKind.FIX else "Newcomer"
    event = ScenarioEvent(at_h=EVENT_H, kind=kind, provider=host, error_rate=0.002, propensity=0.32)
    hours = {"hours": EVENT_H + WATCHED_H, "measure_from_h": 0.0}
    return load_scenario(name).model_copy(
        update={"model_group": name, **hours, "requests_per_minute": per_minute, "events": (event,)}
    )


def cold(per_minute: float) -> Scenario:
    """Return seven days of the newest table, from the first request on."""
    hours = {"hours": 168.0, "measure_from_h": 0.0, "requests_per_minute": per_minute}
    return load_scenario("k2vv-2025-11-15").model_copy(update=hours)


def answered(traces: Iterable[Trace], kind: str) -> tuple[list[float], int]:
    """Return the hours until events were answered, and the number of events."""
    timings = [getattr(figures(trace, 0.0), kind) for trace in traces]
    return sorted(one / 60.0 for timing in timings for one in timing.found_min), sum(one.events for one in timings)


def moves(trace: Trace) -> tuple[float, float]:
    """Return the mean number of moves into ``deranked`` a group in the measured hours.

    The second number leaves out the first move of each deployment: a bad one needs it.
    """
    found = [one for one in trace.changes if one.tier == Tier.DERANKED]
    first: dict[tuple[int, int], float] = {}
    for one in found:
        key = (one.repetition, one.place)
        first[key] = min(one.at_h, first.get(key, one.at_h))
    counted = [one for one in found if one.at_h > WARM_H]
    again = [one for one in counted if one.at_h > first[one.repetition, one.place]]
    return len(counted) / trace.repetitions, len(again) / trace.repetitions


def report(preset: NamedPreset, options: argparse.Namespace, seed: int) -> None:
    """Run and print one preset."""
    course = RunConfig(seed, options.reps, INTERVAL_S, INTERVAL_S)
    repairs = {rpm: [changed(name, EventKind.FIX, rpm) for name in CHANGED] for rpm in (10.0, 30.0)}
    joins = [changed(name, EventKind.NEWCOMER, 30.0) for name in CHANGED]
    colds = [cold(rpm) for rpm in (1.0, 3.0)]
    scenarios = [*repairs[10.0], *repairs[30.0], *joins, *colds]
    traces = iter(run_fast(scenarios, preset, course))
    _print(f"\n{preset.name}")
    for rpm, of in repairs.items():
        _timed(f"repaired, R = {rpm:g}", *answered([next(traces) for _ in of], "readmission"))
    _timed("newcomer verified, R = 30", *answered([next(traces) for _ in joins], "newcomer"))
    for one in colds:
        found = figures(next(traces), 0.0)
        cost, bad = found.cost_ratio.mean(), found.user_error.mean()
        _print(f"  {f'7 days from cold, R = {one.requests_per_minute:g}':30} {bad:6.2%} bad calls, cost x{cost:.3f}")
    for rpm in () if options.no_moves else options.moves:
        course = replace(course, repetitions=max(1, options.reps // 2))
        groups = [population(name, requests_per_minute=rpm) for name in POPULATIONS]
        number, again = np.transpose([moves(trace) for trace in run_fast(groups, preset, course)])
        most = ", ".join(
            f"{POPULATIONS[place]} {number[place]:.1f} ({again[place]:.1f} again)"
            for place in np.argsort(number)[:-4:-1]
        )
        _print(
            f"  {f'moves into deranked, R = {rpm:g}':30} most in {MEASURED_H:g} h: {most}; mean {np.mean(number):.1f}"
        )


def _timed(title: str, hours: list[float], events: int) -> None:
    within = [one for one in hours if one <= WATCHED_H]
    place = -(-events // 2) - 1
    median = f"{hours[place]:.1f} h" if 0 <= place < len(hours) else "none"
    _print(f"  {title:30} within {WATCHED_H:g} h {len(within)} of {events}, median {median}")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=12, help="repetitions (default: 12)")
    parser.add_argument("--seed", type=int, help=SEED_HELP)
    parser.add_argument("--moves", type=float, nargs="+", default=(100.0,), help="requests a minute for the moves")
    parser.add_argument("--no-moves", action="store_true", help="leave out the moves")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=NUMBER", help="one rule with these numbers only")
    options = parser.parse_args()
    seed, commit = chosen_seed(parser, options.seed)
    _print(f"Seed {seed} ({commit}), {options.reps} repetitions.")
    adaptive = preset_named("adaptive")
    numbers: dict[str, Any] = {name: float(number) for name, number in (one.split("=") for one in options.set)}
    presets = [("before", BEFORE), ("adaptive", {})] if not numbers else [(str(options.set), numbers)]
    for name, changes in presets:
        rule = AdaptivePreset(AdaptiveParameters(**changes))
        report(replace(adaptive, name=name, rule=rule), options, seed)


if __name__ == "__main__":
    main()

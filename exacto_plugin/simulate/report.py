"""Tables of results, for people and as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from exacto_plugin.simulate.metrics import first_hour, mean_and_margin
from exacto_plugin.terminal import printable, printable_text
from exacto_plugin.text_tables import DataTable, render_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from exacto_plugin.simulate.metrics import Figures, Timing
    from exacto_plugin.simulate.replay import Rates, Replay
    from exacto_plugin.simulate.run import RunConfig
    from exacto_plugin.simulate.scenario import Scenario
    from exacto_plugin.simulate.trace import Trace


@dataclass(frozen=True, slots=True)
class Result:
    """One preset's outcome."""

    preset: str
    figures: Figures
    trace: Trace


def percent(values: NDArray[np.float64]) -> str:
    """Format mean and margin as per cent."""
    return f"{interval(values * 100.0, 2)} %"


def interval(values: NDArray[np.float64], digits: int) -> str:
    """Format the mean and the margin of 95 % around it."""
    mean, margin = mean_and_margin(values)
    return f"{mean:.{digits}f}" if math.isnan(margin) else f"{mean:.{digits}f} ±{margin:.{digits}f}"


def less(figures: Figures) -> str:
    """Format the share of the default's bad calls that is avoided."""
    share, margin = figures.reduction
    if math.isnan(share):
        return "-"
    return f"{-share:+.1%}" + ("" if math.isnan(margin) else f" ±{100.0 * margin:.1f}")


def minutes(timing: Timing) -> str:
    """Format median and 90th percentile, and the number of detected events."""
    if not timing.events:
        return "-"
    median, tail = (duration(timing.quantile_min(share)) for share in (0.5, 0.9))
    return f"{median} / {tail} ({len(timing.found_min)} of {timing.events})"


def duration(value_min: float | None) -> str:
    """Format minutes; None: never."""
    if value_min is None:
        return "never"
    return f"{value_min:.0f} min" if value_min < 120 else f"{value_min / 60.0:.1f} h"


ROWS: Sequence[tuple[str, Callable[[Figures], str]]] = (
    ("bad calls", lambda f: percent(f.user_error)),
    ("against the default", less),
    ("regret against the oracle, pp", lambda f: interval(f.regret * 100.0, 2)),
    ("cost against the default", lambda f: f"x{interval(f.cost_ratio, 3)}"),
    ("probes", lambda f: percent(f.probe_share)),
    ("deranks", lambda f: interval(f.derank_count, 1)),
    ("false deranks a day", lambda f: interval(f.false_deranks_per_day, 3)),
)
_TIMINGS: Sequence[tuple[str, Callable[[Figures], Timing]]] = (
    ("break found, median / p90", lambda f: f.detection),
    ("fix readmitted", lambda f: f.readmission),
    ("newcomer verified", lambda f: f.newcomer),
)


def render(scenario: Scenario, course: RunConfig, results: Sequence[Result]) -> str:
    """Format the results as text for a terminal: one column a preset."""
    first = results[0].figures
    title = (
        f"{scenario.title or scenario.model_group}\n{scenario.hours:g} h, {scenario.requests_per_minute:g} requests a "
        f"minute, {course.repetitions} repetitions, seed {course.seed}; ± is the 95 % interval of the mean"
    )
    table = DataTable()
    first_h = first_hour(results[0].trace.hours, scenario.measure_from_h)
    table.add_column(f"from hour {first_h} on")
    for result in results:
        table.add_column(result.preset, justify="right")
    for name, cell in ROWS:
        table.add_row(name, *(cell(result.figures) for result in results))
    if any(result.figures.unserved_share.any() for result in results):
        table.add_row("unserved", *(percent(result.figures.unserved_share) for result in results))
    for name, timing in _TIMINGS:
        if any(timing(result.figures).events for result in results):
            table.add_row(name, *(minutes(timing(result.figures)) for result in results))
    bounds = (
        f"Bad calls of the default (a lottery by price among all): {percent(first.default_error)}; "
        f"of the oracle (among the good): {percent(first.oracle_error)}. Both are expected values; `none` is the"
        " default with its draws, so it differs by chance."
    )
    early = (
        f"The scenario counts from hour {scenario.measure_from_h:g} on; this run is shorter, so only its last hour"
        " counts."
        if first_h < math.floor(scenario.measure_from_h)
        else ""
    )
    return render_tables(printable_text(title), table, bounds, *([early] if early else []))


def as_dict(scenario: Scenario, course: RunConfig, results: Sequence[Result]) -> dict[str, Any]:
    """Return the results as plain data."""
    return {
        "scenario": scenario.title or scenario.model_group,
        "seed": course.seed,
        "repetitions": course.repetitions,
        "hours": scenario.hours,
        "requests_per_minute": scenario.requests_per_minute,
        "presets": {result.preset: _plain(result) for result in results},
    }


def _plain(result: Result) -> dict[str, Any]:
    figures = result.figures
    arrays = {
        "user_error": figures.user_error,
        "default_error": figures.default_error,
        "oracle_error": figures.oracle_error,
        "regret": figures.regret,
        "cost_ratio": figures.cost_ratio,
        "probe_share": figures.probe_share,
        "unserved_share": figures.unserved_share,
        "deranks": figures.derank_count,
        "false_deranks_per_day": figures.false_deranks_per_day,
    }
    timings = {"detection": figures.detection, "readmission": figures.readmission, "newcomer": figures.newcomer}
    gone, margin = figures.reduction
    return {
        **{name: _estimate(*mean_and_margin(values)) for name, values in arrays.items()},
        "reduction": _estimate(gone, margin),
        **{name: _timing(timing) for name, timing in timings.items()},
        "changes": [
            {
                "repetition": change.repetition,
                "deployment": result.trace.names[change.place],
                "at_h": change.at_h,
                "previous": change.previous,
                "tier": change.tier,
            }
            for change in result.trace.changes
        ],
    }


def _timing(timing: Timing) -> dict[str, float | int | None]:
    return {
        "events": timing.events,
        "noticed": len(timing.found_min),
        "median_min": timing.quantile_min(0.5),
        "p90_min": timing.quantile_min(0.9),
    }


def _estimate(mean: float, margin: float) -> dict[str, float | None]:
    return {"mean": None if math.isnan(mean) else mean, "margin_95": None if math.isnan(margin) else margin}


def render_replay(rates: Rates, replays: Mapping[str, Replay]) -> str:
    """Format the results of a replay as text."""
    parts = []
    for group, seen in sorted(rates.observed.items()):
        table = DataTable(title=f"{group}: {seen.offered:.0f} routed requests with tools", title_justify="left")
        for column in ("", "log", *replays):
            table.add_column(column, justify="right" if column else "left")
        outcomes = {name: replay.groups[group] for name, replay in replays.items()}
        known = f"{seen.failed / seen.attempted:.2%}" if seen.attempted else "-"
        table.add_row("bad calls", known, *(f"{o.error:.2%}" for o in outcomes.values()))
        table.add_row("bad calls, number", f"{seen.failed:.0f}", *(f"{o.bad:.0f}" for o in outcomes.values()))
        table.add_row("changes of tier", "", *(str(len(o.transitions)) for o in outcomes.values()))
        for name in sorted({*rates.picks[group], *(name for o in outcomes.values() for name in o.picks)}):
            picked = [rates.picks[group].get(name, 0.0), *(o.picks.get(name, 0.0) for o in outcomes.values())]
            table.add_row(f"picks: {name}", *(f"{count:.0f}" for count in picked))
        parts.append(render_tables(table))
        for name, outcome in outcomes.items():
            parts += [
                render_tables(
                    printable(f"{name}: {_time(change.at)} {change.deployment}: {change.previous} -> {change.tier}")
                )
                for change in outcome.transitions
            ]
    return "\n".join(parts)


def replay_as_dict(rates: Rates, replays: Mapping[str, Replay]) -> dict[str, Any]:
    """Return the results of a replay as plain data."""
    return {
        group: {
            "observed": {"requests": seen.offered, "calls": seen.attempted, "bad": seen.failed},
            "presets": {
                name: {
                    "calls": outcome.calls,
                    "bad": outcome.bad,
                    "picks": dict(outcome.picks),
                    "changes": [
                        {"at": c.at, "deployment": c.deployment, "previous": c.previous.value, "tier": c.tier.value}
                        for c in outcome.transitions
                    ],
                }
                for name, replay in replays.items()
                for outcome in (replay.groups[group],)
            },
        }
        for group, seen in sorted(rates.observed.items())
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M")

"""The built-in scenarios by name: files in ``scenarios/``, and measured tables.

The tables of the K2 Vendor Verifier give error rates and the share of answers with tool calls; prices are drawn, speeds
are left out, because the tables have neither.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from exacto_plugin.demo.k2vv import MeasuredProvider, table
from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate.scenario import Scenario, parse_scenario, read_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TABLES = ("2025-09-22", "2025-10-10", "2025-11-15")
"""Dates of the verifier's tables, oldest first."""

ENGINES = ("vLLM", "SGLang")
"""Rows of the tables that are inference engines, not hosts."""


def builtin_scenario_names() -> tuple[str, ...]:
    """Return all names, sorted."""
    return tuple(sorted({*_made(), *_written()}))


def scenario_text(name: str) -> str:
    """Return a scenario as YAML, to be edited and saved.

    Raises:
        SettingsError: there is none of this name.
    """
    if (text := _written().get(name)) is not None:
        return text
    if (make := _made().get(name)) is not None:
        return yaml.safe_dump(make(), sort_keys=False, allow_unicode=True, width=120)
    raise SettingsError(f"scenario: got {name!r}, expected a file or one of {', '.join(builtin_scenario_names())}")


def load_scenario(name_or_file: str) -> Scenario:
    """Load a built-in scenario by its name, or a scenario from a file.

    Raises:
        SettingsError: there is neither, or the file has no valid scenario.
    """
    if Path(name_or_file).suffix in (".yaml", ".yml", ".json"):
        return read_scenario(Path(name_or_file))
    return parse_scenario({"model_group": name_or_file} | yaml.safe_load(scenario_text(name_or_file)), name_or_file)


def _written() -> dict[str, str]:
    folder = files("exacto_plugin.simulate").joinpath("scenarios")
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }


def _made() -> Mapping[str, Callable[[], dict[str, Any]]]:
    tables = {f"k2vv-{date}": (lambda date=date: _table(date)) for date in TABLES}
    return {**tables, "k2vv-events": _with_events, "k2vv-one-a-minute": _one_a_minute, "launch-week": _launch_week}


def _hosts(date: str) -> list[MeasuredProvider]:
    return [row for row in table(date) if row.name not in ENGINES]


def _figures(row: MeasuredProvider) -> dict[str, Any]:
    return {"error_rate": round(row.error_rate, 6), "propensity": round(row.propensity, 6)}


def _table(date: str) -> dict[str, Any]:
    return {
        "title": f"kimi-k2-0905 as the K2 Vendor Verifier measured it on {date}",
        "note": "Bad calls among answers with tool calls, and how many answers had any; prices are drawn.",
        "model_group": "kimi-k2-0905",
        "hours": 96.0,
        "measure_from_h": 24.0,
        "requests_per_minute": 100.0,
        "providers": [{"name": row.name, **_figures(row)} for row in _hosts(date)],
    }


def _with_events() -> dict[str, Any]:
    """Return the newest table with a break, a fix and a newcomer added later."""
    return _table(TABLES[-1]) | {
        "title": "kimi-k2-0905 of 2025-11-15 with a break, a fix and a newcomer",
        "hours": 120.0,
        "measure_from_h": 0.0,
        "events": [
            {"at_h": 24.0, "kind": "break", "provider": "@cheapest_good", "error_rate": 0.25},
            {"at_h": 48.0, "kind": "fix", "provider": "@cheapest_bad", "error_rate": 0.002},
            {"at_h": 60.0, "kind": "newcomer", "provider": "Newcomer", "error_rate": 0.002, "propensity": 0.32},
        ],
    }


def _one_a_minute() -> dict[str, Any]:
    return _table(TABLES[-1]) | {
        "title": "kimi-k2-0905 of 2025-11-15, one request a minute",
        "requests_per_minute": 1.0,
    }


def _launch_week() -> dict[str, Any]:
    """Return the three tables as one history, 48 hours each.

    Providers join, leave and change between them.
    """
    start = _table(TABLES[0])
    serving = {row.name for row in _hosts(TABLES[0])}
    seen = set(serving)
    rates = {row.name: row.error_rate for row in _hosts(TABLES[0])}
    events: list[dict[str, Any]] = []
    for number, date in enumerate(TABLES[1:], start=1):
        now = {row.name: row for row in _hosts(date)}
        at_h = 48.0 * number
        events += [{"at_h": at_h, "kind": "leave", "provider": name} for name in sorted(serving - now.keys())]
        for name, row in now.items():
            if name not in serving and name in seen:
                raise SettingsError(f"launch-week: {name} comes back, which no table did so far")
            kind = "newcomer" if name not in serving else _turn(rates[name], row.error_rate)
            events.append({"at_h": at_h, "kind": kind, "provider": name, **_figures(row)})
            rates[name] = row.error_rate
        serving = set(now)
        seen |= serving
    return start | {
        "title": "launch week: the tables of 2025-09-22, 2025-10-10 and 2025-11-15, 48 hours each",
        "note": "The real ones lie weeks apart. First a wide spread, then most hosts bad, then a narrow good half.",
        "hours": 144.0,
        "events": events,
    }


def _turn(before: float, after: float) -> str:
    """Return the kind of event for a change of the error rate.

    5 points are a break or a fix, which are timed.
    """
    return "break" if after > before + 0.05 else "fix" if after < before - 0.05 else "change"

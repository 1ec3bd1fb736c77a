"""The subcommands ``exacto simulate`` and ``exacto replay``.

They parse arguments and print tables, plots or JSON.
"""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.tiers.adaptive.evidence import WINDOWS_S
from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate.fast.run import refuse_slow, run_fast
from exacto_plugin.simulate.library import builtin_scenario_names, load_scenario, scenario_text
from exacto_plugin.simulate.metrics import figures
from exacto_plugin.simulate.plot import require_matplotlib, save_png, text_plot
from exacto_plugin.simulate.presets import PRESETS, preset_named
from exacto_plugin.simulate.replay import LogWriter, Rates, Replay, read_log
from exacto_plugin.simulate.report import Result, as_dict, render, render_replay, replay_as_dict
from exacto_plugin.simulate.run import RunConfig, SampleWriter, run_together
from exacto_plugin.simulate.scenario import parse_scenario
from exacto_plugin.terminal import json_text, write_text
from exacto_plugin.text_tables import busy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.simulate.presets import NamedPreset
    from exacto_plugin.simulate.scenario import Scenario
    from exacto_plugin.simulate.trace import Trace

_MINUTE_S = 60.0


def add_simulate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``exacto simulate``."""
    parser.add_argument("scenario", nargs="?", help="a YAML or JSON file, or a name from --list")
    parser.add_argument("--list", action="store_true", help="print the names of the built-in scenarios")
    parser.add_argument("--show", action="store_true", help="print the scenario as YAML instead of running it")
    _add_presets(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the draws: the same gives the same (default: 0)"
    )
    parser.add_argument(
        "--reps",
        type=_repetitions,
        default=4,
        metavar="N",
        help="repetitions with different prices and draws (default: 4)",
    )
    parser.add_argument("--hours", type=float, help="instead of the scenario's own")
    parser.add_argument("--rpm", type=float, help="requests a minute, instead of the scenario's own")
    parser.add_argument("--rho", type=float, help="correlation of price and quality, -1 to 1")
    parser.add_argument("--interval", type=_seconds, default=300.0, help="seconds between recomputes (default: 300)")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="draw counts per interval instead of single requests, which takes less time",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and a plot")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="also draw a picture (needs matplotlib: pip install matplotlib)"
    )
    parser.add_argument(
        "--record", type=Path, metavar="LOG", help="write every outcome as JSON lines (one preset only)"
    )
    parser.epilog = (
        "examples:\n  exacto simulate --list\n  exacto simulate k2vv-2025-11-15 --fast\n"
        "  exacto simulate two-deployments --preset none adaptive,peer_cap=0.03\n"
        "  exacto simulate --show two-deployments > mine.yaml"
    )
    parser.set_defaults(run=run_simulate)


def _seconds(text: str) -> float:
    """Parse the time between two recomputes, in seconds.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1.0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 on")
    return seconds


def _repetitions(text: str) -> int:
    """Parse the number of repetitions.

    Raises:
        argparse.ArgumentTypeError: it is no such number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def run_simulate(options: argparse.Namespace) -> int:
    """Run the presets over one scenario and print the results."""
    if options.list or options.scenario is None:
        write_text("\n".join(builtin_scenario_names()))
        return 0 if options.list else 2
    if options.show:
        write_text(scenario_text(options.scenario).rstrip())
        return 0
    if options.plot is not None:
        require_matplotlib()
    scenario = _changed(load_scenario(options.scenario), options)
    presets = _presets(options)
    if options.record is not None and len(presets) > 1:
        raise SettingsError("--record: expected one --preset, since each makes a log of its own")
    if options.fast:
        refuse_slow(scenario)
        if options.record is not None:
            raise SettingsError("--record: expected no --fast, which draws no single outcomes")
    course = RunConfig(options.seed, options.reps, step_for(scenario, options.interval), options.interval)
    with ExitStack() as files:
        listener = _listener(options.record, files)
        run = run_fast if options.fast else partial(run_together, listener=listener)
        results = []
        for number, text in enumerate(presets, start=1):
            with busy(f"simulating {text} ({number} of {len(presets)}) ..."):
                results.append(_result(scenario, text, course, run))
    if options.json:
        write_text(json_text(as_dict(scenario, course, results)))
    else:
        write_text(f"{render(scenario, course, results)}\n\n{text_plot(results)}")
    if options.plot is not None:
        save_png(results, scenario.title, options.plot)
    return 0


def add_replay(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``exacto replay``."""
    parser.add_argument("log", type=Path, help="JSON lines, as `exacto simulate SCENARIO --record LOG` writes them")
    _add_presets(parser)
    parser.add_argument("--interval", type=_seconds, default=300.0, help="seconds between recomputes (default: 300)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.epilog = (
        "examples:\n  exacto simulate two-deployments --preset adaptive --record log.jsonl\n"
        "  exacto replay log.jsonl --preset openrouter adaptive"
    )
    parser.set_defaults(run=run_replay)


def run_replay(options: argparse.Namespace) -> int:
    """Replay one log under the presets and print the results."""
    presets = [preset_named(text) for text in _presets(options)]
    rates = Rates(read_log(options.log))
    replays = {preset.name: Replay(preset, rates, options.interval) for preset in presets}
    for name, replay in replays.items():
        with busy(f"replaying {name} ..."):
            replay.go(read_log(options.log))
    if options.json:
        write_text(json_text(replay_as_dict(rates, replays)))
    else:
        write_text(render_replay(rates, replays) or "the log holds no routed request with tools")
    return 0


def _add_presets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        nargs="+",
        action="extend",
        metavar="NAME[,key=value...]",
        help=f"of {', '.join(PRESETS)}; several after one flag or one flag each (default: all)",
    )


def _presets(options: argparse.Namespace) -> list[str]:
    """Return the requested presets, without duplicates."""
    return list(dict.fromkeys(options.preset or PRESETS))


def _listener(file: Path | None, files: ExitStack) -> SampleWriter | None:
    if file is None:
        return None
    try:
        writer = LogWriter(files.enter_context(file.open("w", encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"--record {file}: cannot be written: {error.strerror}") from None
    return SampleWriter(writer.roster, writer.sample)


def _result(
    scenario: Scenario,
    text: str,
    course: RunConfig,
    run: Callable[[Sequence[Scenario], NamedPreset, RunConfig], list[Trace]],
) -> Result:
    (trace,) = run([scenario], preset_named(text), course)
    return Result(text, figures(trace, scenario.measure_from_h), trace)


def step_for(scenario: Scenario, interval_s: float) -> float:
    """Return the seconds of traffic of one step, a divisor of the interval.

    All answers of a step are counted in one minute. Steps are therefore minutes where a rule counts by the minute
    (speeds, and limits that a provider refuses above), and elsewhere no longer than the shortest window.
    ``capacity_rpm`` is compared with the mean traffic, so steps of any length do.

    Raises:
        SettingsError: the interval does not consist of whole minutes, and the scenario needs them.
    """
    needs = _needs_minutes(scenario)
    if needs is None:
        return interval_s / math.ceil(interval_s / WINDOWS_S[0])
    if interval_s % _MINUTE_S:
        raise SettingsError(f"--interval: got {interval_s:g}, expected whole minutes, since the scenario has {needs}")
    return _MINUTE_S


def _needs_minutes(scenario: Scenario) -> str | None:
    """Return what of a scenario is counted by the minute, or None."""
    speeds = [*(one.tokens_per_s for one in scenario.providers), *(one.tokens_per_s for one in scenario.events)]
    if any(speed is not None for speed in speeds):
        return "speeds"
    if any(one.refuses_above_rpm is not None for one in scenario.providers):
        return "limits that are refused above (refuses_above_rpm)"
    return None


def _changed(scenario: Scenario, options: argparse.Namespace) -> Scenario:
    """Return the scenario with the changes of the command line.

    Raises:
        SettingsError: a change is not valid in a scenario.
    """
    changes: dict[str, Any] = {}
    if options.hours is not None:
        changes["hours"] = options.hours
    if options.rpm is not None:
        changes["requests_per_minute"] = options.rpm
    if options.rho is not None:
        changes["prices"] = {**scenario.prices.model_dump(), "rho": options.rho}
    return parse_scenario({**scenario.model_dump(), **changes}, "command line") if changes else scenario

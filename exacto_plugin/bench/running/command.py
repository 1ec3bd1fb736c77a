"""``exacto bench plan`` and ``exacto bench run BENCHMARK``."""

from __future__ import annotations

import hashlib
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.bench.running.airline_data import TASKS, airline_data
from exacto_plugin.bench.running.plan import Choice, PlannedRun, check_spending, planned
from exacto_plugin.bench.running.specifications import AIRLINE, SPECIFICATIONS, BenchmarkSpec, Invocation
from exacto_plugin.errors import ExactoError
from exacto_plugin.store.database import DownError, problem_of
from exacto_plugin.terminal import json_text, printable, write_text
from exacto_plugin.text_tables import PlainTable, busy, write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from exacto_plugin.bench.isolated.configuration import IsolatedModels
    from exacto_plugin.bench.running.run import RunResult
    from exacto_plugin.store.location import StoreLocation

LocationOf = Any
"""Function from the parsed arguments to the store's location."""

MONTHLY_HELP = "the same for all runs of this month; default: as configured"

MonthlyOf = Any
"""Function from the parsed arguments to the USD of a month."""


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``exacto bench plan``."""
    parser.add_argument(
        "benchmarks", nargs="*", metavar="BENCHMARK", help=f"{', '.join(SPECIFICATIONS)} (default: all of them)"
    )
    _add_choice(parser, user_model=True)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run_plan)


def add_runs(
    add_parser: Callable[..., argparse.ArgumentParser], location_of: LocationOf, monthly_of: MonthlyOf
) -> None:
    """Add a subcommand of ``exacto bench run`` for each benchmark.

    Args:
        add_parser: of the subcommands.
        location_of: returns the store of ``--store`` or ``--config``.
        monthly_of: returns the USD of a month, of ``--monthly-usd`` or the settings.
    """
    for spec in SPECIFICATIONS.values():
        parser = add_parser(spec.name, help=spec.title)
        _add_choice(parser, user_model=spec.user_model)
        parser.add_argument("--store", metavar="URL", help="the store of the scores; default: that of --config")
        parser.add_argument("--max-usd", type=float, metavar="USD", help="stop when so much is spent")
        parser.add_argument("--monthly-usd", type=float, metavar="USD", help=MONTHLY_HELP)
        parser.add_argument("--yes", action="store_true", help="run what costs money")
        parser.add_argument("--directory", type=Path, metavar="DIR", help="of environments, logs and broken-off runs")
        parser.add_argument("--environment", type=Path, metavar="ENV", help=f"existing, with {spec.program}")
        if spec.data:
            parser.add_argument("--data", type=Path, metavar="DIR", help=spec.data)
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        parser.set_defaults(
            run=lambda options, spec=spec: run_runs(options, spec, location_of(options), monthly_of(options))
        )


def _add_choice(parser: argparse.ArgumentParser, *, user_model: bool) -> None:
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="LiteLLM's config.yaml")
    parser.add_argument("--deployment", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--model", metavar="GROUP", help="only deployments of this model group")
    parser.add_argument("--runs", type=int, metavar="N", help="answers to each task (default: what a verdict needs)")
    parser.add_argument("--baseline", action="store_true", help="LiteLLM's own routing too, unpinned")
    if user_model:
        parser.add_argument("--user-model", default="", metavar="NAME", help="the deployment that speaks as the user")


def _choice(options: argparse.Namespace) -> Choice:
    user = getattr(options, "user_model", "")
    return Choice(options.deployment, options.model, options.runs, options.baseline, user)


def run_plan(options: argparse.Namespace) -> int:
    """Print what the runs would ask and cost; nothing is sent.

    Raises:
        ExactoError: a benchmark or deployment is not there, or the configuration cannot be read.
    """
    unknown = [name for name in options.benchmarks if name not in SPECIFICATIONS]
    if unknown:
        raise ExactoError(f"no benchmark {unknown[0]!r}; there are: {', '.join(SPECIFICATIONS)}")
    specs = [SPECIFICATIONS[name] for name in options.benchmarks or SPECIFICATIONS]
    models = _models(options.config)
    runs = planned(models, specs, _choice(options))
    if options.json:
        write_text(json_text({"runs": [asdict(run) for run in runs], "skipped": list(models.skipped)}))
    else:
        _print_plan(runs, models)
    return int(not runs)


def _models(config: Path) -> IsolatedModels:
    with busy("loading LiteLLM ..."):
        from exacto_plugin.bench.isolated.configuration import isolated_models
        from exacto_plugin.litellm_hooks.checks.config_file import read_merged

        return isolated_models(read_merged(config))


def _print_plan(runs: Sequence[PlannedRun], models: IsolatedModels) -> None:
    table = PlainTable()
    for column in ("benchmark", "deployment", "answers", "tokens in", "out", "USD"):
        table.add_column(column, justify="left" if column in ("benchmark", "deployment") else "right", overflow="fold")
    for run in runs:
        cells = [f"{run.answers:,}", f"{run.input_tokens:,}", f"{run.output_tokens:,}", _dollars(run)]
        table.add_row(run.benchmark, run.model, *(["-", "-", "-", run.skipped] if run.skipped else cells))
    known = [run.usd for run in runs if run.usd is not None and not run.skipped]
    unknown = sum(run.usd is None and not run.skipped and not run.is_local for run in runs)
    more = f", and {unknown} runs at an unknown price" if unknown else ""
    needed = "; ".join(
        f"{name}: {SPECIFICATIONS[name].runs} answers to each of {SPECIFICATIONS[name].tasks} tasks"
        for name in dict.fromkeys(run.benchmark for run in runs)
    )
    skipped = [printable(f"left out: {one}") for one in models.skipped]
    estimate = f"about {sum(known):.2f} USD{more}; estimates, nothing was asked"
    write_tables(table, "", *skipped, f"needed for a verdict: {needed}", estimate)


def _dollars(run: PlannedRun) -> str:
    if run.usd is None:
        return "0.00" if run.is_local else "unknown"
    return f"{run.usd:.2f}"


def run_runs(
    options: argparse.Namespace, spec: BenchmarkSpec, location: StoreLocation, monthly_usd: float | None
) -> int:
    """Run a benchmark against deployments, one after the other.

    Returns 1 unless all were scored.

    Raises:
        ExactoError: it cannot be run as asked; nothing was spent.
    """
    from exacto_plugin.bench.running.environments import default_root, has_environment, program_of
    from exacto_plugin.bench.running.invocation import Invoked, run_all

    runs = [run for run in planned(_models(options.config), [spec], _choice(options)) if not run.skipped]
    if not runs:
        raise ExactoError(f"{spec.name}: no deployment to run it against; see exacto bench plan")
    check_spending(runs, agreed=options.yes, max_usd=options.max_usd)
    root = (options.directory or default_root()).absolute()
    extra = _invocation(options, spec, root)
    if not has_environment(spec, options.environment, root):
        _say(f"creating an environment with {' '.join(spec.packages)} in {root}, once")
    program = program_of(spec, options.environment, root)

    def told(result: RunResult) -> None:
        write_text(sentence_of(result), sys.stderr if options.json else sys.stdout)

    with ended_in_order():
        try:
            invoked = Invoked(options.config, location, root / _folder_of(options.config), program, extra)
            results = run_all(invoked, spec, runs, (options.max_usd, monthly_usd), say=_say, told=told)
        except (SQLAlchemyError, OSError) as error:
            raise DownError(problem_of(error, location)) from None
    if options.json:
        write_text(json_text({"runs": [_plain(one) for one in results]}))
    return int(any(one.end != "scored" for one in results) or len(results) < len(runs))


def _invocation(options: argparse.Namespace, spec: BenchmarkSpec, root: Path) -> Invocation:
    """Return the parameters that all runs share.

    Raises:
        ExactoError: one is missing, or the data are others than those that scores can be compared for.
    """
    user, data = getattr(options, "user_model", ""), getattr(options, "data", None)
    if spec.user_model and not user:
        raise ExactoError(f"{spec.name}: name the deployment that speaks as the user with --user-model")
    if spec.name == AIRLINE and options.environment is None:
        raise ExactoError(f"{spec.name}: name an environment with OpenBench and tau2; see docs/benchmarks.md")
    if spec.name == AIRLINE and data is None:
        raise ExactoError(f"{spec.name}: name its data with --data: {spec.data}")
    tasks = ""
    if spec.name == AIRLINE and data is not None:
        data, tasks = airline_data(data, root)
        _say(f"the tasks are those of {TASKS[tasks]}")
    return Invocation("", options.runs or spec.runs, user, data, tasks)


def sentence_of(result: RunResult) -> str:
    """Return the line on the end of a run."""
    subject = printable(f"{result.run.benchmark}, {result.run.model}")
    if result.records and not result.reason:
        one = result.records[0]
        error = "" if one.error is None else f" ± {100 * one.error:.1f}"
        return f"{subject}: {100 * one.score:.1f}{error} of 100, {one.answers} answers, {result.usd:.4f} USD"
    return f"{subject}: {result.end.value}: {printable(result.reason)}"


def _plain(result: RunResult) -> dict[str, Any]:
    one = result.records[0] if result.records else None
    scored = {} if one is None else {"score": one.score, "error": one.error, "tasks": one.questions, "run": one.run}
    return {
        "benchmark": result.run.benchmark,
        "deployment": result.run.model,
        "end": result.end.value,
        "reason": result.reason,
        "usd": result.usd,
        **scored,
    }


def _folder_of(config: Path) -> str:
    """Return a directory's name for the runs of a configuration.

    Two configurations may have deployments of the same name.
    """
    return f"runs-{hashlib.sha256(str(config.absolute()).encode()).hexdigest()[:10]}"


def _say(text: str) -> None:
    write_text(printable(text), sys.stderr)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program like Ctrl-C, in good order."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

"""``exacto bench``: reads logs of benchmark runs, and shows the scores.

Works on the store itself; a proxy with the same store takes the scores over at its next recompute.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.audit.answer_sentences import score_words, share_words, verdict_words
from exacto_plugin.audit.formatting import moment
from exacto_plugin.bench.ingest import Known, UnnamedDeploymentError, deployments_named, records_of
from exacto_plugin.bench.logs.fields import LogError
from exacto_plugin.bench.logs.reading import read_runs
from exacto_plugin.bench.recording import Kept, accepted_logs, kept_runs, new_ones
from exacto_plugin.bench.running.command import add_plan, add_runs
from exacto_plugin.benchmark_scores.source import KEPT_S, replays_since, runs_since
from exacto_plugin.benchmark_scores.standings import scores_of
from exacto_plugin.benchmark_scores.verifier import comparisons
from exacto_plugin.cli.arguments import WrappingParser, add_examples
from exacto_plugin.cli.benchmarks.compare import add_compare
from exacto_plugin.cli.benchmarks.known import deployments_on_record
from exacto_plugin.cli.benchmarks.schedule import add_schedule
from exacto_plugin.cli.benchmarks.stored import monthly_usd, writing
from exacto_plugin.cli.benchmarks.verifier import add_verifier
from exacto_plugin.cli.benchmarks.verifier_text import as_plain, verifier_table
from exacto_plugin.cli.source import add_source_options, named_location
from exacto_plugin.core.wire import to_wire
from exacto_plugin.errors import StoreError
from exacto_plugin.store.rows import insert_all, reading
from exacto_plugin.terminal import json_text, printable, printable_data, write_text
from exacto_plugin.text_tables import DataTable, busy, render_tables, write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from exacto_plugin.bench.runs import BenchmarkRun
    from exacto_plugin.benchmark_scores.standings import Score
    from exacto_plugin.records import BenchmarkRecord

_MORE_TOKENS = 0.3
"""A share of output tokens above the median that is pointed out; it never affects tiers."""


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their arguments."""
    add_examples(
        parser,
        "exacto bench ingest logs/*.json --config config.yaml",
        "exacto bench show --config config.yaml",
        "exacto bench run verifier --config config.yaml --deployment kimi-groq --yes",
        "exacto bench compare --config config.yaml",
        "exacto bench plan --config config.yaml",
        "exacto bench run parcels --config config.yaml --yes --max-usd 2",
    )
    # A verb's own class adds its arguments later; these are few.
    verbs = parser.add_subparsers(dest="bench_verb", required=True, metavar="VERB", parser_class=WrappingParser)
    ingest = verbs.add_parser("ingest", help="read the logs of runs into the store")
    ingest.add_argument("logs", nargs="+", metavar="LOG", help="Inspect's .json or .eval, result tables, CSV, ...")
    ingest.add_argument("--deployment", metavar="NAME", help="the deployment that answered; default: as the log says")
    ingest.add_argument("--model", metavar="GROUP", help="its model group; needed for a deployment not on record yet")
    ingest.add_argument("--inspect", metavar="PROGRAM", help="inspect of a benchmark environment, for newer .eval logs")
    ingest.set_defaults(run=run_ingest)
    show = verbs.add_parser("show", help="scores, errors, runs and verdicts")
    show.add_argument("--model", metavar="GROUP", help="only this model group")
    show.add_argument("--reference", metavar="DEPLOYMENT", help="compare with this one instead of all others")
    show.set_defaults(run=run_show)
    add_plan(verbs.add_parser("plan", help="answers, tokens and dollars of runs; spends nothing"))
    runs = verbs.add_parser("run", help="run a benchmark against deployments")
    benchmarks = runs.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    add_runs(benchmarks.add_parser, named_location, monthly_usd)
    add_verifier(benchmarks.add_parser("verifier", help="replay tool-call requests; decides within minutes"))
    add_compare(verbs.add_parser("compare", help="default routing against tiers, from the runs on record"))
    add_schedule(verbs.add_parser("schedule", help="regular runs, by systemd or Temporal"))
    for one in (ingest, show):
        one.add_argument("--json", action="store_true", help="print JSON instead of text")
        add_source_options(one, proxy=False)


def run_ingest(options: argparse.Namespace) -> int:
    """Read logs, write accepted and refused runs, and print one line for each.

    Returns 1 when anything was refused.

    Raises:
        ExactoError: no store is given, or it cannot be written.
    """
    location, now = named_location(options), time.time()
    lines: list[dict[str, Any]] = []
    with writing(location) as connection:
        known = deployments_on_record(connection)
        kept = kept_runs(connection)
        for name in options.logs:
            with busy(f"reading {name} ..."):
                for made in _read(Path(name), options, known, kept, now):
                    lines.append(made["line"])
                    insert_all(connection, made["records"])
                    kept.update({(record.run, record.deployment): record.refused for record in made["records"]})
    if options.json:
        write_text(json_text({"runs": lines}))
    else:
        write_tables(*map(_sentence, lines))
    return int(any(line["refused"] for line in lines))


def _read(
    path: Path, options: argparse.Namespace, known: Sequence[Known], kept: Kept, now: float
) -> Iterable[dict[str, Any]]:
    """Yield for each run its records, and the line that tells what became of it."""
    try:
        runs = read_runs(path, options.inspect)
    except (LogError, OSError) as error:
        reason = str(error) if isinstance(error, LogError) else f"cannot be read: {error.strerror}"
        yield {"line": _line(path, None, options.deployment or "", reason), "records": []}
        return
    for run in runs:
        name = options.deployment or run.deployment
        try:
            named = _named(name, known, options)
        except UnnamedDeploymentError as error:
            yield {"line": _line(path, run, name, str(error)), "records": []}
            continue
        records = records_of(run, named, known, accepted_logs(kept), now)
        yield {"line": _line(path, run, named[0].deployment, records[0].refused), "records": new_ones(records, kept)}


def _named(name: str, known: Sequence[Known], options: argparse.Namespace) -> list[Known]:
    try:
        return deployments_named(name, known, options.model)
    except UnnamedDeploymentError:
        if options.deployment and options.model and not any(one.model_group == options.model for one in known):
            return [Known(options.model, options.deployment, "")]
        raise


def _line(path: Path, run: BenchmarkRun | None, deployment: str, refused: str) -> dict[str, Any]:
    scored = {} if run is None else {"benchmark": run.benchmark, "score": run.score, "tasks": len(run.tasks)}
    return {"log": path.name, "deployment": deployment, **scored, "refused": refused}


def _sentence(line: dict[str, Any]) -> str:
    subject = printable(
        ": ".join(filter(None, (line["log"], f"{line.get('benchmark', '')} {line['deployment']}".strip())))
    )
    if line["refused"]:
        return f"{subject}: refused: {printable(line['refused'])}"
    return f"{subject}: {line['score']:.1%} of {line['tasks']} tasks"


def run_show(options: argparse.Namespace) -> int:
    """Print the scores of each model group.

    Returns 1 when there are none.

    Raises:
        ExactoError: no store is given, or it cannot be read.
    """
    now = time.time()
    try:
        with reading(named_location(options)) as connection:
            groups = runs_since(connection, now - KEPT_S, options.model)
            replays = replays_since(connection, now - KEPT_S, options.model)
    except SQLAlchemyError as error:
        raise StoreError(f"the store has no benchmark runs: {type(error).__name__}") from None
    names = sorted({**groups, **replays})
    scores = {group: scores_of(groups.get(group, []), now, options.reference) for group in names}
    refused = {group: [run for run in groups.get(group, []) if run.refused] for group in names}
    verified = {group: comparisons(replays.get(group, []), options.reference) for group in names}
    if options.json:
        shown_plain = [
            {**_plain(name, scores[name], refused[name]), "verifier": [as_plain(one) for one in verified[name]]}
            for name in names
        ]
        write_text(json_text({"model_groups": shown_plain}))
        return int(not names)
    if not names:
        write_text("no benchmark runs on record; `exacto bench ingest LOG` adds them", sys.stderr)
        return 1
    shown: list[RenderableType] = []
    for group in names:
        shown += [_table(group, scores[group])] if scores[group] else []
        shown += [verifier_table(group, verified[group])] if verified[group] else []
        shown += [*(printable(_refusal(run)) for run in refused[group]), ""]
    write_text(render_tables(*shown))
    return 0


def _plain(group: str, scores: Sequence[Score], refused: Sequence[BenchmarkRecord]) -> dict[str, Any]:
    kept = [{name: value for name, value in to_wire(run).items() if name != "tasks"} for run in refused]
    return {"model_group": group, "scores": [asdict(one) for one in scores], "refused": kept}


def _refusal(run: BenchmarkRecord) -> str:
    return f"refused: {run.deployment}, {run.benchmark}, {moment(run.at)}: {run.refused}"


def _table(group: str, scores: Sequence[Score]) -> RenderableType:
    table = DataTable(title=f"{group}: runs of the last 32 days")
    for column in ("benchmark", "deployment", "score", "tasks", "runs", "of the others", "verdict", "tokens"):
        table.add_column(column, overflow="fold")
    medians: dict[str, float] = {}
    for name in {one.benchmark for one in scores}:
        counted = sorted(one.tokens for one in scores if one.benchmark == name and one.tokens is not None)
        if counted:
            medians[name] = counted[len(counted) // 2]
    for one in printable_data(list(scores)):
        told = asdict(one)
        seen = "" if one.visible is None else f"; sees drops from {100 * one.visible:.0f} points on"
        table.add_row(
            one.benchmark,
            one.deployment,
            score_words(told),
            str(one.tasks),
            str(len(one.runs)),
            share_words(told),
            verdict_words(told) + seen,
            _tokens(one.tokens, medians.get(one.benchmark)),
        )
    return table


def _tokens(own: float | None, median: float | None) -> str:
    if own is None or not median:
        return ""
    more = f" ({own / median - 1:+.0%})" if abs(own / median - 1) > _MORE_TOKENS else ""
    return f"{own:.0f}{more}"

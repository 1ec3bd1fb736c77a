"""``exacto bench run verifier``: replays tool-call requests, keeps the result.

A proxy with the same store takes the result over at its next recompute.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.bench.ingest import Known, UnnamedDeploymentError, deployments_named
from exacto_plugin.bench.running.command import MONTHLY_HELP, ended_in_order
from exacto_plugin.benchmark_scores.sequential import MOST_CALLS
from exacto_plugin.benchmark_scores.source import KEPT_S, replays_since
from exacto_plugin.benchmark_scores.verifier import comparisons
from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.cli.benchmarks.known import deployments_on_record
from exacto_plugin.cli.benchmarks.stored import monthly_usd, writing
from exacto_plugin.cli.benchmarks.verifier_text import has_failed, plain_of, sentence_of
from exacto_plugin.cli.source import add_source_options, named_location, settings_of_config
from exacto_plugin.errors import ExactoError
from exacto_plugin.store.rows import insert_all
from exacto_plugin.terminal import json_text, printable, write_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.bench.running.shared import BenchmarkState
    from exacto_plugin.bench.verifier.replay import Tally
    from exacto_plugin.bench.verifier.run import ReplaySubject
    from exacto_plugin.bench.verifier.suite import Suite
    from exacto_plugin.benchmark_scores.verifier import Comparison
    from exacto_plugin.config.settings import Settings
    from exacto_plugin.records import VerifierRecord
    from exacto_plugin.store.location import StoreLocation

KEY_VARIABLE = "LITELLM_API_KEY"

_RECENT_S = 7 * 86_400.0
"""Age up to which the reference's run is not repeated. Source: the seconds that a finding counts."""

PATIENCE_S = 150.0
"""Seconds to wait for another process's lease: that of a machine that died ends within 120."""

_CHARACTERS, _OUTPUT_TOKENS = 4, 150
"""Characters of a token, and tokens of an answer, for the estimate of the cost."""


class Plan(NamedTuple):
    """Runs that a command makes."""

    location: StoreLocation
    settings: Settings
    suite: Suite
    subjects: Sequence[Known]
    """In the order of their runs, a reference first."""
    references: dict[str, str]
    """By model group."""


def add_verifier(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench run verifier``."""
    add_examples(
        parser,
        "exacto bench run verifier --config config.yaml --deployment kimi-groq",
        "exacto bench run verifier --config config.yaml --deployment kimi-groq --yes --max-usd 2",
        "exacto bench run verifier --store URL --base-url http://127.0.0.1:4400/v1 --deployment kimi-groq --yes",
    )
    parser.add_argument("--deployment", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--model", metavar="GROUP", help="its model group; alone: all deployments of the group")
    parser.add_argument(
        "--reference", metavar="NAME", help="compare with this one; default: as configured, else others"
    )
    parser.add_argument("--samples", metavar="FILE", help="requests as in K2-Vendor-Verifier's samples.jsonl")
    parser.add_argument(
        "--base-url", metavar="URL", help="ask here; {deployment} stands for the name, which is the model's too"
    )
    parser.add_argument("--key-env", metavar="NAME", default=KEY_VARIABLE, help=f"has its key; default {KEY_VARIABLE}")
    parser.add_argument("--yes", action="store_true", help="run it: without this only the plan is printed")
    parser.add_argument("--max-usd", type=float, metavar="USD", help="money for all runs of this command")
    parser.add_argument("--monthly-usd", type=float, metavar="USD", help=MONTHLY_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    add_source_options(parser, proxy=False)
    parser.set_defaults(run=run_verifier)


def run_verifier(options: argparse.Namespace) -> int:
    """Run the verifier, write the results, and print a line for each.

    Returns 1 when a run was refused, left out or flagged a deployment, and for a plan without ``--yes``.

    Raises:
        ExactoError: no store or endpoint is given, or it cannot be used.
    """
    plan = _plan(options)
    if not options.yes:
        write_text(_plan_text(plan))
        return 1
    with ended_in_order():
        found = _runs(plan, options)
    if options.json:
        write_text(json_text({"runs": [plain_of(one) for one in found]}))
    else:
        write_text("\n".join(printable(sentence_of(one)) for one in found))
    return int(any(has_failed(one) for one in found) or len(found) < len(plan.subjects))


def _runs(plan: Plan, options: argparse.Namespace) -> list[Comparison | VerifierRecord]:
    """Run the plan, without what the money or another process leaves out."""
    from exacto_plugin.bench.running.shared import BenchmarkState
    from exacto_plugin.bench.verifier.run import ReplaySubject, run_suite
    from exacto_plugin.bench.verifier.scoring import AnswerScorer

    scorer, shared = AnswerScorer(plan.settings), BenchmarkState(plan.location)
    found: list[Comparison | VerifierRecord] = []
    with _endpoints(plan, options, shared) as (endpoint_of, left):
        for known in plan.subjects:
            if left is not None and left <= 0:
                write_text("no money is left for the other deployments", sys.stderr)
                break
            subject = ReplaySubject(known.model_group, known.deployment, endpoint_of(known))
            with shared.held(known.deployment, "verifier", PATIENCE_S) as own:
                if not own:
                    write_text(printable(f"{known.deployment}: another process runs it now"), sys.stderr)
                    continue
                earlier, reference = _earlier(plan.location, subject), plan.references.get(known.model_group)
                record = run_suite(
                    plan.suite, scorer, subject, earlier, reference, max_usd=left, progress=_progress(subject)
                )
                found.append(_keep(plan.location, record, reference))
            if options.base_url is not None:
                shared.spend(record.cost or 0.0)
            left = None if left is None else left - (record.cost or 0.0)
    return found


def _plan(options: argparse.Namespace) -> Plan:
    from exacto_plugin.bench.verifier.suite import bundled_suite, suite_of_file
    from exacto_plugin.config.settings import Settings

    location = named_location(options)
    settings = settings_of_config(Path(options.config)) if options.config else Settings()
    suite = suite_of_file(Path(options.samples)) if options.samples else bundled_suite()
    with writing(location) as connection:
        known = deployments_on_record(connection)
        if options.config and not options.base_url:
            known = [*dict.fromkeys([*known, *_configured(Path(options.config), known)])]
        subjects = _subjects(options, known)
        references = dict(settings.benchmarks.reference)
        references.update({one.model_group: options.reference for one in subjects if options.reference})
        subjects = _with_references(connection, subjects, references, known)
    return Plan(location, settings, suite, subjects, references)


def _configured(config: Path, known: Sequence[Known]) -> list[Known]:
    """Return the deployments of a configuration that are not on record yet."""
    from exacto_plugin.bench.isolated.configuration import isolated_models
    from exacto_plugin.litellm_hooks.checks.config_file import read_merged

    there = {(one.model_group, one.deployment) for one in known}
    targets = isolated_models(read_merged(config)).targets
    return [
        Known(one.model_group, one.deployment, one.candidate.provider)
        for one in targets
        if (one.model_group, one.deployment) not in there
    ]


def _subjects(options: argparse.Namespace, known: Sequence[Known]) -> list[Known]:
    """Return the deployments that the options name."""
    if not options.deployment:
        if options.model is None:
            raise ExactoError("say which deployments: --deployment NAME, or --model GROUP for all of a group")
        found = [one for one in known if one.model_group == options.model]
        if not found:
            raise ExactoError(f"no deployment of {options.model!r} is on record; name them with --deployment")
        return found
    found = []
    for name in options.deployment:
        try:
            found += deployments_named(name, known, options.model)
        except UnnamedDeploymentError as error:
            if options.model is None:
                raise ExactoError(f"{error}; name its model group with --model") from None
            found.append(Known(options.model, name, ""))
    return found


def _with_references(
    connection: Connection, subjects: Sequence[Known], references: dict[str, str], known: Sequence[Known]
) -> list[Known]:
    """Return the deployments to run: a reference first, unless it ran within a week."""
    needed: list[Known] = []
    now = time.time()
    for group, name in references.items():
        if not any(one.model_group == group for one in subjects):
            continue
        recent = replays_since(connection, now - _RECENT_S, group).get(group, [])
        asked = any(one.deployment == name and one.model_group == group for one in subjects)
        if asked or not any(one.deployment == name and not one.refused for one in recent):
            there = [one for one in known if (one.model_group, one.deployment) == (group, name)]
            needed += there or [Known(group, name, "")]
    return [*needed, *(one for one in subjects if one not in needed)]


def _plan_text(plan: Plan) -> str:
    """Describe what would be run; it spends nothing."""
    requests = min(len(plan.suite.bodies), round(MOST_CALLS * 1.3))
    tokens = plan.suite.characters / len(plan.suite.bodies) / _CHARACTERS
    names = ", ".join(f"{one.deployment} ({one.model_group})" for one in plan.subjects)
    return printable(
        f"{names}: at most about {requests} requests each of the suite {plan.suite.name}, {requests * tokens:,.0f} "
        f"input and {requests * _OUTPUT_TOKENS:,} output tokens; most runs end sooner. Add --yes to run it, and "
        "--max-usd to limit what it costs."
    )


@contextmanager
def _endpoints(
    plan: Plan, options: argparse.Namespace, shared: BenchmarkState
) -> Iterator[tuple[Callable[[Known], Any], float | None]]:
    """Yield a function from deployment to endpoint, and the USD that may be spent.

    What the isolated proxy's answers cost is added to the month, after a crash too.
    """
    from exacto_plugin.bench.running.spending import add_leftovers, counting, limit_of
    from exacto_plugin.bench.verifier.replay import Endpoint

    month = monthly_usd(options)
    if options.base_url is not None:
        base_url, key = options.base_url.rstrip("/"), os.environ.get(options.key_env, "")
        limit = limit_of(options.max_usd, month, shared)
        yield lambda known: Endpoint(base_url.replace("{deployment}", known.deployment), key, known.deployment), limit
        return
    if options.config is None:
        raise ExactoError("no endpoint given: use --config FILE, or --base-url URL")
    from exacto_plugin.bench.isolated.proxy import isolated_proxy
    from exacto_plugin.bench.running.environments import default_root
    from exacto_plugin.bench.running.plan import check_prices

    root = default_root() / "verifier"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    add_leftovers(root, shared)
    limit, costs = limit_of(options.max_usd, month, shared), root / f"costs-{time.time_ns()}.jsonl"
    with isolated_proxy(Path(options.config), max_usd=limit, costs=costs) as proxy, counting(costs, shared):
        if limit is not None:
            check_prices([proxy.models.named(one.deployment) for one in plan.subjects])
        yield (
            lambda known: Endpoint(f"{proxy.base_url}/v1", proxy.key, proxy.models.named(known.deployment).deployment),
            limit,
        )


def _earlier(location: StoreLocation, subject: ReplaySubject) -> list[VerifierRecord]:
    """Return the newest accepted run of each other deployment of a model group."""
    with writing(location) as connection:
        runs = replays_since(connection, time.time() - KEPT_S, subject.model_group).get(subject.model_group, [])
    others = [run for run in runs if not run.refused and run.deployment != subject.deployment]
    return list({run.deployment: run for run in others}.values())


def _keep(location: StoreLocation, record: VerifierRecord, reference: str | None) -> Comparison | VerifierRecord:
    """Write a run; return its comparison, or the run itself when it was refused."""
    with writing(location) as connection:
        insert_all(connection, [record])
        if record.refused:
            return record
        runs = replays_since(connection, time.time() - KEPT_S, record.model_group)[record.model_group]
    return next(one for one in comparisons(runs, reference, record.suite) if one.record.run == record.run)


def _progress(subject: ReplaySubject) -> Callable[[Tally], None]:
    """Return a function that prints a line after every fifty requests, on stderr."""

    def tell(tally: Tally) -> None:
        if tally.asked % 50 == 0:
            told = f"{tally.asked} requests, {tally.calls} calls, {tally.bad} bad, {tally.errors} errors"
            write_text(printable(f"{subject.deployment}: {told}"), sys.stderr)

    return tell

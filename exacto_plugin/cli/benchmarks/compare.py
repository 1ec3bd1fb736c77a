"""``exacto bench compare``: default routing against tiers, by runs on record."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.audit import queries
from exacto_plugin.benchmark_scores.routing_gain import RoutingGain, routing_gains
from exacto_plugin.benchmark_scores.source import KEPT_S, runs_since
from exacto_plugin.benchmark_scores.tasks import is_baseline
from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.cli.source import add_source_options, named_location
from exacto_plugin.core.model import Tier
from exacto_plugin.errors import StoreError
from exacto_plugin.store.rows import reading
from exacto_plugin.terminal import json_text, printable, write_text

if TYPE_CHECKING:
    import argparse

    from sqlalchemy import Connection

    from exacto_plugin.records import BenchmarkRecord


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench compare``."""
    add_examples(
        parser,
        "exacto bench compare --config config.yaml",
        "exacto bench compare --store URL --model kimi-k2 --json",
    )
    parser.add_argument("--model", metavar="GROUP", help="only this model group")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    add_source_options(parser, proxy=False)
    parser.set_defaults(run=run_compare)


def run_compare(options: argparse.Namespace) -> int:
    """Print the gain of tiers over default routing in each model group.

    Returns 1 where nothing can be compared.

    Raises:
        ExactoError: no store is given, or it cannot be read.
    """
    location, now = named_location(options), time.time()
    try:
        with reading(location) as connection:
            runs = runs_since(connection, now - KEPT_S, options.model)
            verified = {group: _verified(connection, group, now) for group in runs}
    except SQLAlchemyError as error:
        raise StoreError(f"the store has no benchmark runs: {type(error).__name__}") from None
    gains = {group: routing_gains(found, verified[group], now) for group, found in sorted(runs.items())}
    if options.json:
        write_text(json_text({"model_groups": [_plain(group, found) for group, found in gains.items()]}))
    else:
        lines = [line for group, found in gains.items() for line in _lines(group, found, runs[group], verified[group])]
        write_text("\n".join(map(printable, lines)) or "no benchmark runs on record")
    return int(not any(gains.values()))


def _verified(connection: Connection, group: str, now: float) -> list[str]:
    """Return the deployments of a model group that are verified good on record."""
    names = [name for of, name in queries.deployments_in(connection) if of == group]
    tiers = {name: queries.tier_at(connection, group, name, now) for name in names}
    return [name for name, record in tiers.items() if record is not None and record.tier == Tier.VERIFIED_GOOD]


def _plain(group: str, found: list[RoutingGain]) -> dict[str, Any]:
    return {"model_group": group, "gains": [{**asdict(one), "certain": one.is_certain} for one in found]}


def _lines(group: str, found: list[RoutingGain], runs: list[BenchmarkRecord], verified: list[str]) -> list[str]:
    """Return a sentence for each benchmark, or the reason why there is none."""
    if found:
        return [_sentence(group, one) for one in found]
    if not any(is_baseline(run.deployment) and not run.refused for run in runs):
        command = "exacto bench run parcels --config FILE --baseline"
        return [f"{group}: no run of default routing on record; `{command}` adds one"]
    if not verified:
        return [f"{group}: no deployment is verified good"]
    return [f"{group}: no benchmark that default routing and a verified deployment both answered often enough"]


def _sentence(group: str, one: RoutingGain) -> str:
    change = "gain" if one.gain >= 0 else "lose"
    doubt = "" if one.is_certain else ", which may be chance"
    missing = f"; no runs of {', '.join(one.unmeasured)}" if one.unmeasured else ""
    return (
        f"{group}, {one.benchmark}: default routing {one.default:.1%}, verified deployments {one.tiers:.1%} "
        f"({', '.join(one.verified)}) on {one.tasks} common tasks: tiers {change} {100 * abs(one.gain):.1f} points "
        f"(95 %: {100 * one.low:+.1f} to {100 * one.high:+.1f}){doubt}{missing}"
    )

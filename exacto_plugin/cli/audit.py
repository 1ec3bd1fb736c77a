"""``exacto audit`` and ``exacto audit verify``: changes, and their verification."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.entries import KINDS, MOST_ENTRIES, reject_filters
from exacto_plugin.audit.formatting import counted, moment, name_of, run_name, values_apart
from exacto_plugin.audit.names import display_names, resolve_deployments, resolve_group
from exacto_plugin.cli.arguments import TIMES, add_examples, time_of
from exacto_plugin.cli.source import Source, StoreSource, add_source_options, location_of, query
from exacto_plugin.cli.tiers import tier_word
from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.core.routing.overrides import OverrideAction
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import json_text, printable, printable_data, write_text
from exacto_plugin.text_tables import PlainTable, busy, write_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.audit.verify import Verification

_DEFAULT_LIMIT = 20
"""Differences that are printed one by one."""


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("what", nargs="?", choices=("verify",), help="recompute what is on record and compare")
    parser.add_argument("--model", metavar="GROUP", help="only this model group")
    parser.add_argument("--deployment", metavar="NAME", help="only this deployment")
    parser.add_argument(
        "--kind",
        action="extend",
        nargs="+",
        choices=KINDS,
        metavar="KIND",
        help=f"only these, of {', '.join(KINDS)}; default: all but {' and '.join(KINDS[-2:])}",
    )
    parser.add_argument("--since", type=time_of, metavar="TIME", help=TIMES)
    parser.add_argument("--until", type=time_of, metavar="TIME", help="as --since")
    parser.add_argument("--limit", type=_limit, default=100, help="entries at most (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_source_options(parser)
    add_examples(
        parser,
        "exacto audit --since 24h --url http://localhost:4000",
        "exacto audit --kind transition --deployment novita --config config.yaml",
        "exacto audit verify --since 24h --config config.yaml",
    )
    parser.set_defaults(run=run)


def _limit(text: str) -> int:
    """Parse a number of entries that the API can return at once.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ENTRIES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_ENTRIES}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Query and print; return 1 when a record does not follow from its inputs.

    Raises:
        ExactoError: no source is given, or it cannot answer this.
    """
    if options.what == "verify":
        return _verify(options)
    reject_filters(options.kind, options.deployment)
    found = query(options, lambda source: _entries(source, options))
    if options.json:
        write_text(json_text(found))
    elif found["entries"]:
        write_tables(_table(printable_data(found)))
    else:
        write_text("No entry is on record that matches.")
    return 0 if found["entries"] else 1


def _entries(source: Source, options: argparse.Namespace) -> dict[str, Any]:
    """Ask for the entries of a deployment by its key, else by the other names it has.

    Raises:
        ExactoError: there is no such model group or deployment.
    """

    def ask(deployment: str | None) -> dict[str, Any]:
        return source.audit(
            kinds=options.kind,
            model_group=options.model,
            deployment=deployment,
            since=options.since,
            until=options.until,
            limit=options.limit,
        )

    found = ask(options.deployment)
    if found["entries"] or (options.deployment is None and options.model is None):
        return found
    known = source.known()
    if options.deployment is None:
        resolve_group(options.model, known)
        return found
    parts = [ask(key) for key in resolve_deployments(options.deployment, known, options.model)]
    entries = sorted((entry for part in parts for entry in part["entries"]), key=lambda one: -one["at"])
    return {**found, "entries": entries[: options.limit]}


def _verify(options: argparse.Namespace) -> int:
    given = [f"--{name}" for name in ("model", "deployment", "kind") if getattr(options, name) is not None]
    if given:
        raise ExactoError(f"`audit verify` verifies all records of a time range and takes no {' or '.join(given)}")
    location = location_of(options)
    if location is None:
        raise ExactoError("verification reads the store itself: give --config FILE or --store URL")
    with busy("recomputing what is on record ..."):
        found = StoreSource(location).verify(options.since, options.until)
    if options.json:
        write_text(json_text(asdict(found)))
    else:
        nothing = [] if found.compared else [_nothing_verified(location.name, options)]
        write_tables(*nothing, *_verified(found))
    return 0 if found.compared and not found.differences else 1


def _nothing_verified(store: str, options: argparse.Namespace) -> str:
    """Return the message on a store without anything that can be verified."""
    ranged = " in this time range" if (options.since, options.until) != (None, None) else ""
    return f"Nothing that can be verified is on record{ranged} in the store {printable(store)}."


def _verified(found: Verification) -> list[str]:
    lines = (
        []
        if not found.compared
        else [
            f"{_many(found.recomputes, 'recompute')} of model groups: {_many(found.deployments, 'verdict')},"
            f" {_many(found.transitions, 'transition')} and {_many(found.references, 'reference')} computed again,"
            f" {_many(len(found.differences), 'difference') if found.differences else 'no differences'}."
        ]
    )
    if found.without_inputs:
        lines.append(f"Without inputs on record (any more): {_many(found.without_inputs, 'transition')}.")
    if found.unreadable:
        lines.append(f"Written by versions that this one cannot read: {_many(found.unreadable, 'recompute')}.")
    lines += [
        printable(
            f"{moment(one.at)} {one.model_group}, {one.what}: on record {one.recorded}, follows {one.follows}"
            f" (written by {one.engine_version})"
        )
        for one in found.differences[:_DEFAULT_LIMIT]
    ]
    return lines


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _table(found: Mapping[str, Any]) -> PlainTable:
    entries = found["entries"]
    groups = {entry["model_group"] for entry in entries if entry.get("model_group")}
    table = PlainTable()
    table.add_column(f"when ({moment(entries[0]['at']).rpartition(' ')[2]})", no_wrap=True)
    for name in ("kind", *(("model group",) if len(groups) > 1 else ()), "deployment", "what"):
        table.add_column(name, overflow="fold")
    names = _shown_names(entries)
    for entry in entries:
        group, deployment = entry.get("model_group", ""), entry.get("deployment", "")
        cells = [entry["kind"], *([group] if len(groups) > 1 else []), names.get((group, deployment), "")]
        table.add_row(moment(entry["at"]).rpartition(" ")[0], *cells, _what(entry))
    return table


def _shown_names(entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the name to show of each pair of model group and deployment."""
    pairs = {(one.get("model_group", ""), one["deployment"]) for one in entries if one.get("deployment")}
    short = {group: display_names([name for other, name in pairs if other == group]) for group, _ in pairs}
    return {(group, name): short[group][name] for group, name in pairs}


def _what(entry: Mapping[str, Any]) -> str:
    kind = entry["kind"]
    if kind == "transition":
        back = _benchmark(entry["reasons"]) if entry["previous"] == Tier.DERANKED else ""
        return f"{tier_word(entry['previous'])} → {tier_word(entry['tier'])}{_number(entry['reasons'])}{back}"
    if kind == "deployment":
        return f"{tier_word(entry['tier'])} ({entry['occasion']}){_number(entry['reasons'])}"
    if kind == "override":
        held = "" if entry["word"] == OverrideAction.RESET else f" until {moment(entry['expires'])}"
        why = f": {entry['reason']}" if entry["reason"] else ""
        return f"{entry['word']}{held}{why} (by {entry['author']})"
    if kind == "decision":
        deployments = " → ".join(attempt["deployment"] for attempt in entry["attempts"]) or "no attempt"
        return f"{entry['occasion']}: {entry['id']} {entry['policy']}, {deployments}"
    if entry["source"] == "start":
        begun = "; ".join(f"{name} {new!r} (default {old!r})" for name, (old, new) in entry["changes"].items())
        return f"start with settings {entry['digest']}: {begun or 'the defaults'}"
    changes = "; ".join(f"{name} {old!r} → {new!r}" for name, (old, new) in entry["changes"].items())
    return f"{entry['source']}, settings {entry['digest']}: {changes}"


_NOT_DECISIVE = 3


def _rank(reason: Mapping[str, Any]) -> int:
    """Return the place of a reason among those that can decide; the least decides."""
    signal, code = reason["signal"], reason["code"]
    if code == ReasonCode.BELOW_THRESHOLD:
        return 0
    if signal == Signal.VERIFIER and code == ReasonCode.READMITTED:
        return 1
    return 2 if signal == Signal.TOOL_CALL_SUCCESS else _NOT_DECISIVE


def _number(reasons: list[Mapping[str, Any]]) -> str:
    """Format the number that was decisive, against its threshold."""
    deciding = next((one for one in sorted(reasons, key=_rank) if _rank(one) < _NOT_DECISIVE), None)
    return "" if deciding is None or deciding["value"] is None else f": {_measured(deciding)}"


def _benchmark(reasons: list[Mapping[str, Any]]) -> str:
    """Format the score and run with which a deployment came back, if it has any."""
    found = [one for one in reasons if one["signal"] == Signal.BENCHMARK and one["code"] != ReasonCode.BELOW_THRESHOLD]
    return "".join(f"; {_measured(one)}" for one in found if one.get("run") and one["value"] is not None)


def _measured(reason: Mapping[str, Any]) -> str:
    signal = reason["signal"]
    measured, limit = values_apart(signal, reason["value"], reason["threshold"])
    against = "" if reason["threshold"] is None else f" against {limit}"
    name = "" if signal == Signal.TOOL_CALL_SUCCESS else f"{name_of(signal)} "
    run = f", run {run_name(reason['run'])}" if reason.get("run") else ""
    return f"{name}{measured}{against} ({counted(signal, reason['samples'])}{run})"

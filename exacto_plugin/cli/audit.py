"""``exacto audit`` and ``exacto audit verify``: changes, and their verification."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import moment, name_of, value
from exacto_plugin.audit.queries import KINDS, MOST_ENTRIES, reject_filters
from exacto_plugin.cli.source import StoreSource, add_source_options, location_of, query
from exacto_plugin.cli.why import time_of
from exacto_plugin.core.model import ReasonCode
from exacto_plugin.core.routing.overrides import OverrideAction
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import json_text, printable, printable_data, write_text
from exacto_plugin.text_tables import DataTable, render_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.audit.verify import Verification

_DEFAULT_LIMIT = 20
"""Differences that are printed one by one."""


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("what", nargs="?", choices=("verify",), help="recompute what is on record and compare")
    parser.add_argument("--model", metavar="GROUP", help="only this model group")
    parser.add_argument("--deployment", metavar="NAME", help="only this deployment")
    parser.add_argument(
        "--kind", action="extend", nargs="+", choices=KINDS, help="only these kinds; default: all but the last two"
    )
    parser.add_argument("--since", type=time_of, metavar="TIME", help='e.g. "2026-11-17 15:00"; your zone')
    parser.add_argument("--until", type=time_of, metavar="TIME", help="the same")
    parser.add_argument("--limit", type=_limit, default=100, help="entries at most (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_source_options(parser)
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
    found = query(
        options,
        lambda source: source.audit(
            kinds=options.kind,
            model_group=options.model,
            deployment=options.deployment,
            since=options.since,
            until=options.until,
            limit=options.limit,
        ),
    )
    write_text(json_text(found) if options.json else _table(printable_data(found)))
    return 0


def _verify(options: argparse.Namespace) -> int:
    given = [f"--{name}" for name in ("model", "deployment", "kind") if getattr(options, name) is not None]
    if given:
        raise ExactoError(f"`audit verify` verifies all records of a time range and takes no {' or '.join(given)}")
    location = location_of(options)
    if location is None:
        raise ExactoError("verification reads the store itself: give --config FILE or --store URL")
    found = StoreSource(location).verify(options.since, options.until)
    write_text(json_text(asdict(found)) if options.json else _verified(found))
    return 1 if found.differences else 0


def _verified(found: Verification) -> str:
    lines = [
        f"{found.recomputes} recomputes of model groups: {found.deployments} verdicts, {found.transitions} transitions"
        f" and {found.references} references computed again, {len(found.differences) or 'no'} "
        f"difference{'' if len(found.differences) == 1 else 's'}."
    ]
    if found.without_inputs:
        lines.append(f"{found.without_inputs} transitions have no inputs on record (any more).")
    if found.unreadable:
        lines.append(f"{found.unreadable} recomputes were written by versions that this one cannot read.")
    lines += [
        printable(
            f"{moment(one.at)} {one.model_group}, {one.what}: on record {one.recorded}, follows {one.follows}"
            f" (written by {one.engine_version})"
        )
        for one in found.differences[:_DEFAULT_LIMIT]
    ]
    return "\n".join(lines)


def _table(found: Mapping[str, Any]) -> str:
    table = DataTable()
    for name in ("when", "kind", "model group", "deployment", "what"):
        table.add_column(name, overflow="fold")
    for entry in found["entries"]:
        table.add_row(
            moment(entry["at"]),
            entry["kind"],
            entry.get("model_group", ""),
            entry.get("deployment", ""),
            _what(entry),
        )
    return render_tables(table, width=None if sys.stdout.isatty() else 160)


def _what(entry: Mapping[str, Any]) -> str:
    kind = entry["kind"]
    if kind == "transition":
        return f"{entry['previous']} → {entry['tier']}{_number(entry['reasons'])}"
    if kind == "deployment":
        return f"{entry['tier']} ({entry['occasion']}){_number(entry['reasons'])}"
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


def _number(reasons: list[Mapping[str, Any]]) -> str:
    """Format the number that was decisive, against its threshold."""
    deciding = next((one for one in reasons if one["code"] == ReasonCode.BELOW_THRESHOLD), None)
    deciding = deciding or next((one for one in reasons if one["signal"] == "tool_call_success"), None)
    if deciding is None or deciding["value"] is None:
        return ""
    signal = deciding["signal"]
    against = "" if deciding["threshold"] is None else f" against {value(signal, deciding['threshold'])}"
    return f": {name_of(signal)} {value(signal, deciding['value'])}{against} ({deciding['samples']})"

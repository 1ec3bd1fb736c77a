"""``exacto why`` and ``exacto tiers``: the tiers, and the sentences behind them."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import duration, moment, moment_of, observed_words, suspicion, value
from exacto_plugin.audit.sentences import request_sentence, why_sentence
from exacto_plugin.cli.source import add_source_options, query
from exacto_plugin.core.model import ReasonCode, Signal
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import json_text, printable_data, write_text
from exacto_plugin.text_tables import DataTable, render_tables

if TYPE_CHECKING:
    from collections.abc import Mapping


def time_of(text: str) -> float:
    """Parse a time on the command line to UTC seconds.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return moment_of(text, time.time())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def past_of(text: str) -> float:
    """Parse a past time on the command line to UTC seconds.

    Raises:
        argparse.ArgumentTypeError: it is none, or in the future.
    """
    at = time_of(text)
    if at > time.time():
        raise argparse.ArgumentTypeError(f"{text!r} is in the future")
    return at


def add_why(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``why``."""
    parser.add_argument("deployment", nargs="?", metavar="DEPLOYMENT", help="its name, as `tiers` shows it")
    parser.add_argument("--request", metavar="ID", help="a request: x-exacto-decision or x-litellm-call-id of it")
    parser.add_argument("--at", type=past_of, metavar="TIME", help='as it was then, e.g. "2026-11-17 15:00"; your zone')
    parser.add_argument("--model", metavar="GROUP", help="only in this model group")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    add_source_options(parser)
    parser.set_defaults(run=run_why)


def run_why(options: argparse.Namespace) -> int:
    """Query and print.

    Raises:
        ExactoError: nothing is known of the deployment or request.
    """
    if (options.request is None) == (options.deployment is None):
        raise ExactoError("name a deployment, or a request with --request")
    if options.request is not None:
        view = query(options, lambda source: source.request(options.request))
        write_text(json_text(view) if options.json else request_sentence(printable_data(view)))
        return 0
    found = query(options, lambda source: source.why(options.deployment, options.model, options.at))
    if not found["answers"]:
        raise ExactoError(_no_record(options.deployment, options.model, options.at, found.get("first_at")))
    write_text(json_text(found) if options.json else _sentences(printable_data(found)))
    return 0


def _sentences(found: Mapping[str, Any]) -> str:
    return "\n\n".join([*(why_sentence(view) for view in found["answers"]), *_ill(found)])


def _no_record(deployment: str, model_group: str | None, at: float | None, first_at: float | None) -> str:
    """Return the message without an answer, with the remedy."""
    named = repr(deployment) if model_group is None else f"{deployment!r} in {model_group!r}"
    if at is not None and first_at is not None:
        return f"nothing is on record of {named} at {moment(at)}; its first record is of {moment(first_at)}"
    if at is not None:
        return f"nothing is on record of {named}; `exacto tiers` lists the known deployments"
    return (
        f"no tier is known of {named}; `exacto tiers` lists the deployments that have one, and a proxy that has just"
        " started has none before its first recompute (tiers.recompute_interval_s)"
    )


def add_tiers(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``tiers``."""
    parser.add_argument("--model", metavar="GROUP", help="only this model group")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_source_options(parser)
    parser.set_defaults(run=run_tiers)


def run_tiers(options: argparse.Namespace) -> int:
    """Query and print."""
    found = query(options, lambda source: source.tiers(options.model))
    write_text(json_text(found) if options.json else _tiers(printable_data(found)))
    return 0


def _tiers(found: Mapping[str, Any]) -> str:
    table = DataTable()
    for name in (
        "model group",
        "deployment",
        "provider",
        "tier",
        "for",
        "tool-call success",
        "calls",
        "why",
        "observed",
    ):
        numbers = name in ("for", "tool-call success", "calls")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    now = time.time()
    for group in found["model_groups"]:
        for one in group["deployments"]:
            calls = one["signals"].get(Signal.TOOL_CALL_SUCCESS) or {"value": None, "samples": 0}
            since = one["since"]
            table.add_row(
                group["model_group"],
                one["deployment"],
                one["provider"],
                one["tier"],
                duration(now - since) if since else "-",
                "-" if calls["value"] is None else value(Signal.TOOL_CALL_SUCCESS, calls["value"]),
                str(calls["samples"]),
                _short(one),
                observed_words(one.get("observed")),
            )
    text = render_tables(table, width=None if sys.stdout.isatty() else 160)
    return "\n".join([text, *_dated(found), *_ill(found)])


def _dated(found: Mapping[str, Any]) -> list[str]:
    """Return a note on the age of recorded numbers."""
    times = [one["at"] for group in found["model_groups"] for one in group["deployments"] if found.get("recorded")]
    if not times:
        return []
    first, last = moment(min(times)), moment(max(times))
    when = f"of {first}" if first == last else f"of {first} to {last}"
    return [
        f"The numbers are {when}: each deployment's are put on record when its tier or a reason changes, and once an"
        " hour. A running proxy (--url) knows those of now."
    ]


def _short(one: Mapping[str, Any]) -> str:
    """Return the reason in a few words."""
    if one.get("override"):
        return f"override: {one['override']['reason']}"
    below = [reason for reason in one["reasons"] if reason["code"] == ReasonCode.BELOW_THRESHOLD]
    if one["tier"] == "deranked" and below:
        reason = below[0]
        return f"{value(reason['signal'], reason['value'])} against {value(reason['signal'], reason['threshold'])}"
    suspect = next((reason for reason in one["reasons"] if reason["code"] == ReasonCode.PROBABLY_BAD), None)
    if suspect is not None:
        return suspicion(suspect)
    calls = [reason["code"] for reason in one["reasons"] if reason["signal"] == Signal.TOOL_CALL_SUCCESS]
    return str((calls or [reason["code"] for reason in one["reasons"]] or ["-"])[0]).replace("_", " ")


def _ill(found: Mapping[str, Any]) -> list[str]:
    """Return a note on the store's fault, if it has one."""
    store = found.get("store")
    if not store or store.get("state") in (None, "ok", "off"):
        return []
    if store["state"] == "memory":
        return ["The store is in memory: records end with the proxy."]
    return [f"The store is {store['state']}: {store['message']}; {store['remedy']}."]

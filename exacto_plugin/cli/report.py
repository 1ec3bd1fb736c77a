"""``exacto report``: the tiers' effect on picks, bad calls and money."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.text import Text

from exacto_plugin.audit.formatting import moment, money, percent
from exacto_plugin.audit.names import display_names, resolve_group
from exacto_plugin.cli.arguments import TIMES, add_examples, time_of
from exacto_plugin.cli.source import Source, add_source_options, query
from exacto_plugin.core.routing.counterfactual import whole_hours
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import json_text, printable_data, write_text
from exacto_plugin.text_tables import PlainTable, heading, terminal_width, write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from rich.console import RenderableType

_WEEK_S = 7 * 86_400.0

_WHOLE = 1_000
"""Numbers of calls from which they are told without decimals."""

_WHAT, _LEAST_WHAT = 24, 14
"""Columns of a line's name beside intervals in the same line, and at least."""

_METHOD = (
    "Requests with tools, as they were or would have been shared out by the declared weights; shares of bad answers as"
    " measured in the same hours, or shortly before where a deployment got no traffic; prices as measured in the whole"
    " time. Intervals: 95 % (Wilson's; of bad calls and spend by normal approximation, variances doubled for clustered"
    " answers)."
)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--model", action="extend", nargs="+", metavar="GROUP", help="only these model groups")
    parser.add_argument(
        "--since", type=time_of, metavar="TIME", help=f"{TIMES}; default: a week ago; whole hours count"
    )
    parser.add_argument("--until", type=time_of, metavar="TIME", help="as --since; default: now; whole hours count")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    add_source_options(parser)
    add_examples(
        parser,
        "exacto report --since 24h --url http://localhost:4000",
        "exacto report --model kimi --json --config config.yaml",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Query and print.

    Raises:
        ExactoError: no source is given, or the time range is empty.
    """
    now = time.time()
    until = now if options.until is None else options.until
    since = until - _WEEK_S if options.since is None else options.since
    if since >= until:
        raise ExactoError(f"the time range from {moment(since)} to {moment(until)} is empty")

    def ask(source: Source) -> dict[str, Any]:
        found = source.report(since, until, options.model or ())
        if not found["model_groups"] and options.model:
            known = source.known()
            for name in options.model:
                resolve_group(name, known)
        return found

    begins, ends = whole_hours(since, until, now)
    found = {**query(options, ask), "since": begins, "until": ends}
    if options.json:
        write_text(json_text(found))
    else:
        write_tables(*_rendered(printable_data(found), begins, ends))
    return 0 if found["model_groups"] else 1


def _rendered(found: Mapping[str, Any], since: float, until: float) -> list[RenderableType]:
    period = f"From {moment(since)} to {moment(until)}"
    if not found["model_groups"]:
        return [f"{period} no request with tools was counted."]
    parts: list[RenderableType] = [f"{period}:"]
    for group in found["model_groups"]:
        parts += [
            heading(f"{group['model_group']}: {group['requests']:,.0f} request{'s' * (group['requests'] != 1)}"),
            _table(group),
            "",
            _deployments(group),
            "",
        ]
        if group["unmeasured"]:
            parts += [f"No answers yet of {', '.join(group['unmeasured'])}: assumed average.", ""]
    return [*parts, _METHOD]


def _table(group: Mapping[str, Any]) -> PlainTable:
    """Return the effect; intervals are below the numbers where there is no room."""
    rows = _effect(group)
    columns = list(zip(*rows, strict=True))[1:]
    fits = _WHAT + sum(2 + max(map(len, column)) for column in columns) <= terminal_width()
    table = PlainTable()
    table.add_column("what", min_width=_LEAST_WHAT)
    for name in ("without tiers", "with tiers", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for what, *numbers in rows:
        table.add_row(what, *(Text(one if fits else one.replace(" (", "\n(")) for one in numbers))
    return table


def _effect(group: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return what is told, without tiers, with them, and the difference."""
    applied = group["applied"]
    moved = "picks sent elsewhere" if applied >= 1 else "picks that would go elsewhere"
    rows = [(moved, "", _percents(group["changed"]), "")]
    if 0 < applied < 1:
        rows.append(("picks with tiers applied", "", percent(applied), ""))
    bad = group["bad"]
    rows.append(("expected bad calls", _counts(bad["without"]), _counts(bad["with"]), _counts(bad["difference"])))
    if 0 < applied < 1:
        rows.append(("bad calls saved so far", "", "", _counts(bad["saved"])))
    spend = group["spend_usd"]
    if spend is not None:
        rows.append(("spend", _money(spend["without"]), _money(spend["with"]), _money(spend["difference"])))
    probes, rescue = group["probes"], group["rescue"]
    if probes["requests"]:
        many = f"{probes['requests']:,.0f} probes"
        rows.append((f"bad calls of {many}", "", "", _counts(probes["bad"])))
        if probes["extra_usd"] is not None:
            rows.append((f"spend of {many}", "", "", _money(probes["extra_usd"])))
    if rescue["asked"]:
        rows.append(("rescue: answers retried", "", f"{rescue['asked']:,.0f}", ""))
        rows.append(("rescue: better answers", "", f"{rescue['rescued']:,.0f}", money(rescue["extra_usd"])))
    return rows


def _deployments(group: Mapping[str, Any]) -> PlainTable:
    """Return each deployment's shares of bad answers and picks, the worst first."""
    rows = group.get("deployments", ())
    names = display_names([one["deployment"] for one in rows])
    table = PlainTable()
    for name in ("deployment", "answers", "bad", "picks without tiers", "with tiers"):
        table.add_column(name, justify="left" if name == "deployment" else "right")
    total = sum(one["with"] for one in rows) or 1.0
    for one in sorted(rows, key=lambda one: -one["bad"] / max(1.0, one["answers"])):
        share = percent(one["bad"] / one["answers"]) if one["answers"] else "-"
        picks = (percent(one[name] / total) for name in ("without", "with"))
        table.add_row(names[one["deployment"]], f"{one['answers']:,.0f}", share, *picks)
    return table


def _bounds(found: Mapping[str, float]) -> tuple[float, float, float]:
    # Plus zero, so that "-0.0" is not shown.
    return found["value"] + 0.0, found["low"] + 0.0, found["high"] + 0.0


def _counts(found: Mapping[str, float]) -> str:
    value, low, high = _bounds(found)
    digits = 0 if max(map(abs, (value, low, high))) >= _WHOLE else 1
    return _interval(*(f"{one:,.{digits}f}" for one in (value, low, high)))


def _money(found: Mapping[str, float]) -> str:
    value, low, high = _bounds(found)
    return _interval(money(value), money(low), money(high))


def _percents(found: Mapping[str, float]) -> str:
    return _interval(percent(found["value"]), percent(found["low"]), percent(found["high"]))


def _interval(value: str, low: str, high: str) -> str:
    """Return a number with its interval; alone where the ends read as the number.

    >>> _interval("$0.18", "$0.17", "$0.19"), _interval("$0.18", "$0.18", "$0.18")
    ('$0.18 ($0.17 to $0.19)', '$0.18')
    """
    return value if value == low == high else f"{value} ({low} to {high})"

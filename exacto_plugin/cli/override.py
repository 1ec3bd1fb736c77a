"""``exacto override``: sends an operator's override to a running proxy."""

from __future__ import annotations

import argparse
import re
from datetime import datetime
from typing import Any

from exacto_plugin.cli.proxy_client import ProxyError, add_url, request_json
from exacto_plugin.terminal import json_text, printable_data, write_text

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_ACTIONS = ("good", "deranked", "reset")


def duration_s(text: str) -> float:
    """Parse a duration: ``90s``, ``30m``, ``2h``, ``1d`` or ``1h30m``, in seconds.

    Raises:
        argparse.ArgumentTypeError: it is no such thing, or zero.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration, expected something like 30m, 2h or 1d")
    return seconds


def add_override(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("deployment", metavar="DEPLOYMENT", help="its id, or its name as `tiers` shows it")
    parser.add_argument("word", choices=_ACTIONS, help="the new tier; reset: the measured one")
    parser.add_argument(
        "--for", dest="for_s", type=duration_s, metavar="TIME", help="how long: 30m, 2h, 1d; at most 30d"
    )
    parser.add_argument("--reason", default="", help="shown by `exacto why`; at most 200 characters")
    parser.add_argument("--model", metavar="GROUP", help="only in this model group")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    add_url(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Send the override, and print the state in force.

    Raises:
        ProxyError: something is missing, or the proxy did not accept it.
    """
    if options.word != "reset" and (options.for_s is None or not options.reason.strip()):
        raise ProxyError("--for and --reason are needed")
    body = {
        "deployment": options.deployment,
        "word": options.word,
        "for_s": None if options.word == "reset" else options.for_s,
        "reason": options.reason,
        "model_group": options.model,
    }
    answer = request_json(options.url, "overrides", body)
    lines = [_sentence(one) for one in printable_data(answer["overrides"])]
    if not answer["kept"]:
        lines.append("saved on this worker only: the store is not writable (see /exacto/api/status)")
    write_text(json_text(answer) if options.json else "\n".join(lines))
    return 0


def _sentence(override: dict[str, Any]) -> str:
    subject = f"{override['model_group']}: {override['deployment']}"
    measured = override["measured_tier"] or "nothing yet"
    if override["word"] == "reset":
        return f"{subject} has its measured tier again: {measured}"
    until = datetime.fromtimestamp(override["expires"]).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return f"{subject} is {override['word']} until {until}; measured: {measured}"

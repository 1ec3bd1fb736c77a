"""``exacto override``: sends an operator's override to a running proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import TIER_WORDS, moment
from exacto_plugin.audit.names import resolve_deployment
from exacto_plugin.cli.arguments import add_examples, duration_s
from exacto_plugin.cli.proxy_client import ProxyError, add_url, request_json
from exacto_plugin.cli.source import ProxySource
from exacto_plugin.core.routing.overrides import LONGEST_S, OverrideAction
from exacto_plugin.errors import UnknownNameError
from exacto_plugin.terminal import json_text, printable, printable_data, write_text
from exacto_plugin.text_tables import write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

_ACTIONS = ("good", "deranked", "reset")
_DAYS = int(LONGEST_S // 86_400)
_USAGE = """\
exacto override DEPLOYMENT {good,deranked} --for TIME --reason TEXT
                       [--url PROXY] [--model GROUP] [--json]
       exacto override DEPLOYMENT reset [--url PROXY] [--model GROUP] [--json]"""


def add_override(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = _USAGE
    parser.add_argument("deployment", metavar="DEPLOYMENT", help="its name as `tiers` shows it, its id or its provider")
    parser.add_argument(
        "word", choices=_ACTIONS, metavar="|".join(_ACTIONS), help="the new tier; reset: the measured one"
    )
    needed = parser.add_argument_group("required, except with reset")
    needed.add_argument(
        "--for", dest="for_s", type=duration_s, metavar="TIME", help=f"how long: 30m, 2h, 1d; at most {_DAYS}d"
    )
    needed.add_argument("--reason", default="", metavar="TEXT", help="shown by `exacto why`; at most 200 characters")
    parser.add_argument("--model", metavar="GROUP", help="only in this model group")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    add_url(parser)
    add_examples(
        parser,
        "export EXACTO_URL=http://localhost:4000",
        'exacto override novita deranked --for 2h --reason "maintenance until noon"',
        "exacto override novita reset",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Send the override, and print the state in force.

    Raises:
        ProxyError: something is missing, or the proxy did not accept it.
    """
    resets = options.word == "reset"
    if not resets:
        _check_required(options)
    body = {
        "word": options.word,
        "for_s": None if resets else options.for_s,
        "reason": options.reason,
        "model_group": options.model,
    }
    answer = _send(options, body)
    lines = [_sentence(one) for one in printable_data(answer["overrides"])]
    if not lines:
        lines.append(f"nothing to reset: {printable(options.deployment)} has no override")
    if not answer["kept"]:
        lines.append("saved on this worker only: the store is not writable (see /exacto/api/status)")
    if options.json:
        write_text(json_text(answer))
    else:
        write_tables(*lines)
    return 0


def _check_required(options: argparse.Namespace) -> None:
    missing = [name for name, given in (("--for", options.for_s), ("--reason", options.reason.strip())) if not given]
    if missing:
        raise ProxyError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} needed for {options.word}")
    if options.for_s > LONGEST_S:
        raise ProxyError(f"--for: at most {_DAYS}d; what holds for longer belongs into the configuration")
    if len(options.reason.strip()) > 200:
        raise ProxyError(f"--reason: at most 200 characters, got {len(options.reason.strip())}")


def _send(options: argparse.Namespace, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send the override of the deployment that is meant; a name of LiteLLM's as it is.

    Raises:
        ExactoError: several are, or none.
    """
    known = ProxySource(options.url).known()
    try:
        key = resolve_deployment(options.deployment, known, options.model)
    except UnknownNameError as unknown:
        try:  # LiteLLM's id, perhaps
            return request_json(options.url, "overrides", {"deployment": options.deployment, **body})
        except ProxyError as error:
            raise (unknown if "no deployment" in str(error) else error) from None
    return request_json(options.url, "overrides", {"deployment": key, **body})


def _sentence(override: dict[str, Any]) -> str:
    subject = f"{override['model_group']}: {override['deployment']}"
    measured = TIER_WORDS.get(override["measured_tier"], override["measured_tier"]) or "nothing yet"
    if override["word"] == "reset":
        return f"{subject} has its measured tier again: {measured}"
    tier = "verified good" if override["word"] == OverrideAction.GOOD else override["word"]
    return f"{subject} is {tier} until {moment(override['expires'])}; measured: {measured}"

"""``exacto why``: the sentences behind a tier, or behind the way of a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import duration, moment
from exacto_plugin.audit.names import resolve_deployments
from exacto_plugin.audit.request_sentences import request_sentence
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.cli.arguments import TIMES, add_examples, past_of
from exacto_plugin.cli.source import Source, add_source_options, query
from exacto_plugin.cli.tiers import store_notes
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import json_text, printable_data, write_text
from exacto_plugin.text_tables import write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_why(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``why``."""
    parser.usage = (
        "exacto why DEPLOYMENT [--at TIME] [--model GROUP] [--json] [source]\n       exacto why --request ID [--json]"
        " [source]"
    )
    parser.add_argument(
        "deployment", nargs="?", metavar="DEPLOYMENT", help="its name as `tiers` shows it, its id or its provider"
    )
    parser.add_argument("--request", metavar="ID", help="a request: x-exacto-decision or x-litellm-call-id of it")
    parser.add_argument("--at", type=past_of, metavar="TIME", help=f"as it was then: {TIMES}")
    parser.add_argument("--model", metavar="GROUP", help="only in this model group")
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    add_source_options(parser)
    add_examples(
        parser,
        "exacto why novita --url http://localhost:4000",
        'exacto why novita --at "2026-11-17 15:00" --config config.yaml',
        "exacto why --request 0197f2c1 --url http://localhost:4000",
    )
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
        if options.json:
            write_text(json_text(view))
        else:
            write_tables(request_sentence(printable_data(view)))
        return 0
    found = query(options, lambda source: _why(source, options))
    if options.json:
        write_text(json_text(found))
    else:
        write_tables(*_sentences(printable_data(found)))
    return 0


def _why(source: Source, options: argparse.Namespace) -> dict[str, Any]:
    """Ask for a deployment by its key, else by the other names that it has.

    Raises:
        ExactoError: there is none, or nothing is known of it at that time.
    """
    found = source.why(options.deployment, options.model, options.at)
    if found["answers"]:
        return found
    known = source.known()
    keys = resolve_deployments(options.deployment, known, options.model)
    parts = [source.why(key, options.model, options.at) for key in keys]
    answers = [answer for part in parts for answer in part["answers"]]
    if not answers:
        firsts = [part["first_at"] for part in parts if part.get("first_at") is not None]
        first = min(firsts, default=None)
        due = source.tiers(options.model).get("next_recompute_at") if options.at is None else None
        raise ExactoError(_no_record(options.deployment, options.model, options.at, first, due))
    return {**parts[0], "answers": answers}


def _sentences(found: Mapping[str, Any]) -> list[str]:
    paragraphs = [*(why_sentence(view) for view in found["answers"]), *store_notes(found)]
    return [text for paragraph in paragraphs for text in (paragraph, "")]


def _no_record(
    deployment: str, model_group: str | None, at: float | None, first_at: float | None, due: float | None
) -> str:
    """Return the message without an answer, with the remedy."""
    named = repr(deployment) if model_group is None else f"{deployment!r} in {model_group!r}"
    if at is not None and first_at is not None:
        return f"nothing is on record of {named} at {moment(at)}; its first record is of {moment(first_at)}"
    if at is not None:
        return f"nothing is on record of {named} at {moment(at)}"
    if due is None:
        return f"{named} has no verdict yet; a running proxy (--url) tells when the next ones are due"
    left = due - time.time()
    when = f"at {moment(due)}, in {duration(left)}" if left > 0 else "now"
    return f"{named} has no verdict yet; the next ones are due {when}, and it has one then if it had requests"

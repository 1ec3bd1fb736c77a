"""The arguments of ``exacto curate``, and its query of the proxy."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from exacto_plugin.cli.curation import Criteria, as_dict, propose, render
from exacto_plugin.cli.proxy_client import ProxyError, add_url, request_json

if TYPE_CHECKING:
    import argparse


def add_curate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    standard = Criteria()
    add_url(parser)
    parser.add_argument("--model", action="extend", nargs="+", metavar="GROUP", help="only these model groups")
    parser.add_argument(
        "--check", action="store_true", help="check the configured lists (status 1: one no longer holds)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and YAML")
    parser.add_argument("--min-calls", type=int, default=standard.min_calls, help="answers with calls (%(default)s)")
    parser.add_argument(
        "--propensity-ratio", type=float, default=standard.propensity_ratio, help="band of the odds (%(default)s)"
    )
    parser.add_argument(
        "--propensity-deviations", type=float, default=standard.propensity_deviations, help="the same (%(default)s)"
    )
    parser.add_argument(
        "--max-ignored", type=float, default=standard.max_ignored, help="share of keys that may ignore (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Query, evaluate, print; with ``--check``, return 1 when a list no longer holds.

    Raises:
        ProxyError: there is nothing to evaluate.
    """
    criteria = Criteria(
        min_calls=options.min_calls,
        propensity_ratio=max(1.0, options.propensity_ratio),
        propensity_deviations=options.propensity_deviations,
        max_ignored=options.max_ignored,
    )
    groups = request_json(options.url, "models").get("model_groups", [])
    wanted = options.model or [group["model_group"] for group in groups]
    unknown = sorted(set(wanted) - {group["model_group"] for group in groups})
    if unknown:
        raise ProxyError(f"no verdicts on {', '.join(unknown)}")
    proposals = [propose(group, criteria) for group in groups if group["model_group"] in wanted]
    text = json.dumps(as_dict(proposals), indent=2) if options.json else render(proposals, check=options.check)
    sys.stdout.write(text + "\n")
    return 1 if options.check and any(one.broken for one in proposals) else 0

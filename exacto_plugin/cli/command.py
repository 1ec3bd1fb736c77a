"""The ``exacto`` command: tables for people, ``--json`` for programs.

Each subcommand is one function.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin._version import __version__
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import json_text, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence


def _check_config(options: argparse.Namespace) -> int:
    # LiteLLM fetches its price list when it is imported; a check of a file must not wait for the network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from exacto_plugin.cli.check_config import check_config, render

    report = check_config(Path(options.file))
    if options.json:
        write_text(json_text(report.as_dict()))
    else:
        write_text(render(report))
    return 1 if report.problems else 0


def _demo(options: argparse.Namespace) -> int:
    from exacto_plugin.demo.run import run_demo

    return run_demo(keep=options.keep, port=options.port)


def _parser() -> argparse.ArgumentParser:
    from exacto_plugin.cli.audit import add_audit
    from exacto_plugin.cli.bench import add_bench
    from exacto_plugin.cli.bundle import add_bundle
    from exacto_plugin.cli.curate import add_curate
    from exacto_plugin.cli.override import add_override
    from exacto_plugin.cli.publish import add_publish
    from exacto_plugin.cli.report import add_report
    from exacto_plugin.cli.why import add_tiers, add_why
    from exacto_plugin.simulate.command import add_replay, add_simulate

    parser = argparse.ArgumentParser(prog="exacto", description="Quality routing for tool calls on LiteLLM.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    demo = verbs.add_parser("demo", help="run the main job on simulated providers and print what changed")
    demo.add_argument("--keep", action="store_true", help="leave the proxy running until Ctrl-C")
    demo.add_argument("--port", type=int, default=0, help="port of the proxy (default: a free one)")
    demo.set_defaults(run=_demo)
    check = verbs.add_parser("check-config", help="check a LiteLLM config.yaml as the plugin reads it")
    check.add_argument("file", help="LiteLLM's config.yaml")
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    check.set_defaults(run=_check_config)
    simulate = verbs.add_parser("simulate", help="compare tier presets on simulated providers, with the real engine")
    add_simulate(simulate)
    replay = verbs.add_parser("replay", help="apply tier presets to a sample log")
    add_replay(replay)
    curate = verbs.add_parser("curate", help="propose curated lists from what a running proxy has measured")
    add_curate(curate)
    override = verbs.add_parser("override", help="override a deployment's measured tier for a limited time")
    add_override(override)
    add_tiers(verbs.add_parser("tiers", help="the tiers of all deployments, and the number behind each"))
    add_why(verbs.add_parser("why", help="why a deployment has its tier, now or then, or where a request went"))
    add_audit(verbs.add_parser("audit", help="changes over time; `audit verify` recomputes and compares"))
    add_report(verbs.add_parser("report", help="what tiers change in picks, bad calls and spend, or would change"))
    add_bench(verbs.add_parser("bench", help="scores of benchmarks: read the logs of runs, show what they say"))
    add_bundle(verbs.add_parser("bundle", help="a file for a deployment's provider: rates, kinds, times, no data"))
    add_publish(verbs.add_parser("publish", help="accuracy by model and provider as JSON and CSV, if opted in"))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status.

    1 for an unexpected error, 2 for a configuration that cannot be used, 130 when interrupted.
    """
    options: Any = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ExactoError as error:
        write_text(f"exacto: {error}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        write_text("stopped", sys.stderr)
        return 130
    except Exception:
        write_text(traceback.format_exc().rstrip(), sys.stderr)  # its message may hold names too
        return 1

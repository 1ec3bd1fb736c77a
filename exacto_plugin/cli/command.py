"""The ``exacto`` command: tables for people, ``--json`` for programs.

The module of a verb is imported when the verb is used, so that a verb starts with what it needs and no more.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from exacto_plugin._version import __version__
from exacto_plugin.cli.arguments import WrappingParser
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence


class Verb(NamedTuple):
    """One subcommand."""

    name: str
    add: str
    """``module:function``; the function adds the arguments, and sets ``run``, to a parser."""
    help: str


VERBS: Final = (
    Verb("demo", "exacto_plugin.cli.demo:add_demo", "run the main job on simulated providers and print what changed"),
    Verb("init", "exacto_plugin.cli.init:add_init", "add the plugin to a LiteLLM config.yaml, after showing the diff"),
    Verb(
        "check-config",
        "exacto_plugin.cli.check_config:add_check_config",
        "check a LiteLLM config.yaml as the plugin reads it",
    ),
    Verb("doctor", "exacto_plugin.cli.doctor:add_doctor", "check a running proxy: key, store, sharing, next verdicts"),
    Verb("tiers", "exacto_plugin.cli.tiers:add_tiers", "the tiers of all deployments, and the number behind each"),
    Verb("why", "exacto_plugin.cli.why:add_why", "why a deployment has its tier, now or then, or where a request went"),
    Verb("audit", "exacto_plugin.cli.audit:add_audit", "changes over time; `audit verify` recomputes and compares"),
    Verb(
        "report",
        "exacto_plugin.cli.report:add_report",
        "what tiers change in picks, bad calls and spend, or would change",
    ),
    Verb(
        "override",
        "exacto_plugin.cli.override:add_override",
        "override a deployment's measured tier for a limited time",
    ),
    Verb(
        "curate", "exacto_plugin.cli.curate:add_curate", "propose curated lists from what a running proxy has measured"
    ),
    Verb(
        "simulate",
        "exacto_plugin.simulate.command:add_simulate",
        "compare tier presets on simulated providers, with the real engine",
    ),
    Verb("bench", "exacto_plugin.cli.bench:add_bench", "scores of benchmarks, from the logs of their runs"),
    Verb(
        "bundle",
        "exacto_plugin.cli.bundle:add_bundle",
        "a file for a deployment's provider, without data",
    ),
    Verb(
        "publish",
        "exacto_plugin.cli.publish:add_publish",
        "accuracy by model and provider, to be published",
    ),
    Verb("replay", "exacto_plugin.simulate.command:add_replay", "apply tier presets to a sample log"),
)


class VerbParser(WrappingParser):
    """The parser of one verb, whose arguments are added when it is used.

    Args:
        add: as in ``Verb``.
        more: of ``ArgumentParser``.
    """

    def __init__(self, *, add: str = "", **more: Any) -> None:
        super().__init__(**more)
        self._add = add

    def load(self) -> None:
        """Add the arguments, once."""
        add, self._add = self._add, ""
        if add:
            resolve_name(add)(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with the arguments of the verb."""
        self.load()
        return super().parse_known_args(args, namespace)


_EPILOG: Final = """\
where to look:
  --url PROXY, or EXACTO_URL      a running proxy; the key of an administrator
                                  is in EXACTO_API_KEY or LITELLM_MASTER_KEY
  --config FILE, --store URL      the records, also while the proxy is down:
                                  tiers, why, audit, report, bundle, publish

exit status:
  0 done    1 the answer is no: a problem, a difference, or nothing found
  2 it cannot be done as asked
"""


def _parser() -> argparse.ArgumentParser:
    parser = VerbParser(
        prog="exacto",
        description="Quality routing for tool calls on LiteLLM.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=VerbParser)
    for verb in VERBS:
        verbs.add_parser(
            verb.name,
            add=verb.add,
            help=verb.help,
            description=f"{verb.help[0].upper()}{verb.help[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    return parser


def _unknown_verb(name: str) -> str:
    """Return the message on an unknown verb; empty for a known one or an option."""
    names = [verb.name for verb in VERBS]
    if name.startswith("-") or name in names:
        return ""
    close = get_close_matches(name[:60], names, n=1, cutoff=0.6)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"there is no verb {name!r}{meant}; exacto --help lists them"


def _tell(message: str) -> None:
    from exacto_plugin.text_tables import write_message

    write_message(f"exacto: {message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status.

    1 for an unexpected error, 2 for what cannot be done as asked, 130 when interrupted.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    if not given:
        write_text(parser.format_help().rstrip(), sys.stderr)
        return 2
    if unknown := _unknown_verb(given[0]):
        _tell(unknown)
        return 2
    options: Any = parser.parse_args(given)
    try:
        return int(options.run(options))
    except ExactoError as error:
        _tell(str(error))
        return 2
    except KeyboardInterrupt:
        write_text("stopped", sys.stderr)
        return 130
    except BrokenPipeError:  # `exacto tiers | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        write_text(traceback.format_exc().rstrip(), sys.stderr)  # its message may hold names too
        return 1

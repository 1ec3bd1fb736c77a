"""``exacto bench schedule``: regular runs, by systemd or by Temporal."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from exacto_plugin.bench.scheduling.systemd import unit_files
from exacto_plugin.cli.arguments import add_examples, duration_s
from exacto_plugin.errors import ExactoError
from exacto_plugin.terminal import write_text

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from exacto_plugin.bench.scheduling.temporal import ScheduledPair

_EXTRA = "Temporal's SDK is not installed: pip install 'exacto-plugin[temporal]'"


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``bench schedule``."""
    add_examples(
        parser,
        "exacto bench schedule systemd --every daily -- verifier --config /etc/litellm/config.yaml --model kimi --yes",
        "exacto bench schedule worker --address temporal:7233",
        "exacto bench schedule temporal --address temporal:7233 --every 1d --deployment a -- verifier --config F --yes",
    )
    ways = parser.add_subparsers(dest="way", required=True, metavar="WAY", parser_class=argparse.ArgumentParser)
    units = ways.add_parser("systemd", help="unit files for one machine")
    units.add_argument("--every", default="daily", metavar="CALENDAR", help="systemd's OnCalendar; default daily")
    units.add_argument("--directory", type=Path, metavar="DIR", help="write them there; default: print them")
    units.set_defaults(run=run_systemd)
    worker = ways.add_parser("worker", help="run what Temporal schedules, until interrupted")
    worker.add_argument("--at-once", type=int, default=1, metavar="N", help="runs at the same time; default 1")
    worker.set_defaults(run=run_worker)
    temporal = ways.add_parser("temporal", help="create or change a schedule for each deployment")
    temporal.add_argument("--every", type=duration_s, default=86_400.0, metavar="TIME", help="as 12h; default 1d")
    temporal.add_argument("--deployment", action="append", required=True, metavar="NAME", help="repeatable")
    temporal.add_argument("--heartbeat", type=duration_s, default=60.0, metavar="TIME", help="default 60s")
    temporal.set_defaults(run=run_temporal)
    for one in (units, temporal):
        one.add_argument("arguments", nargs="+", metavar="ARGUMENT", help="after --: those of `exacto bench run`")
    for one in (worker, temporal):
        one.add_argument("--address", required=True, metavar="HOST:PORT", help="of your Temporal server")
        one.add_argument("--namespace", default="default", metavar="NAME", help="default: default")
        one.add_argument("--queue", default="exacto-bench", metavar="NAME", help="task queue; default exacto-bench")


def run_systemd(options: argparse.Namespace) -> int:
    """Print or write the unit files.

    Raises:
        ExactoError: the directory cannot be written.
    """
    program = shutil.which("exacto") or str(Path(sys.argv[0]).absolute())
    units = unit_files(program, options.arguments, options.every)
    if options.directory is None:
        write_text("\n".join(f"# {name}\n{text}" for name, text in units.items()))
        return 0
    try:
        options.directory.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            (options.directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExactoError(f"{options.directory}: cannot be written: {error.strerror}") from None
    write_text(
        f"written to {options.directory}; `systemctl daemon-reload && systemctl enable --now exacto-bench.timer`"
    )
    return 0


def run_worker(options: argparse.Namespace) -> int:
    """Serve Temporal's task queue until interrupted.

    Raises:
        ExactoError: the SDK is not installed, or the server cannot be reached.
    """
    try:
        from exacto_plugin.bench.scheduling.temporal import serve
    except ImportError:
        raise ExactoError(_EXTRA) from None
    _run(options.address, serve(options.address, options.namespace, options.queue, options.at_once))
    return 0


def run_temporal(options: argparse.Namespace) -> int:
    """Create or change a schedule for each deployment.

    Raises:
        ExactoError: the SDK is not installed, or the server cannot be reached, or refuses.
    """
    try:
        from temporalio.client import Client

        from exacto_plugin.bench.scheduling.temporal import ScheduledPair, schedule
    except ImportError:
        raise ExactoError(_EXTRA) from None
    pairs = [
        ScheduledPair(
            f"exacto-bench-{options.arguments[0]}-{name}", [*options.arguments, "--deployment", name], options.heartbeat
        )
        for name in options.deployment
    ]

    async def create() -> None:
        client = await Client.connect(options.address, namespace=options.namespace)
        await schedule(client, pairs, options.every, options.queue)

    _run(options.address, create())
    write_text(_told(pairs, options.every))
    return 0


def _run(address: str, work: Coroutine[None, None, None]) -> None:
    from temporalio.exceptions import TemporalError

    try:
        asyncio.run(work)
    except (RuntimeError, TemporalError) as error:
        raise ExactoError(f"{address}: {error}") from None


def _told(pairs: Sequence[ScheduledPair], every_s: float) -> str:
    return "\n".join(f"{pair.name}: every {every_s:,.0f} s; a run that is still going skips the next" for pair in pairs)

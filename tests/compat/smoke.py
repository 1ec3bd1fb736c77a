"""``python -m tests.compat.smoke --python OTHER``: which features work with the LiteLLM of another environment.

    python -m tests.compat.smoke --python /path/to/venv/bin/python --json table.json

Runs in the environment of the tests. The other one needs LiteLLM with its proxy and what the plugin imports, not the
plugin itself, which is taken from a checkout. A row is ``ok``; ``off``, when it is wrong and the plugin names a feature
of it as off; or ``WRONG``. Status 1 when a row is WRONG, or when a control came out right.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.text_tables import render_tables
from tests.compat.judging import Outcome, judge
from tests.compat.plan import Line, Plan
from tests.compat.program_side import ask_program
from tests.compat.proxy_side import ask_proxy
from tests.compat.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.compat.judging import Result
    from tests.compat.rows import Channel

_REPOSITORY = Path(__file__).parents[2]
_WIDTH = 200
_VERSIONS = "import importlib.metadata as m, platform; print(m.version('litellm'), platform.python_version())"


def run_smoke(interpreter: Path, checkout: Path, only: Sequence[str] = ()) -> tuple[list[Result], dict[str, Any]]:
    """Ask every row on every channel that it has.

    Args:
        interpreter: of the environment that is looked at.
        checkout: the repository that the plugin is taken from.
        only: rows whose ``CHANNEL/ROW`` contains one of these; empty: all.

    Returns:
        The results in the order of the rows, and what the proxy and the program say of their features.
    """
    channels: tuple[Channel, ...] = ("proxy", "async", "sync")
    lines = [Line(row, channel) for channel in channels for row in ROWS if channel in row.on]
    lines = [line for line in lines if not only or any(part in line.name for part in only)]
    with SimulatedProviders() as providers, ThreadPoolExecutor(1) as pool:
        through_proxy = Plan([line for line in lines if line.channel == "proxy"], providers)
        in_program = Plan([line for line in lines if line.channel != "proxy"], providers)
        for plan in (through_proxy, in_program):
            plan.behave()
        waiting = pool.submit(_outcome, ask_program, in_program, interpreter, checkout)
        # In this thread, so that whoever interrupts the run ends the proxy.
        proxy = _outcome(ask_proxy, through_proxy, interpreter, checkout)
        program = waiting.result()
    results = [judge(line, proxy if line.channel == "proxy" else program) for line in lines]
    return results, {"proxy": dict(proxy.features), "program": dict(program.features)}


def _outcome(ask: Callable[[Plan, Path, Path], Outcome], plan: Plan, interpreter: Path, checkout: Path) -> Outcome:
    """What came of a plan; a process that did not start or end well is the outcome of all its lines."""
    if not plan.lines:
        return Outcome()
    try:
        return ask(plan, interpreter, checkout)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        first, *rest = str(error).strip().splitlines()
        causes = [line.strip() for line in rest if "Error" in line]
        return Outcome(failed=" ".join([first, *causes[-1:]]))


def _table(results: Sequence[Result], title: str) -> str:
    table = Table(title=title, title_justify="left")
    for column in ("row", "result", "right", "control"):
        table.add_column(column, no_wrap=True)
    table.add_column("what else", overflow="fold")
    for one in results:
        control = "" if one.control is None else f"{one.control} of {one.controls} right"
        note = f"{'the control is right as well; ' if one.lucky else ''}{one.note}"
        table.add_row(one.name, one.status.value, f"{one.right} of {one.asked}", control, note)
    return render_tables(table, width=_WIDTH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat.smoke", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="interpreter to look at (default: own)"
    )
    parser.add_argument("--checkout", type=Path, default=_REPOSITORY, help="where the plugin is (default: here)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW", help="rows whose CHANNEL/ROW contains this"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the proxy has a session of its own
    interpreter, checkout = options.python.absolute(), options.checkout.resolve()
    version = subprocess.run([str(interpreter), "-c", _VERSIONS], capture_output=True, check=True, text=True)
    litellm, python = version.stdout.split()
    began = time.monotonic()
    results, told = run_smoke(interpreter, checkout, options.only)
    took_s = time.monotonic() - began
    sys.stdout.write(_table(results, f"LiteLLM {litellm}, Python {python}") + "\n")
    counts = Counter(one.status.value for one in results)
    lucky = sum(one.lucky for one in results)
    summary = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    sys.stdout.write(f"LiteLLM {litellm}: {summary}; {lucky} controls right; {took_s:.0f} s\n")
    if options.json:
        rows = [{**asdict(one), "lucky": one.lucky} for one in results]
        written = {"litellm": litellm, "python": python, "seconds": round(took_s, 1), "features": told, "rows": rows}
        options.json.write_text(json.dumps(written, indent=1) + "\n")
    return 1 if not results or any(one.fails for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs benchmarks and keeps what they printed in ``benchmarks/results/``: ``python -m benchmarks [NAME ...]``.

Two results come from elsewhere: ``airline`` needs an environment of its own (``make airline``), and ``clients`` real
clients (``make clients``). What stands in a result from a line ``BASELINE`` on, the former rule's numbers, is kept.
"""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).with_name("results")
BASELINE = "BASELINE: "
COMMANDS: dict[str, Sequence[Sequence[str]]] = {
    "overhead": [[]],
    "scoring": [[]],
    "recompute": [["1000", "--hours", "1.5"]],
    "verdicts": [["--rpm", "100", "--reps", "12"], ["--rpm", "10", "--reps", "12"], ["--rpm", "1", "--reps", "12"]],
    "routing_quality": [[]],
    "way_back": [["--reps", "12", "--set", "trial_share=0.1"]],
    "affinity": [[]],
    "rescue": [[]],
    "refusals": [[]],
    "sharing": [[]],
    "store": [["--only", "size", "--days", "30"], ["--only", "overhead"]],
    "memory": [["--idle-minutes", "50"]],
    "page": [[]],
    "end_to_end": [[]],
    "request_path": [[]],
    "before_authentication": [[]],
    "callers": [[]],
    "flood": [[]],
    "benchmark_verdicts": [[]],
    "verifier": [[]],
    "series": [[]],
    "broken_answers": [[]],
    "broken_verdicts": [["--reps", "6"]],
    "first_tokens": [[]],
}
"""The arguments of every run of a benchmark, by its name."""


def run(name: str) -> int:
    """Run one benchmark, each time in a process of its own; the output goes to the terminal and to its result file."""
    printed = []
    for arguments in COMMANDS[name]:
        command = ["-m", f"benchmarks.{name}", *arguments]
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False, cwd=RESULTS.parents[1]
        )
        when = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        head = f"$ python {' '.join(command)}\n# {when}, Python {platform.python_version()}, {platform.machine()}\n\n"
        sys.stdout.write(f"{head}{done.stdout}\n")
        if done.returncode:
            sys.stderr.write(done.stderr[-4000:])
            return done.returncode
        printed.append(head + done.stdout)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.txt"
    file.write_text("\n".join(printed) + baseline(file), encoding="utf-8")
    return 0


def baseline(file: Path) -> str:
    """Return what a result keeps of the former rule, or an empty text."""
    _, mark, text = (file.read_text(encoding="utf-8") if file.exists() else "").partition(f"\n{BASELINE}")
    return f"\n{'=' * 100}{mark}{text}" if mark else ""


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all of them."""
    unknown = [name for name in names if name not in COMMANDS]
    if unknown:
        sys.stderr.write(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(COMMANDS)}\n")
        return 2
    return max([run(name) for name in names or COMMANDS])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs every benchmark and keeps what it printed in ``benchmarks/results/``: ``python -m benchmarks [NAME ...]``."""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
NAMES = (
    "overhead",
    "scoring",
    "recompute",
    "verdicts",
    "routing_quality",
    "affinity",
    "rescue",
    "sharing",
    "store",
    "page",
    "end_to_end",
    "request_path",
    "before_authentication",
    "callers",
    "flood",
    "benchmark_verdicts",
    "verifier",
    "series",
    "broken_answers",
    "broken_verdicts",
    "first_tokens",
)


def run(name: str) -> int:
    """Run one benchmark in a process of its own; its output goes to the terminal and to its result file."""
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=RESULTS.parents[1])
    when = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    head = f"$ python -m benchmarks.{name}\n# {when}, Python {platform.python_version()}, {platform.machine()}\n\n"
    sys.stdout.write(f"{head}{done.stdout}\n")
    if done.returncode:
        sys.stderr.write(done.stderr[-4000:])
        return done.returncode
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(head + done.stdout, encoding="utf-8")
    return 0


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all of them."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.stderr.write(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}\n")
        return 2
    return max([run(name) for name in names or NAMES])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

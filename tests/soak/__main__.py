"""``python -m tests.soak``: looks for what breaks a property, for an hour; status 1 when it found something."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from typing import TYPE_CHECKING

import psutil

from tests.soak.strain import Strain, strain
from tests.soak.targets import found_targets, run_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.soak.targets import Target

_GROWTH_MB = 400.0
"""Memory that the fuzzing process itself may gain; hypothesis and the compiled schemas (64 MB) take their part."""


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}\n")
    sys.stdout.flush()


def _table(targets: Sequence[Target]) -> str:
    lines = [f"{'property':60} {'examples':>10} {'rounds':>7} {'seconds':>8} {'slowest':>8}"]
    lines += [
        f"{one.name:60} {one.examples:>10,} {one.rounds:>7} {one.wall_s:>8.0f} {one.slowest_s:>6.2f} s"
        f"{'  FINDING' if one.finding else ''}"
        for one in targets
    ]
    lines.append(f"{'all':60} {sum(one.examples for one in targets):>10,}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both parts and say what came of them."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long in all (default: 60)")
    parser.add_argument("--proxy-share", type=float, default=0.25, help="part of it with real proxies (default: 0.25)")
    parser.add_argument("--only", default="", metavar="NAME", help="properties whose name contains this")
    options = parser.parse_args(arguments)
    seed = secrets.randbits(32)
    in_all_s = options.minutes * 60
    process = psutil.Process(os.getpid())
    targets = found_targets(options.only)
    _say(f"{len(targets)} properties, seed of the traffic {seed}")
    strained = strain(in_all_s * options.proxy_share, seed, _say) if options.proxy_share > 0 else Strain()
    before = process.memory_info().rss
    run_targets(targets, in_all_s * (1 - options.proxy_share), _say)
    gained = (process.memory_info().rss - before) / 2**20
    findings = [f"{one.name}: see above" for one in targets if one.finding] + strained.findings
    if gained > _GROWTH_MB:
        findings.append(f"fuzzing took {gained:.0f} MB more")
    report = [_table(targets), f"memory of the fuzzing process: {gained:+.0f} MB", *strained.lines]
    report.append(f"{len(findings)} findings")
    _say("\n" + "\n".join([*report, *(f"FINDING {finding}" for finding in findings)]))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a flood of invented model names costs: memory, recompute time, longest slice, and configured evidence.

A key with a wildcard asks for 52,000 names in 52 minutes, once each, with an answer for each or with failures only.
Run as ``python -m benchmarks.flood``; each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from pathlib import Path

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset

NAMES = tuple(map(DeploymentKey, ("a", "b", "c", "bad")))
START = 1_800_000_000.0
FLOOD = 52_000
MINUTES = 52


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def _recompute(engine: Engine, now: float) -> list[float]:
    """Processor seconds of each slice, the observation of each group's deployments included."""
    times = []
    for group in engine.groups():
        begun = time.thread_time()
        engine.observe_peers(group, NAMES if group == "g" else (DeploymentKey(f"{group} at x"),), now)
        times.append(time.thread_time() - begun)
    last = time.thread_time()
    for _ in engine.recompute_slices(now):
        times.append((here := time.thread_time()) - last)
        last = here
    return [*times, time.thread_time() - last]


def measure(ok: bool) -> str:
    """Serve a configured group, then the flood; returns a line of the table."""
    engine = Engine(AdaptivePreset(), is_configured=lambda group: group == "g")
    engine.observe_peers("g", NAMES, START)
    for number in range(2000):
        for name in NAMES:
            bad = name == "bad" and number % 4 == 0
            outcome = Outcome.SCHEMA_MISMATCH if bad else Outcome.VALID
            engine.record(
                Sample("g", name, START, tools_offered=True, outcome=outcome, caller=f"k{number % 11}", duration_s=2.0)
            )
    _recompute(engine, START + 60)
    kept, before_mb, now = engine.dump_windows("g"), _resident_mb(), START + 60
    recomputes: list[list[float]] = []
    for number in range(FLOOD):
        group = f"wild/{number}"
        now = START + 60 + number * MINUTES * 60 / FLOOD
        engine.record(
            Sample(
                group,
                DeploymentKey(f"{group} at x"),
                now,
                ok=ok,
                tools_offered=ok,
                outcome=Outcome.VALID if ok else None,
                duration_s=1.0,
                caller="evil",
            )
        )
        if (number + 1) % (FLOOD // (MINUTES // 5)) == 0:
            gc.collect()
            recomputes.append(_recompute(engine, now))
    tiers = {str(name): verdict.tier.value for name, verdict in engine.snapshot.groups["g"].verdicts.items()}
    same = sum(kept[name] == dump for name, dump in engine.dump_windows("g").items())
    return (
        f"{'answers' if ok else 'failures':9s}  {_resident_mb() - before_mb:+8.1f}  {len(engine.groups()):6d}"
        f"  {max(map(sum, recomputes)) * 1e3:13.1f}  {max(map(max, recomputes)) * 1e3:16.2f}"
        f"  {same} of {len(NAMES)}  {tiers['a']}, {tiers['bad']}\n"
    )


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", choices=["answers", "failures"], help="one case, in this process")
    options = parser.parse_args()
    if options.here:
        sys.stdout.write(measure(options.here == "answers"))
        return
    sys.stdout.write(f"{FLOOD} invented names in {MINUTES} minutes, one request each; processor time\n")
    sys.stdout.write("flood      RSS MB    groups  recompute ms   longest slice ms  windows kept  tiers of a, bad\n")
    for case in ("answers", "failures"):
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "benchmarks.flood", "--here", case], check=True)


if __name__ == "__main__":
    main()

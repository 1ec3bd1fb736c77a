"""What a recompute costs: time, longest slice and memory by the number of model groups, and time per sample.

Every deployment has had enough traffic for hours to be judged on every signal. All model groups have new samples, the
dearest case; then, after 26 hours without any, every tenth group or the first tenth has, and then none. Run as
``python benchmarks/recompute.py``; each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.windows.increments import CounterKind, increments_of

DEPLOYMENTS = 20
NAMES = [f"deployment-{number}" for number in range(DEPLOYMENTS)]
INTERVAL_S = 300.0
START = 1_800_000_000.0
ROUNDS = 5
SAMPLES_PER_INTERVAL = 20
"""Per deployment: 120 answers in 30 minutes and 480 in 2 hours, a little more than the published rule asks for."""


@dataclass
class Cost:
    """What one size cost."""

    total_ms: float
    longest_slice_ms: float
    slices: int
    record_us: float
    reading_us: float
    memory_mb: float
    scattered_ms: float
    """Every tenth group has new samples."""
    adjacent_ms: float
    """The first tenth of the groups has, in slots next to each other."""
    idle_ms: float
    """No group has."""


def sample_of(group: str, number: int, at: float, draw: random.Random) -> Sample:
    """One answer with tool calls; deployments differ in speed, and every fifth breaks a tenth of its calls."""
    streamed = draw.random() < 0.35
    return Sample(
        group,
        DeploymentKey(NAMES[number]),
        at,
        tools_offered=True,
        outcome=Outcome.SCHEMA_MISMATCH if draw.random() < (0.1 if number % 5 == 0 else 0.002) else Outcome.VALID,
        output_tokens=draw.randrange(100, 900),
        duration_s=draw.lognormvariate(1.0 + number / DEPLOYMENTS, 0.3),
        first_token_s=draw.lognormvariate(-0.7, 0.4) if streamed else None,
        streamed=streamed,
        caller=f"caller-{draw.randrange(40)}",
        complexity=draw.randrange(4),
    )


Pattern = tuple[Counter[CounterKind], Counter[int]]
"""What one deployment may add between two recomputes, in bulk form."""


def patterns_of(number: int, draw: random.Random) -> list[Pattern]:
    """What 5 minutes of one deployment may add, in bulk form."""
    patterns = []
    for _ in range(20):
        counts: Counter[CounterKind] = Counter()
        cells: Counter[int] = Counter()
        for _ in range(SAMPLES_PER_INTERVAL):
            added = increments_of(sample_of("", number, START, draw), 100)
            counts.update(CounterKind(column) for column in added.counts)
            cells.update(added.cells)
        patterns.append((counts, cells))
    return patterns


def fill(engine: Engine, groups: int, hours: float, draw: random.Random) -> float:
    """Past traffic, in bulk; returns the time at which it ends."""
    patterns = [patterns_of(number, draw) for number in range(DEPLOYMENTS)]
    now = START
    for _ in range(int(hours * 3600 / INTERVAL_S)):
        for number in range(groups):
            for place, name in enumerate(NAMES):
                counts, cells = draw.choice(patterns[place])
                engine.add(f"group-{number}", DeploymentKey(name), counts, cells, now - draw.randrange(5) * 60)
        engine.recompute(now)
        now += INTERVAL_S
    return now


def record_interval(engine: Engine, groups: range, now: float, draw: random.Random) -> float:
    """Record 5 minutes of samples one by one; returns microseconds per sample."""
    spent_s = 0.0
    for number in groups:
        samples = [
            sample_of(f"group-{number}", place, now - draw.random() * INTERVAL_S, draw)
            for place in range(DEPLOYMENTS)
            for _ in range(SAMPLES_PER_INTERVAL)
        ]
        begun = time.thread_time()
        for sample in samples:
            engine.record(sample)
        spent_s += time.thread_time() - begun
    return spent_s / max(1, len(groups) * DEPLOYMENTS * SAMPLES_PER_INTERVAL) * 1e6


def slice_times(engine: Engine, now: float) -> list[float]:
    """Processor seconds of each slice of a recompute, the last one up to its end included.

    Processor time, because on a shared machine the wall clock tells more about the neighbours.
    """
    times = []
    last = time.thread_time()
    for _ in engine.recompute_slices(now):
        times.append((here := time.thread_time()) - last)
        last = here
    return [*times, time.thread_time() - last]


def rounds_of(engine: Engine, active: range, now: float, draw: random.Random) -> tuple[list[list[float]], float]:
    """Recompute with new samples of some groups; returns the slices of each round, and the least time per sample."""
    record_us, rounds = [], []
    for number in range(ROUNDS):
        at = now + number * INTERVAL_S
        record_us.append(record_interval(engine, active, at, draw))
        gc.collect()
        rounds.append(slice_times(engine, at))
    return rounds, min(record_us)


def measure(groups: int, hours: float) -> Cost:
    """Fill an engine, then time recomputes with fresh samples before each."""
    draw = random.Random(7)
    engine = Engine(AdaptivePreset(), instance="bench")
    for number in range(groups):
        engine.observe_peers(f"group-{number}", tuple(map(DeploymentKey, NAMES)), START)
    now = fill(engine, groups, hours, draw)
    rounds, record_us = rounds_of(engine, range(groups), now, draw)
    begun = time.thread_time()
    tiers = Counter(verdict.tier for verdict in engine.snapshot.groups["group-0"].verdicts.values())
    reading_us = (time.thread_time() - begun) * 1e6
    if tiers[Tier.DERANKED] < 4:
        raise RuntimeError(f"expected the bad deployments to be deranked: {tiers}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    fastest = min(rounds, key=sum)
    longest_ms = min(max(times) for times in rounds) * 1e3
    partly = []
    for active in (range(0, groups, 10), range(groups // 10), range(0)):
        now += 26 * 3600.0
        engine.recompute(now)
        engine.recompute(now + INTERVAL_S)
        rounds, _ = rounds_of(engine, active, now + 2 * INTERVAL_S, draw)
        partly.append(min(map(sum, rounds)) * 1e3)
    return Cost(sum(fastest) * 1e3, longest_ms, len(fastest), record_us, reading_us, peak_mb, *partly)


def main() -> None:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", type=int, default=[10, 100, 1000])
    parser.add_argument("--hours", type=float, default=3.0, help="traffic before the measured recomputes")
    parser.add_argument("--here", action="store_true", help="in this process, without the head of the table")
    options = parser.parse_args()
    if not options.here:
        sys.stdout.write(
            f"{DEPLOYMENTS} deployments per group, {options.hours:g} h of traffic before;"
            f" processor time, best of {ROUNDS} recomputes\n"
            "groups  recompute ms  longest slice ms  slices  us per sample  us to read a group  peak MB"
            "  every tenth ms  first tenth ms  none ms\n"
        )
        for groups in options.groups:
            sys.stdout.flush()
            subprocess.run([sys.executable, __file__, str(groups), "--hours", str(options.hours), "--here"], check=True)
        return
    for groups in options.groups:
        cost = measure(groups, options.hours)
        sys.stdout.write(
            f"{groups:6d}  {cost.total_ms:12.1f}  {cost.longest_slice_ms:16.2f}  {cost.slices:6d}"
            f"  {cost.record_us:13.2f}  {cost.reading_us:18.0f}  {cost.memory_mb:7.0f}"
            f"  {cost.scattered_ms:14.1f}  {cost.adjacent_ms:14.1f}  {cost.idle_ms:7.1f}\n"
        )


if __name__ == "__main__":
    main()

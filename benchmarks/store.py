"""What the store costs: requests beside an equal proxy that keeps nothing on disk, and the size of 30 days of records.

The proxies are those of ``end_to_end``, all with the plugin: one keeps its records in memory, another one too (A/A), a
third one in a SQLite file. The records are what the recorder writes about 100 model groups of 5 deployments, recomputed
every 5 minutes by the real engine on made-up traffic, and about a request every two seconds a group; a few days are
simulated (``--days``), and 30 extrapolated from the last of them.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.end_to_end import compare, proxy_config
from benchmarks.recompute import patterns_of
from exacto_plugin.config.settings import load_settings
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.routing.counterfactual import PickNumbers
from exacto_plugin.core.tiers.checkpoints import ChangeDetector
from exacto_plugin.core.wire import to_wire
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import DecisionRecord, HourRecord
from exacto_plugin.store.location import location_of_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.recompute import Pattern
    from exacto_plugin.demo.provider import SimulatedProviders

GROUPS, DEPLOYMENTS = 100, 5
INTERVAL_S, DAY_S = 300, 86_400
START = 1_800_000_000
REQUESTS_A_DAY = GROUPS * DAY_S // 2
UNUSUAL = 0.005
"""Share of requests that are rescued, failed over or probes, beside the sampled ones."""

KINDS = {"in memory (A)": "sqlite://", "in memory again (A')": "sqlite://", "in a SQLite file (B)": None}


def overhead() -> list[str]:
    """The table of the paired differences."""

    def configure(providers: SimulatedProviders) -> dict[str, Any]:
        config = proxy_config(providers, plugin=True)
        return {name: {**config, "exacto_settings": {"store": {"url": url}}} for name, url in KINDS.items()}

    return compare("ms per tool request, records", configure)


def size(days: int) -> Iterator[str]:
    """The size of the file after each simulated day."""
    draw = random.Random(1)
    names = [f"deployment-{number}" for number in range(DEPLOYMENTS)]
    groups = [f"vendor/model-{number}" for number in range(GROUPS)]
    patterns = [patterns_of(number, draw) for number in range(DEPLOYMENTS)]
    with tempfile.TemporaryDirectory(prefix="exacto-bench-") as folder:
        file = Path(folder) / "records.sqlite"
        now = float(START)
        place = location_of_url(f"sqlite:///{file}")
        runtime = Runtime(load_settings(None), clock=lambda: now, place=place)
        engine, store = runtime.engine, runtime.store
        engine.change_detector, engine.deltas = ChangeDetector(), None
        before = 0
        for day in range(days):
            started = time.perf_counter()
            for step in range(DAY_S // INTERVAL_S):
                now = float(START + day * DAY_S + step * INTERVAL_S)
                recompute(runtime, dict.fromkeys(groups, patterns), now, draw)
                requests = REQUESTS_A_DAY * INTERVAL_S // DAY_S
                share = runtime.context.settings.store.decision_share + UNUSUAL
                for _ in range(round(requests * share)):
                    store.write(_decision(draw, draw.choice(groups), names, now, engine.measured.id))
                if step % 12 == 0:
                    for group in groups:
                        for name in ("", *names):
                            store.write(
                                HourRecord(now, group, name, "worker", to_wire(PickNumbers(picks=draw.random() * 1e3)))
                            )
                assert store.flush(60.0)
            assert store.health.dropped == 0
            total = sum(one.stat().st_size for one in Path(folder).iterdir())
            yield (
                f"day {day + 1}: {total / 1e6:7.1f} MB, {(total - before) / 1e6:6.1f} MB of it on this day"
                f" ({store.health.written:,} records so far; {time.perf_counter() - started:.0f} s)"
            )
            last, before = total - before, total
        yield f"30 days at the last day's rate: {last * 30 / 1e9:.2f} GB"
        store.close()


def recompute(
    runtime: Runtime, traffic: Mapping[str, Sequence[Sequence[Pattern]]], now: float, draw: random.Random
) -> None:
    """Add made-up traffic of the deployments of each model group, recompute, and put the records into the store."""
    engine, store = runtime.engine, runtime.store
    for group, patterns in traffic.items():
        names = [DeploymentKey(f"deployment-{number}") for number in range(len(patterns))]
        engine.observe_peers(group, tuple(names), now)
        for name, some in zip(names, patterns, strict=True):
            engine.add(group, name, *draw.choice(some), now - 60)
    engine.recompute(now)
    assert engine.change_detector is not None
    accounts = engine.change_detector.changes
    for record in runtime.recorder.records(engine.measured, engine.transitions, accounts, engine.rule, {}, {}):
        if record is not None:
            store.write(record)


def _decision(draw: random.Random, group: str, names: list[str], now: float, snapshot: str) -> DecisionRecord:
    """A request as the recorder writes it."""
    candidates: list[dict[str, Any]] = [
        {"deployment": name, "provider": f"provider-{name}", "tier": "verified_good", "rank": 0, "in_pool": True}
        | {"preferred": True}
        for name in names
    ]
    attempts = [
        {"deployment": names[0], "provider": f"provider-{names[0]}", "model_group": group, "tier": "verified_good"}
        | {"probe": False, "rescue": False, "status": "answered", "verdict": "valid", "cost": 0.00123}
    ]
    return DecisionRecord(
        id=f"{draw.getrandbits(64):016x}", call_id=f"{draw.getrandbits(128):032x}", at=now, model_group=group,
        policy="auto", reason="tiers", kind="sampled", applied=True, suffixes=[], candidates=candidates,
        attempts=attempts, refusals=[], rescue_cost=None, snapshot=snapshot, trace_id="", span_id="",
    )  # fmt: skip


def main(argv: list[str]) -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--only", choices=["overhead", "size"])
    arguments = parser.parse_args(argv)
    if arguments.only != "size":
        sys.stdout.write("\n".join(overhead()) + "\n\n")
    if arguments.only != "overhead":
        sys.stdout.write(f"{GROUPS} model groups x {DEPLOYMENTS} deployments, {REQUESTS_A_DAY:,} requests a day\n")
        for line in size(arguments.days):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

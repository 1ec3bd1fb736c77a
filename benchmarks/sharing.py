"""What sharing through one Redis costs: a push, the server, the leader and a follower, for an installation of a size.

Real engines, real payloads, one real server; the workers' pushes are made by a few connections, as fast as they go. Run
as ``python -m benchmarks.sharing``; the default is a tenth of 1,000 model groups x 20 deployments, with 200 workers.
The arithmetic for the whole stands in ``docs/replicas.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import redis.asyncio

from benchmarks.recompute import NAMES, sample_of
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.windows.deltas import Delta, Deltas
from exacto_plugin.core.windows.increments import increments_of
from exacto_plugin.sharing.codec import pack_batch
from exacto_plugin.sharing.intervals import PUSH_S
from exacto_plugin.sharing.protocol import Batch, Claim, Publication, Push, State
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.sharing.redis.exchange import RedisExchange
from exacto_plugin.sharing.redis.source import key_prefix
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 8
HOURS = 24


class Size(NamedTuple):
    """An installation."""

    groups: int
    workers: int
    requests_per_s: float
    """Per worker."""


def batches(size: Size, draw: random.Random, at: float) -> list[list[Delta]]:
    """What every worker recorded in the time of one push."""
    found = []
    for _ in range(size.workers):
        deltas = Deltas()
        for _ in range(round(size.requests_per_s * PUSH_S)):
            sample = sample_of(f"group-{draw.randrange(size.groups)}", draw.randrange(len(NAMES)), at, draw)
            deltas.add(sample.model_group, sample.deployment, at, increments_of(sample, 10))
        found.append(deltas.take())
    return found


def filled(size: Size, now: float) -> Engine:
    """An engine with a day of everybody's samples: something in each half-hour, and in each minute of the last two."""
    draw = random.Random(1)
    engine = Engine(AdaptivePreset(AdaptiveParameters(), 0.02), timer=lambda: now)
    times = [now - 1800.0 * half for half in range(1, 2 * HOURS)] + [now - 60.0 * minute for minute in range(120)]
    for group in range(size.groups):
        name = f"group-{group}"
        for number, deployment in enumerate(NAMES):
            for at in times:
                counts: dict[int, int] = {}
                cells: dict[int, int] = {}
                for _ in range(2):
                    found = increments_of(sample_of(name, number, at, draw), 10)
                    for column in found.counts:
                        counts[column] = counts.get(column, 0) + 1
                    for cell in found.cells:
                        cells[cell] = cells.get(cell, 0) + 1
                engine.add_deltas([Delta(name, DeploymentKey(deployment), int(at // 60), counts, cells)])
        engine.observe_peers(name, tuple(map(DeploymentKey, NAMES)), now)
    return engine


def _same(client: Any) -> Any:
    return client


async def used(client: Any) -> tuple[float, float]:
    """Seconds of processor time and MB of memory that the server used."""
    info = await client.info()
    return info["used_cpu_user"] + info["used_cpu_sys"], info["used_memory"] / 1e6


async def pushes(exchanges: Sequence[RedisExchange], made: Sequence[Sequence[Delta]], sequence: int) -> list[float]:
    """Every worker's push once; how long each took, in seconds."""
    took: list[float] = []

    async def some(first: int, exchange: RedisExchange) -> None:
        for number in range(first, len(made), len(exchanges)):
            worker = f"worker-{number}"
            started = time.perf_counter()
            receipt = await exchange.push(Push(worker, sequence - 1, Batch(worker, sequence, made[number])))
            took.append(time.perf_counter() - started)
            assert receipt.accepted

    await asyncio.gather(*(some(first, exchange) for first, exchange in enumerate(exchanges)))
    return took


def say(line: str) -> None:
    """One line of the result."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def measure(size: Size, server: RedisServer) -> None:
    """All of it."""
    clients: list[Any] = [redis.asyncio.Redis(port=server.port) for _ in range(CONNECTIONS)]
    links = [RedisConnection(partial(_same, client), key_prefix("bench"), owned=False) for client in clients]
    exchanges = [RedisExchange(link, PUSH_S) for link in links]
    now, draw, rounds = time.time(), random.Random(2), 5
    cpu, before_mb = await used(clients[0])
    size_b, took, samples = 0, [], 0
    for sequence in range(1, rounds + 1):
        made = batches(size, draw, now)
        size_b += sum(len(pack_batch(Batch("worker-0000", sequence, deltas))) for deltas in made)
        samples += sum(delta.samples for deltas in made for delta in deltas)
        took += await pushes(exchanges, made, sequence)
    spent_s, after_mb = await used(clients[0])
    number = size.workers * rounds
    say(
        f"push: {1e6 * (spent_s - cpu) / number:.0f} us of the server, {size_b / number / 1000:.2f} kB for "
        f"{samples / number:.0f} answers, {1000 * (after_mb - before_mb) / number:.2f} kB of memory; "
        f"client median {1e3 * sorted(took)[number // 2]:.2f} ms, p99 {1e3 * sorted(took)[number * 99 // 100]:.2f} ms"
    )
    share = (spent_s - cpu) / rounds / PUSH_S
    say(
        f"all {size.workers} workers: {size.workers / PUSH_S:.0f} pushes/s, {100 * share:.1f} % of one core of the "
        f"server, {size_b / rounds / PUSH_S / 1e6:.2f} MB/s"
    )
    await led(size, exchanges[0], clients[0], now)
    _, mb = await used(clients[0])
    say(f"server: {mb:.0f} MB with publication and saved state")
    for client in clients:
        await client.aclose()


async def led(size: Size, exchange: RedisExchange, client: Any, now: float) -> None:
    """What the leader does, and a follower; seconds are of processor time."""
    engine = filled(size, now)
    started = time.process_time()
    position, read, more = 0, 0, True
    while more:
        found, position, more = await exchange.pull(position)
        for batch in found:
            engine.add_deltas(batch.deltas)
            read += 1
    took_s = time.process_time() - started
    say(
        f"leader: reads {read} batches in {took_s:.2f} s, {1000 * took_s / read:.2f} ms each, "
        f"{100 * took_s / read * size.workers / PUSH_S:.0f} % of one core of its process"
    )
    started = time.process_time()
    snapshot = engine.recompute(now)
    say(f"leader: judges in {time.process_time() - started:.2f} s")
    lease = None
    while lease is None:
        lease = await exchange.claim(Claim("worker-0"))
        await asyncio.sleep(0.2)
    publication = Publication(snapshot, engine.dump(), tuple(f"worker-{number}" for number in range(size.workers)))
    started = time.process_time()
    await exchange.publish(lease, publication)
    say(f"leader: publishes in {time.process_time() - started:.2f} s")
    started = time.process_time()
    windows = ((group, engine.dump_windows(group)) for group in engine.groups())
    await exchange.save(lease, State(position, {}, publication.remembered, windows))
    say(f"leader: saves its state in {time.process_time() - started:.2f} s")
    started = time.process_time()
    state = await exchange.load()
    assert state is not None
    other = Engine(AdaptivePreset(AdaptiveParameters(), 0.02), timer=lambda: now)
    for group, dumped in state.windows:
        other.load_windows(group, dumped)
    say(f"next leader: takes over in {time.process_time() - started:.2f} s")
    started = time.process_time()
    assert await exchange.latest() == publication
    say(f"follower: fetches and reads a publication in {time.process_time() - started:.2f} s")
    for key in ("publication", "state"):
        found_b = await client.memory_usage(key_prefix("bench") + key, samples=0)
        say(f"{key}: {found_b / 1e6:.2f} MB, {found_b / size.groups / len(NAMES) / 1000:.2f} kB a deployment")


def main() -> None:
    """Measure one size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--requests-per-s", type=float, default=10.0, help="of each worker")
    given = parser.parse_args()
    size = Size(given.groups, given.workers, given.requests_per_s)
    every = f"{size.workers} workers at {size.requests_per_s:g} answers/s each"
    say(f"{size.groups} model groups x {len(NAMES)} deployments, {every}")
    with tempfile.TemporaryDirectory() as directory, RedisServer(Path(directory)) as server:
        asyncio.run(measure(size, server))


if __name__ == "__main__":
    main()

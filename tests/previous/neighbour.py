"""A worker of any version, as a process of its own: lines of JSON in, lines of JSON out.

The version is that of the ``exacto_plugin`` on ``PYTHONPATH``; only names are used that all neighbouring versions have.
Run as ``python neighbour.py NAME BACKEND PLACE``: the backend is ``redis`` or ``store``, the place its port or URL.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Any

import redis.asyncio

import exacto_plugin
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Outcome, Sample
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.windows.deltas import Deltas
from exacto_plugin.records import OverrideRecord, SettingsRecord
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.sharing.redis.exchange import RedisExchange
from exacto_plugin.sharing.redis.overrides import RedisOverrides
from exacto_plugin.sharing.replica import Replica
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.overrides import StoreOverrides
from exacto_plugin.store.rows import find
from exacto_plugin.store.store import Store

try:
    from exacto_plugin.sharing.intervals import ReplicaIntervals
except ImportError:  # where earlier versions have it
    from exacto_plugin.sharing.replica import ReplicaIntervals  # type: ignore[attr-defined, no-redef, unused-ignore]

GROUP = "g"
DEPLOYMENTS: Any = ("a", "b")
PUSH_S, LEASE_S = 0.05, 1.5
PREFIX = "test:{exacto}:1:"


class Neighbour:
    """One worker: an engine, its replica, and its overrides and records."""

    def __init__(self, name: str, backend: str, place: str) -> None:
        self.name = name
        self.faults: list[str] = []
        self.workers: tuple[str, ...] = ()
        self.engine = self.new_common_engine()
        self.deltas = self.engine.deltas = Deltas()
        self.store = Store(location_of_url(place), report=self._report) if backend == "store" else None
        self.exchange: Any
        self.overrides: Any
        if self.store is None:
            client: Any = redis.asyncio.Redis(port=int(place))
            link = RedisConnection(lambda: client, PREFIX, owned=True)
            self.exchange, self.overrides = RedisExchange(link, PUSH_S, LEASE_S), RedisOverrides(link, time.time)
        else:
            self.exchange = StoreExchange(self.store, PUSH_S, LEASE_S)
            self.overrides = StoreOverrides(self.store, time.time)
        pace = ReplicaIntervals(0.3, PUSH_S, 0.3)
        self.replica = Replica(name, self.exchange, self, pace, time.time())

    def _report(self, error: Exception) -> None:
        self.faults.append(repr(error))

    # --- what the test asks -----------------------------------------------------------------------------------------

    async def answer(self, deployment: Any, count: int) -> None:
        """Count answers with a valid tool call."""
        for _ in range(count):
            self.engine.record(Sample(GROUP, deployment, time.time(), tools_offered=True, outcome=Outcome.VALID))

    async def override(self, deployment: Any, reason: str) -> None:
        """Write an operator's override, and a record."""
        now = time.time()
        one = Override(GROUP, deployment, OverrideAction.GOOD, reason, self.name, now, now + 600)
        await self.overrides.write([one])
        if self.store is not None:
            self.store.write(SettingsRecord(now, self.name, "change", "0a1b", {"mode": ["apply", "observe"]}))
            await asyncio.to_thread(self.store.flush)

    async def status(self) -> dict[str, Any]:
        """Everything that this worker knows of the others."""
        snapshot = self.engine.snapshot
        verdicts = snapshot.groups[GROUP].verdicts if GROUP in snapshot.groups else {}
        samples = {name: max((one.samples for one in found.reasons), default=0) for name, found in verdicts.items()}
        records: list[str] = []
        if self.store is not None:
            overrides = await self.store.read(lambda link: list(find(link, OverrideRecord)))
            settings = await self.store.read(lambda link: list(find(link, SettingsRecord)))
            records = [*(one.reason for one in overrides), *(f"{one.worker} {one.changes}" for one in settings)]
        return {
            "package": exacto_plugin.__file__,
            "role": self.replica.role.value,
            "leader": self.replica.leader,
            "snapshot": snapshot.id,
            "samples": samples,
            "workers": sorted(self.workers),
            "overrides": sorted(one.reason for one in await self.overrides.read()),
            "records": sorted(records),
            "faults": self.faults,
        }

    # --- what the replica asks --------------------------------------------------------------------------------------

    def take_deltas(self) -> Any:
        return self.deltas.take()

    def watched(self) -> tuple[str, ...]:
        return ()

    def new_common_engine(self) -> Engine:
        return Engine(AdaptivePreset(AdaptiveParameters(), 0.02), timer=time.monotonic, instance=self.name)

    async def recompute(self, common: Engine, now: float) -> bool:
        common.observe_peers(GROUP, DEPLOYMENTS, now)
        common.recompute(now)
        return True

    async def recompute_alone(self, now: float) -> None:
        await self.recompute(self.engine, now)

    judge, judge_alone = recompute, recompute_alone  # their names in earlier versions

    async def adopt(self, publication: Any) -> None:
        self.workers = publication.workers
        self.engine.adopt(publication.snapshot, publication.remembered)

    async def announce(self, common: Engine) -> None:
        pass

    def exchange_unavailable(self, error: Exception) -> None:
        self._report(error)


async def main(name: str, backend: str, place: str) -> None:
    """Serve until standard input ends."""
    worker = Neighbour(name, backend, place)
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    while True:
        await worker.replica.step(time.time())
        try:
            line = await asyncio.wait_for(lines.get(), PUSH_S)
        except TimeoutError:
            continue
        if not line:
            break
        verb, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(await getattr(worker, verb)(*arguments)) + "\n")
        sys.stdout.flush()
    await worker.replica.aclose()
    if worker.store is not None:
        worker.store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

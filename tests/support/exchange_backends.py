"""Makes exchanges on one backend, Redis or database, each with a connection of its own as processes have it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import redis.asyncio
from sqlalchemy import insert

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.intervals import ReplicaIntervals
from exacto_plugin.sharing.protocol import Batch, Claim, Lease
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.sharing.redis.exchange import RedisExchange
from exacto_plugin.store import tables
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Executable

    from exacto_plugin.sharing.protocol import Exchange
    from exacto_plugin.store.location import StoreLocation
    from tests.support.redis_server import RedisServer

PUSH_S, LEASE_S = 0.05, 1.0
INTERVALS = ReplicaIntervals(recompute_s=0.2, push_s=PUSH_S, save_s=0.2)
PREFIX = "test:{exacto}:1:"
UNREADABLE = "gibberish"

DELTA = Delta("g", DeploymentKey("a"), 30_000_000, {0: 2, 3: 1}, {512: 2})


def batch(sequence: int, worker: str = "w") -> Batch:
    """A batch with one delta."""
    return Batch(worker, sequence, [DELTA])


async def lead(exchange: Exchange, worker: str = "w") -> Lease:
    """The lease, after the time in which prepared workers take precedence."""
    for _ in range(500):
        lease = await exchange.claim(Claim(worker))
        if lease is not None:
            return lease
        await asyncio.sleep(0.02)
    raise AssertionError("no claim was granted")


async def renewed(exchange: Exchange, worker: str, lease: Lease) -> Lease:
    """The same lease, renewed as a leader does it at each step."""
    again = await exchange.claim(Claim(worker, lease.token, lease.renewals, is_prepared=True))
    assert again is not None
    return again


class ExchangeBackend(Protocol):
    """One empty backend and what tests do to it behind the exchange's back."""

    def __call__(self) -> Exchange:
        """Another exchange, as another process has it."""
        ...

    async def empty(self) -> None:
        """Delete all its data."""
        ...

    async def parts(self) -> list[str]:
        """The parts of saved states that it holds, in force or not."""
        ...

    async def make_state_unreadable(self) -> None:
        """Put a saved state there that no version can read."""
        ...

    async def add_unreadable_batch(self) -> None:
        """Add a batch that no version can read, behind all others."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class RedisBackend:
    """Exchanges in one Redis server."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._clients: list[Any] = []
        with server.client() as client:
            client.flushall()

    def __call__(self, *, decodes: bool = False) -> RedisExchange:
        """Another exchange; ``decodes`` as LiteLLM's client may be configured to."""
        client: Any = redis.asyncio.Redis(port=self.server.port, decode_responses=decodes)
        self._clients.append(client)
        return RedisExchange(RedisConnection(lambda: client, PREFIX, owned=True), PUSH_S, LEASE_S)

    def keys(self) -> dict[str, int]:
        """Every key and the seconds until it expires."""
        with self.server.client() as client:
            keys: Any = client.keys("*")
            lefts: Any = [client.ttl(key) for key in keys]
        return {key.decode().removeprefix(PREFIX): left_s for key, left_s in zip(keys, lefts, strict=True)}

    async def empty(self) -> None:
        with self.server.client() as client:
            client.flushall()

    async def parts(self) -> list[str]:
        return [key for key in self.keys() if "state" in key]

    async def make_state_unreadable(self) -> None:
        with self.server.client() as client:
            client.hset(f"{PREFIX}state", mapping={"": UNREADABLE, "g": UNREADABLE})

    async def add_unreadable_batch(self) -> None:
        with self.server.client() as client:
            client.zadd(f"{PREFIX}batches", {UNREADABLE: 9_000_000_000_000_000})

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()


class StoreBackend:
    """Exchanges in one database, each with a store of its own."""

    def __init__(self, location: StoreLocation) -> None:
        self.stores: list[Store] = []
        self._location = location
        self._faults: list[Exception] = []

    def __call__(self) -> StoreExchange:
        self.stores.append(Store(self._location, report=self._faults.append))
        return StoreExchange(self.stores[-1], PUSH_S, LEASE_S)

    async def _execute(self, *statements: Executable) -> None:
        def execute(connection: Any) -> None:
            for statement in statements:
                connection.execute(statement)

        await self.stores[0].work(execute)

    async def empty(self) -> None:
        names = ("head", "batches", "workers", "watched", "documents", "windows")
        await self._execute(*(tables.metadata.tables[name].delete() for name in names))

    async def parts(self) -> list[str]:
        rows = await self.stores[0].read(lambda connection: connection.execute(tables.windows.select()).all())
        return [row.model_group for row in rows]

    async def make_state_unreadable(self) -> None:
        row = {"model_group": "g", "save": "s", "live": True, "payload": UNREADABLE}
        await self._execute(
            insert(tables.documents).values(name="state", payload=UNREADABLE), insert(tables.windows).values(row)
        )

    async def add_unreadable_batch(self) -> None:
        await self._execute(insert(tables.batches).values(place=9_000_000_000_000_000, payload=UNREADABLE))

    async def aclose(self) -> None:
        for store in self.stores:
            store.close()
        assert self._faults == []

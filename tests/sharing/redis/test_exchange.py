"""What is particular to the exchange in Redis: decoding clients, keys, a stopped server, and a cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from exacto_plugin.core.model import DeploymentKey, Outcome
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.protocol import Batch, ExchangeError, Push
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.sharing.redis.conversations import SharedConversations
from exacto_plugin.sharing.redis.exchange import KEEP_S, RedisExchange
from exacto_plugin.sharing.redis.source import key_prefix
from tests.support.exchange_backends import DELTA, INTERVALS, LEASE_S, PUSH_S, RedisBackend, batch, lead
from tests.support.redis_server import RedisServer
from tests.support.replica_workers import Clock, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="module")
def cluster(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The one node of a cluster."""
    with RedisServer(tmp_path_factory.mktemp("cluster"), cluster=True) as node:
        yield node


@pytest.fixture
async def backend(server: RedisServer) -> AsyncIterator[RedisBackend]:
    """Exchanges on an empty server."""
    made = RedisBackend(server)
    yield made
    await made.aclose()


async def test_a_client_that_decodes_reads_the_same(backend: RedisBackend) -> None:
    """LiteLLM's client may be configured to decode what it reads."""
    exchange = backend(decodes=True)
    many = Batch(
        "w",
        1,
        [
            DELTA,
            Delta("g", DeploymentKey("b"), 30_000_001, {11: 7}, {}),
            Delta("h", DeploymentKey("a"), 30_000_001, {}, {3: 1}),
        ],
    )
    receipt = await exchange.push(Push("w", 0, many))
    assert (receipt.accepted, receipt.last_sequence, receipt.leader, receipt.publication) == (True, 1, "", "")
    pulled = await exchange.pull(0)
    assert list(pulled.batches) == [many]
    assert not pulled.more
    assert pulled.position == receipt.offset + 1
    assert (await exchange.pull(pulled.position)).batches == []


async def test_every_key_expires(backend: RedisBackend) -> None:
    """Also those of a leader, with a publication and a saved state."""
    exchange = backend()
    clock = Clock()
    worker = Worker("w", exchange, clock, INTERVALS)
    worker.answer("a", Outcome.INVALID_JSON, 3)
    worker.asked = ("g",)
    await lead(exchange, "w")
    for _ in range(4):
        clock.now += 0.2
        await worker.step()
    found = backend.keys()
    assert found.keys() >= {"head", "held:w", "workers", "watched", "publication", "state"}
    assert all(0 < left_s <= KEEP_S for left_s in found.values()), found


async def test_a_server_that_does_not_answer_costs_the_time_limit(backend: RedisBackend) -> None:
    """Stopped: an error of the exchange, and the next call works once the server runs again."""
    exchange = backend()
    await exchange.push(Push("w", 0, batch(1)))
    backend.server.pause()
    try:
        with pytest.raises(ExchangeError, match="did not answer"):
            await exchange.push(Push("w", 1, batch(2)))
    finally:
        backend.server.resume()
    receipt = await exchange.push(Push("w", 1, batch(2)))
    assert receipt.accepted
    assert [one.sequence for one in (await exchange.pull(0)).batches] == [1, 2]


async def test_a_cluster_takes_everything(cluster: RedisServer) -> None:
    """Scripts reach all their keys, since these share a slot; conversations, which do not, are sent in one go."""
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.port)
    link = RedisConnection(lambda: client, key_prefix("exacto"), owned=True)
    clock = Clock()
    worker = Worker("w", RedisExchange(link, PUSH_S, LEASE_S), clock, INTERVALS)
    worker.answer("a", count=5)
    worker.asked = ("g",)
    for _ in range(40):
        clock.now += 0.05
        await worker.step()
        await asyncio.sleep(0.01)
    assert worker.faults == []
    assert worker.counts() == {"a": 5}
    assert worker.snapshot.groups
    shared = SharedConversations(link, lambda: 600.0, worker.faults.append)
    for number in range(20):
        shared.enqueue(bytes([number]) * 16, "a")
    await shared.publish()
    assert worker.faults == []
    with cluster.client() as plain:
        assert len(list(plain.scan_iter("exacto:1:talk:*"))) == 20
    await worker.replica.aclose()

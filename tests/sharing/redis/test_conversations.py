"""Conversations and operators' words that processes tell each other through a real Redis server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from exacto_plugin.core.model import DeploymentKey, LiteLLMId
from exacto_plugin.core.routing.overrides import LONGEST_S, Override, OverrideAction
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.sharing.redis.conversations import SharedConversations, SharedEntry
from exacto_plugin.sharing.redis.overrides import RedisOverrides

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exacto_plugin.sharing.protocol import ExchangeError
    from tests.support.redis_server import RedisServer

TALK = b"0123456789abcdef"
BUDGET_S = 1.0
"""Instead of 50 ms, within which a busy machine may not get to answer."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has a second for its answers."""
    monkeypatch.setattr("exacto_plugin.sharing.redis.conversations.BUDGET_S", BUDGET_S)


class Process:
    """One process's shared conversations."""

    def __init__(self, server: RedisServer, idle_s: float = 600.0) -> None:
        self.client: Any = redis.asyncio.Redis(port=server.port)
        self.link = RedisConnection(lambda: self.client, "{test}:1:", owned=True)
        self.faults: list[ExchangeError] = []
        self.idle_s = idle_s
        self.shared = SharedConversations(self.link, lambda: self.idle_s, self.faults.append)
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Serve, and wait until Redis was reached."""
        self._task = asyncio.get_running_loop().create_task(self.shared.run())
        await asyncio.sleep(0)
        await self.shared.publish()
        assert self.shared.reachable

    async def end(self) -> None:
        """Stop serving."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.client.aclose()


@pytest.fixture
async def pair(server: RedisServer) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes on an empty server."""
    with server.client() as client:
        client.flushall()
    one, two = Process(server), Process(server)
    await one.begin()
    await two.begin()
    yield one, two
    await one.end()
    await two.end()


async def test_another_process_learns_where_a_conversation_is(pair: tuple[Process, Process]) -> None:
    """Where it is, that a probe began it, that it moved, and that it may leave."""
    one, two = pair
    assert await two.shared.find(TALK) is None
    for deployment, probed in (("a", True), ("b", False)):
        one.shared.enqueue(TALK, deployment, probed=probed)
        await one.shared.publish()
        assert await two.shared.find(TALK) == SharedEntry(LiteLLMId(deployment), probed)
    one.shared.enqueue(TALK, "")
    await one.shared.publish()
    assert await two.shared.find(TALK) is None


async def test_nothing_but_hashes_and_ids_lies_there_and_it_expires(
    pair: tuple[Process, Process], server: RedisServer
) -> None:
    """One key for a conversation, of its hash, with the idle time; outside of the hash tag of the rest."""
    pair[0].shared.enqueue(TALK, "a")
    await pair[0].shared.publish()
    with server.client() as client:
        keys: Any = client.keys("*")
        left_ms: Any = client.pttl(keys[0])
    assert keys == [b"test:1:talk:" + TALK.hex().encode()]
    assert 0 < left_ms <= 600_000


async def test_what_was_told_lately_is_not_told_again(pair: tuple[Process, Process], server: RedisServer) -> None:
    """A conversation that goes on where it is costs no write for each of its turns."""
    shared = pair[0].shared
    for _ in range(50):
        shared.enqueue(TALK, "a")
        await shared.publish()
    with server.client() as client:
        found: Any = client.info("commandstats")
    assert found["cmdstat_set"]["calls"] < 10


async def test_a_changed_idle_time_holds_at_once(pair: tuple[Process, Process], server: RedisServer) -> None:
    """A conversation that goes on where it is is told again, and expires with the new time; shorter or longer."""
    process = pair[0]
    with server.client() as client:
        for idle_s in (600.0, 60.0, 6000.0):
            process.idle_s = idle_s
            process.shared.enqueue(TALK, "a")
            await process.shared.publish()
            left_ms: Any = client.pttl(b"test:1:talk:" + TALK.hex().encode())
            assert 0.9 * idle_s < left_ms / 1000 <= idle_s


async def test_a_redis_that_stopped_is_asked_once(pair: tuple[Process, Process], server: RedisServer) -> None:
    """The first request waits for its budget; until Redis answers a call beside the requests again, nobody asks."""
    one = pair[0]
    one.shared.enqueue(TALK, "a")
    await one.shared.publish()
    server.pause()
    try:
        assert await one.shared.find(TALK) is None
        assert len(one.faults) == 1
        assert f"{BUDGET_S:g} s" in str(one.faults[0])
        assert not one.shared.reachable
        assert [await one.shared.find(TALK) for _ in range(100)] == [None] * 100
        assert len(one.faults) == 1
        one.shared.enqueue(TALK, "b")
        await one.shared.publish()
        assert len(one.faults) == 2
    finally:
        server.resume()
    await one.shared.publish()
    await one.shared.publish()
    assert await one.shared.find(TALK) == SharedEntry(LiteLLMId("b"), from_probe=False)


async def test_what_waits_for_redis_is_bounded(pair: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be told the longest waiting conversations go first."""
    monkeypatch.setattr("exacto_plugin.sharing.redis.conversations._WAITING", 10)
    shared = pair[0].shared
    for number in range(100):
        shared.enqueue(number.to_bytes(16, "big"), "a")
    assert len(shared._waiting) == 10


async def test_words_hang_where_everybody_reads_them(pair: tuple[Process, Process], server: RedisServer) -> None:
    """The newest word about a deployment, also when it has expired; nothing from long ago, nor what cannot be read."""
    one, two = (RedisOverrides(process.link, lambda: 100.0) for process in pair)

    def word(deployment: str, said: OverrideAction, ends: float) -> Override:
        return Override("g", DeploymentKey(deployment), said, "because", "someone", 50.0, ends)

    old = Override("g", DeploymentKey("c"), OverrideAction.GOOD, "because", "someone", 99.0 - LONGEST_S, 99.0)
    await one.write([word("a", OverrideAction.DERANKED, 200.0), word("b", OverrideAction.GOOD, 99.0), old])
    await two.write([word("a", OverrideAction.GOOD, 300.0)])
    with server.client() as client:
        client.hset("{test}:1:words", "x", "gibberish")
        left_s: Any = client.ttl("{test}:1:words")
    assert sorted(await one.read(), key=lambda word: word.deployment) == [
        word("a", OverrideAction.GOOD, 300.0),
        word("b", OverrideAction.GOOD, 99.0),
    ]
    assert left_s > 0

"""The exchange in a real Redis server: what it promises to a replica, and two versions that share one."""

from __future__ import annotations

import asyncio
import json
import zlib
from binascii import a2b_base64
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from exacto_plugin.core.model import GroupSnapshot, Outcome, Snapshot, Tier, Verdict
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.codec import pack, unpack, unpack_batch, unpack_publication
from exacto_plugin.sharing.protocol import Batch, Claim, ExchangeError, Lease, LostLeaseError, Publication, Push, State
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.sharing.redis.conversations import SharedConversations
from exacto_plugin.sharing.redis.exchange import KEEP_S, RedisExchange
from exacto_plugin.sharing.redis.source import key_prefix
from exacto_plugin.sharing.replica import ReplicaIntervals, Role
from tests.support.redis_server import RedisServer
from tests.support.replica_workers import Clock, Worker
from tests.support.saved_states import save_across, save_within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

DELTA = Delta("g", "a", 30_000_000, {0: 2, 3: 1}, {512: 2})
LEASE_S = 1.0
PREFIX = "test:{exacto}:1:"
PACE = ReplicaIntervals(recompute_s=0.2, push_s=0.05, save_s=0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that the tests of this module share."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Ways:
    """Makes exchanges on one server, each with a connection of its own."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._clients: list[Any] = []

    def __call__(self, *, decodes: bool = False) -> RedisExchange:
        client: Any = redis.asyncio.Redis(port=self.server.port, decode_responses=decodes)
        self._clients.append(client)
        return RedisExchange(RedisConnection(lambda: client, PREFIX, owned=True), 0.05, LEASE_S)

    def names(self) -> dict[str, int]:
        """Every key and the seconds until it ends."""
        with self.server.client() as client:
            keys: Any = client.keys("*")
            lefts: Any = [client.ttl(key) for key in keys]
        return {key.decode().removeprefix(PREFIX): left_s for key, left_s in zip(keys, lefts, strict=True)}

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The one node of a cluster."""
    with RedisServer(tmp_path_factory.mktemp("cluster"), cluster=True) as server:
        yield server


@pytest.fixture
async def exchanges(server: RedisServer) -> AsyncIterator[Ways]:
    """Exchanges on an empty server."""
    with server.client() as client:
        client.flushall()
    ways = Ways(server)
    yield ways
    await ways.aclose()


def batch(sequence: int, worker: str = "w", delta: Delta = DELTA) -> Batch:
    return Batch(worker, sequence, [delta])


async def lead(exchange: RedisExchange, worker: str = "w") -> Lease:
    """The lease, after the time that others may come first."""
    for _ in range(500):
        lease = await exchange.claim(Claim(worker))
        if lease is not None:
            return lease
        await asyncio.sleep(0.02)
    raise AssertionError("nobody may lead")


async def until(workers: list[Worker], clock: Clock, condition: Callable[[], bool]) -> None:
    """Let the workers go on, for at most 20 s, until this holds."""
    deadline = asyncio.get_running_loop().time() + 20
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        clock.now += 0.05
        for worker in workers:
            await worker.step()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("decodes", [False, True])
async def test_batches_come_back_as_they_were(exchanges: Ways, decodes: bool) -> None:
    """Also through a client that decodes what it reads, as LiteLLM's may be configured to."""
    exchange = exchanges(decodes=decodes)
    many = Batch("w", 1, [DELTA, Delta("g", "b", 30_000_001, {11: 7}, {}), Delta("h", "a", 30_000_001, {}, {3: 1})])
    receipt = await exchange.push(Push("w", 0, many))
    assert (receipt.accepted, receipt.held, receipt.leader, receipt.publication) == (True, 1, "", "")
    pulled = await exchange.pull(0)
    assert list(pulled.batches) == [many]
    assert not pulled.more
    assert pulled.position == receipt.offset + 1
    assert (await exchange.pull(pulled.position)).batches == []


async def test_the_same_batch_again_is_not_added(exchanges: Ways) -> None:
    """After a timeout nobody knows whether a batch arrived; sending it again finds it where it is."""
    exchange = exchanges()
    first = await exchange.push(Push("w", 0, batch(1)))
    again = await exchange.push(Push("w", 0, batch(1)))
    assert again == first
    assert len((await exchange.pull(0)).batches) == 1
    assert (await exchange.push(Push("w", 1))).accepted


async def test_a_batch_that_does_not_follow_is_refused(exchanges: Ways) -> None:
    """An exchange that lost something says what it holds."""
    exchange = exchanges()
    await exchange.push(Push("w", 0, batch(1)))
    for previous, sent in ((2, batch(3)), (2, None)):
        receipt = await exchange.push(Push("w", previous, sent))
        assert (receipt.accepted, receipt.held) == (False, 1)
    assert len((await exchange.pull(0)).batches) == 1


async def test_a_state_that_cannot_be_read_does_not_keep_anybody_from_leading(exchanges: Ways) -> None:
    """A leader begins with nothing rather than never."""
    with exchanges.server.client() as client:
        client.hset(f"{PREFIX}state", mapping={"": "gibberish", "g": "gibberish"})
    clock = Clock()
    worker = Worker("w", exchanges(), clock, PACE)
    worker.answer("a")
    await until([worker], clock, lambda: worker.replica.role is Role.LEADER and worker.counts() == {"a": 1})
    assert any("cannot be read" in str(fault) for fault in worker.faults)


async def test_places_grow_and_pages_end(exchanges: Ways) -> None:
    """More than a page is read in pages, in order."""
    exchange = exchanges()
    for sequence in range(1, 451):
        await exchange.push(Push("w", sequence - 1, batch(sequence)))
    position, seen, more = 0, [], True
    while more:
        batches, position, more = await exchange.pull(position)
        seen += [one.sequence for one in batches]
    assert seen == list(range(1, 451))


async def test_one_leads_at_a_time(exchanges: Ways) -> None:
    """The first one waits in case a prepared one comes; a lease is renewed, ends by itself, and tokens rise."""
    one, two = exchanges(), exchanges()
    assert await one.claim(Claim("one")) is None
    first = await lead(one, "one")
    assert await two.claim(Claim("two")) is None
    renewed = await one.claim(Claim("one", first.token, first.renewals, is_prepared=True))
    assert renewed is not None
    assert (renewed.token, renewed.renewals, renewed.exchange_reset) == (first.token, first.renewals + 1, False)
    assert (await two.push(Push("two", 0))).leader == "one"
    await asyncio.sleep(LEASE_S + 0.1)
    assert (await two.push(Push("two", 0))).leader == ""
    second = await two.claim(Claim("two"))
    assert second is not None
    assert second.token > first.token
    assert await one.claim(Claim("one", renewed.token, renewed.renewals, is_prepared=True)) is None


async def test_what_carries_an_old_token_is_refused(exchanges: Ways) -> None:
    """One that slept through the end of its lease publishes and saves nothing."""
    one, two = exchanges(), exchanges()
    old = await lead(one, "one")
    await one.aclose()
    new = await two.claim(Claim("two"))
    assert new is not None
    publication = Publication(Snapshot("s", 1.0), {}, ("two",))
    await two.publish(new, publication)
    with pytest.raises(LostLeaseError):
        await one.publish(old, Publication(Snapshot("old", 1.0), {}))
    with pytest.raises(LostLeaseError):
        await one.save(old, State(5, {}, {}, [("g", {"a": b"x"})]))
    assert await two.latest() == publication
    assert await two.load() is None
    assert not [name for name in exchanges.names() if "state" in name]


async def test_a_saved_state_comes_back_and_lets_go_of_its_batches(exchanges: Ways) -> None:
    """State, remembered and position as they were; batches below the position are gone."""
    exchange = exchanges()
    lease = await lead(exchange)
    first = await exchange.push(Push("w", 0, batch(1)))
    second = await exchange.push(Push("w", 1, batch(2)))
    groups = [(f"g{number}", {"a": bytes([number]) * 3, "b": b""}) for number in range(45)]
    remembered = {"g1": {"a": {"tier": "deranked", "since": None, "rule.x": 0.1}}}
    for _ in range(2):  # the second replaces the first
        await exchange.save(lease, State(second.offset, {"w": 1}, remembered, iter(groups)))
    found = await exchange.load()
    assert found is not None
    assert (found.position, found.read, found.remembered) == (second.offset, {"w": 1}, remembered)
    assert sorted(found.windows) == sorted(groups)
    assert [one.sequence for one in (await exchange.pull(first.offset)).batches] == [2]
    assert (await exchange.push(Push("w", 2))).saved == second.offset


async def test_a_save_that_outlasts_its_lease_never_goes_live(exchanges: Ways) -> None:
    """It goes on writing beside the save of the next leader, which is the state and nothing else."""
    one, two = exchanges(), exchanges()
    old = await lead(one, "one")
    await save_across(one, old, two, lambda: lead(two, "two"))
    found = await two.load()
    assert found is not None
    assert (found.position, list(found.windows)) == (2, [("g", {"a": b"new"})])


async def test_a_save_under_an_old_lease_takes_nothing_from_a_newer_one(exchanges: Ways) -> None:
    """It begins while the next leader has written a part of its state: all of that goes live."""
    one, two = exchanges(), exchanges()
    old = await lead(one, "one")
    await one.aclose()
    whole = await save_within(one, old, two, await lead(two, "two"))
    found = await two.load()
    assert found is not None
    assert sorted(found.windows) == sorted(whole)


async def test_an_emptied_server_is_noticed_by_worker_and_leader(exchanges: Ways) -> None:
    """The worker is told to send again, the leader that everything it did is gone; others do not come first."""
    exchange = exchanges()
    lease = await lead(exchange)
    await exchange.push(Push("w", 0, batch(1)))
    with exchanges.server.client() as client:
        client.flushall()
    assert await exchange.claim(Claim("other")) is None
    receipt = await exchange.push(Push("w", 1, batch(2)))
    assert (receipt.accepted, receipt.held) == (False, 0)
    again = await exchange.claim(Claim("w", lease.token, lease.renewals, is_prepared=True))
    assert again is not None
    assert again.exchange_reset
    assert again.token > lease.token


async def test_a_claim_whose_answer_was_lost_gets_it_again(exchanges: Ways) -> None:
    """Whether the exchange had forgotten everything is said until it was heard; and so is a new token."""
    exchange = exchanges()
    first = await lead(exchange)
    assert await exchange.claim(Claim("w")) == first._replace(renewals=first.renewals + 1)
    with exchanges.server.client() as client:
        client.flushall()
    claim = Claim("w", first.token, first.renewals, is_prepared=True)
    unheard = await exchange.claim(claim)
    heard = await exchange.claim(claim)
    assert unheard is not None
    assert unheard.exchange_reset
    assert heard == unheard._replace(renewals=unheard.renewals + 1)
    renewed = await exchange.claim(Claim("w", heard.token, heard.renewals, is_prepared=True))
    assert renewed == heard._replace(renewals=heard.renewals + 1, exchange_reset=False)


async def test_who_takes_part(exchanges: Ways) -> None:
    """Workers that pushed lately, and the groups that they are asked about."""
    exchange = exchanges()
    await exchange.push(Push("w", 0, None, ("g", "h")))
    await exchange.push(Push("v", 0, None, ("g",)))
    assert await exchange.membership() == (("v", "w"), ("g", "h"))


async def test_every_key_ends_by_itself_and_tells_nothing(exchanges: Ways) -> None:
    """Nothing stays behind for ever; what lies there are names of groups and deployments, integers and verdicts."""
    exchange = exchanges()
    clock = Clock()
    worker = Worker("w", exchange, clock, PACE)
    worker.answer("a", Outcome.INVALID_JSON, 3)
    worker.asked = ("g",)
    await lead(exchange, "w")
    for _ in range(4):
        clock.now += 0.2
        await worker.step()
    found = exchanges.names()
    assert found.keys() >= {"head", "held:w", "workers", "watched", "publication", "state"}
    assert all(0 < left_s <= KEEP_S for left_s in found.values()), found


def test_an_older_version_understands_what_a_newer_one_sends() -> None:
    """Further fields, counters, cells and row entries are ignored; what is needed is there."""
    newer = {
        "worker": "w", "sequence": 4, "names": ["g", "a"], "colour": "blue",
        "rows": [[0, 1, 30_000_000, [0, 2, 99, 5], [512, 2, 999_999, 1], "more"]],
    }  # fmt: skip
    found = unpack_batch(pack(newer))
    assert (found.worker, found.sequence) == ("w", 4)
    counts, cells = found.deltas[0].known()
    assert (counts, cells) == ({0: 2}, {512: 2})


def test_a_newer_version_understands_what_an_older_one_publishes() -> None:
    """A publication with unknown fields beside the known ones, and without those that have defaults."""
    verdict = {"deployment": "a", "tier": "deranked", "mood": 3}
    plain = {
        "snapshot": {"id": "s", "at": 1.5, "groups": {"g": {"model_group": "g", "verdicts": {"a": verdict}}}},
        "remembered": {"g": {"a": {"tier": "deranked", "unheard": 1}}},
        "season": "winter",
    }
    found = unpack_publication(pack(plain))
    assert found.snapshot == Snapshot("s", 1.5, {"g": GroupSnapshot("g", {"a": Verdict("a", Tier.DERANKED)})})
    assert found.workers == ()


@pytest.mark.parametrize("text", ["", "x", "AAAA", pack([1]), pack({"snapshot": 1}), pack({"worker": "w"}), pack(None)])
def test_what_cannot_be_read_is_an_error_of_the_exchange(text: str) -> None:
    """Whatever lies there, a replica only ever meets one kind of error."""
    for read in (unpack_batch, unpack_publication):
        with pytest.raises(ExchangeError):
            read(text)


async def test_a_batch_that_cannot_be_read_is_left_out(exchanges: Ways) -> None:
    """One that a much newer version left there does not stop the leader."""
    exchange = exchanges()
    await exchange.push(Push("w", 0, batch(1)))
    with exchanges.server.client() as client:
        client.zadd(f"{PREFIX}batches", {"gibberish": 9_000_000_000_000_000})
    pulled = await exchange.pull(0)
    assert [one.sequence for one in pulled.batches] == [1]


def test_payloads_are_plain_json() -> None:
    """What is packed can be read by anything that reads zlib and JSON."""
    assert json.loads(zlib.decompress(a2b_base64(pack({"a": [1, 2]})))) == {"a": [1, 2]} == unpack(pack({"a": [1, 2]}))


async def test_a_server_that_does_not_answer_costs_its_budget(exchanges: Ways) -> None:
    """Stopped or gone: an error of the exchange, and the next call works once it is back."""
    exchange = exchanges()
    await exchange.push(Push("w", 0, batch(1)))
    exchanges.server.pause()
    try:
        with pytest.raises(ExchangeError, match="did not answer"):
            await exchange.push(Push("w", 1, batch(2)))
    finally:
        exchanges.server.resume()
    receipt = await exchange.push(Push("w", 1, batch(2)))
    assert receipt.accepted
    assert [one.sequence for one in (await exchange.pull(0)).batches] == [1, 2]


async def test_replicas_agree_through_redis(exchanges: Ways) -> None:
    """Two processes on one server: one leads, both serve its snapshot, every sample is counted."""
    clock = Clock()
    workers = [Worker(name, exchanges(), clock, PACE) for name in ("one", "two")]
    for worker in workers:
        for deployment in ("a", "b"):
            worker.answer(deployment, count=100)
        worker.answer("c", Outcome.INVALID_JSON, 100)

    def agreed() -> bool:
        groups = [one.snapshot.groups.get("g") for one in workers]
        deranked = [group is not None and group.verdicts["c"].tier is Tier.DERANKED for group in groups]
        return len({one.snapshot.id for one in workers}) == 1 and all(deranked)

    await until(workers, clock, agreed)
    (leader,) = [one for one in workers if one.replica.role is Role.LEADER]
    assert leader.counts() == {"a": 200, "b": 200, "c": 200}
    for worker in workers:
        await worker.replica.aclose()


async def test_a_cluster_takes_everything(cluster: RedisServer) -> None:
    """Scripts reach all their keys, since these share a slot; conversations, which do not, are told in one go."""
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.port)
    link = RedisConnection(lambda: client, key_prefix("exacto"), owned=True)
    clock = Clock()
    worker = Worker("w", RedisExchange(link, 0.05, LEASE_S), clock, PACE)
    worker.answer("a", count=5)
    worker.asked = ("g",)
    await until([worker], clock, lambda: worker.replica.role is Role.LEADER and worker.counts() == {"a": 5})
    await until([worker], clock, lambda: bool(worker.snapshot.groups))
    assert worker.faults == []
    shared = SharedConversations(link, lambda: 600.0, worker.faults.append)
    for number in range(20):
        shared.enqueue(bytes([number]) * 16, "a")
    await shared.publish()
    assert worker.faults == []
    with cluster.client() as plain:
        assert len(list(plain.scan_iter("exacto:1:talk:*"))) == 20
    await worker.replica.aclose()

"""The exchange in the store: what it promises to a replica, in SQLite and in PostgreSQL, and that a restart goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete

from exacto_plugin.core.model import Outcome, Snapshot, Tier
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.protocol import Batch, Claim, ExchangeError, Lease, LostLeaseError, Publication, Push, State
from exacto_plugin.sharing.replica import ReplicaIntervals, Role
from exacto_plugin.sharing.stored_parts import PAGE
from exacto_plugin.store import tables
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.location import StoreLocation, location_of_url
from exacto_plugin.store.store import Store
from tests.support.replica_workers import Clock, Worker
from tests.support.saved_states import save_across, save_within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

DELTA = Delta("g", "a", 30_000_000, {0: 2, 3: 1}, {512: 2})
PUSH_S, LEASE_S = 0.05, 1.5
PACE = ReplicaIntervals(recompute_s=0.2, push_s=PUSH_S, save_s=0.2)


class Ways:
    """Makes exchanges in one place, each with a store of its own, as processes have it."""

    def __init__(self, place: StoreLocation) -> None:
        self.place = place
        self.stores: list[Store] = []

    def __call__(self) -> StoreExchange:
        self.stores.append(Store(self.place, report=_fail))
        return StoreExchange(self.stores[-1], PUSH_S, LEASE_S)


FAULTS: list[Exception] = []


def _fail(error: Exception) -> None:
    FAULTS.append(error)


@pytest.fixture
async def exchanges(lasting_place: StoreLocation) -> AsyncIterator[Ways]:
    """Exchanges in an empty place."""
    FAULTS.clear()
    ways = Ways(lasting_place)
    yield ways
    for store in ways.stores:
        store.close()
    assert FAULTS == []


def batch(sequence: int, worker: str = "w", delta: Delta = DELTA) -> Batch:
    return Batch(worker, sequence, [delta])


async def lead(exchange: StoreExchange, worker: str = "w") -> Lease:
    """The lease, after the time that others may come first."""
    for _ in range(500):
        lease = await exchange.claim(Claim(worker))
        if lease is not None:
            return lease
        await asyncio.sleep(0.02)
    raise AssertionError("nobody may lead")


async def test_batches_come_back_as_they_were(exchanges: Ways) -> None:
    """Names, minutes, counters and cells; once read, they are not read again."""
    exchange = exchanges()
    many = Batch("w", 1, [DELTA, Delta("g", "b", 30_000_001, {11: 7}, {}), Delta("h", "a", 30_000_001, {}, {3: 1})])
    receipt = await exchange.push(Push("w", 0, many))
    assert (receipt.accepted, receipt.held, receipt.leader, receipt.publication) == (True, 1, "", "")
    pulled = await exchanges().pull(0)
    assert list(pulled.batches) == [many]
    assert not pulled.more
    assert pulled.position == receipt.offset + 1
    assert (await exchange.pull(pulled.position)).batches == []


async def test_the_same_batch_again_is_not_added(exchanges: Ways) -> None:
    """After a timeout nobody knows whether a batch arrived; one that does not follow is refused."""
    exchange = exchanges()
    first = await exchange.push(Push("w", 0, batch(1)))
    assert await exchange.push(Push("w", 0, batch(1))) == first
    assert (await exchange.push(Push("w", 1))).accepted
    for previous, sent in ((2, batch(3)), (2, None)):
        receipt = await exchange.push(Push("w", previous, sent))
        assert (receipt.accepted, receipt.held) == (False, 1)
    assert len((await exchange.pull(0)).batches) == 1


async def test_places_grow_and_pages_end(exchanges: Ways) -> None:
    """More than a page is read in pages, in order, whoever pushed."""
    writers = [exchanges(), exchanges()]
    for sequence in range(1, PAGE // 2 + 10):
        for name, exchange in zip("vw", writers, strict=True):
            assert (await exchange.push(Push(name, sequence - 1, batch(sequence, name)))).accepted
    position, seen, more = 0, [], True
    while more:
        batches, position, more = await writers[0].pull(position)
        seen += [(one.sequence, one.worker) for one in batches]
    assert seen == [(sequence, name) for sequence in range(1, PAGE // 2 + 10) for name in "vw"]


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


async def test_a_claim_whose_answer_was_lost_gets_it_again(exchanges: Ways) -> None:
    """Whether the place had forgotten everything is said until it was heard; and so is a new token."""
    exchange = exchanges()
    first = await lead(exchange)
    assert await exchange.claim(Claim("w")) == first._replace(renewals=first.renewals + 1)
    await exchanges.stores[0].work(lambda connection: connection.execute(delete(tables.head)))
    claim = Claim("w", first.token, first.renewals, is_prepared=True)
    unheard = await exchange.claim(claim)
    heard = await exchange.claim(claim)
    assert unheard is not None
    assert unheard.exchange_reset
    assert heard == unheard._replace(renewals=unheard.renewals + 1)
    renewed = await exchange.claim(Claim("w", heard.token, heard.renewals, is_prepared=True))
    assert renewed == heard._replace(renewals=heard.renewals + 1, exchange_reset=False)


async def test_only_one_of_many_gets_the_lease(exchanges: Ways) -> None:
    """Asked at the same time by many processes, one leads."""
    many = [exchanges() for _ in range(4)]
    for _ in range(2):
        await asyncio.gather(*(one.claim(Claim(str(number))) for number, one in enumerate(many)))
        await asyncio.sleep(2 * PUSH_S + 0.05)
    leases = await asyncio.gather(*(one.claim(Claim(str(number))) for number, one in enumerate(many)))
    assert len([lease for lease in leases if lease is not None]) == 1


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
    assert (await one.push(Push("one", 0))).publication == "s"


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
    found = await exchanges().load()
    assert found is not None
    assert (found.position, found.read, found.remembered) == (second.offset, {"w": 1}, remembered)
    assert sorted(found.windows) == sorted(groups)
    assert [one.sequence for one in (await exchange.pull(first.offset)).batches] == [2]
    assert (await exchange.push(Push("w", 2))).saved == second.offset


async def test_a_save_writes_what_changed(exchanges: Ways) -> None:
    """Unchanged groups are left as they lie, new and changed ones take their place, gone ones go; also of others."""
    one, two = exchanges(), exchanges()
    lease = await lead(one, "one")

    async def saves() -> dict[str, str]:
        found = await exchanges.stores[0].read(lambda step: step.execute(tables.windows.select()).all())
        assert all(row.live for row in found)
        return {row.model_group: row.save for row in found}

    async def renewed(lease: Lease) -> Lease:
        again = await one.claim(Claim("one", lease.token, lease.renewals, is_prepared=True))
        assert again is not None
        return again

    await one.save(lease, State(1, {}, {}, [("g", {"a": b"1"}), ("h", {"a": b"1"}), ("gone", {})]))
    first = await saves()
    lease = await renewed(lease)
    await one.save(lease, State(2, {}, {}, [("g", {"a": b"1"}), ("h", {"a": b"2"}), ("new", {})]))
    second = await saves()
    assert second.keys() == {"g", "h", "new"}
    assert second["g"] == first["g"]
    assert second["h"] != first["h"]
    # Another leader in between: what was written is not what was written by us last.
    await one.aclose()
    other = await two.claim(Claim("two"))
    assert other is not None
    await two.save(other, State(3, {}, {}, [("g", {"a": b"other"})]))
    await two.aclose()
    lease = await renewed(lease)
    await one.save(lease, State(4, {}, {}, [("g", {"a": b"1"})]))
    found = await two.load()
    assert found is not None
    assert list(found.windows) == [("g", {"a": b"1"})]


async def test_what_a_crashed_save_left_does_no_harm(exchanges: Ways) -> None:
    """A leader that ended in the middle of a save: the state before is the state, and the next save replaces it."""
    exchange = exchanges()
    lease = await lead(exchange)
    await exchange.save(lease, State(1, {}, {}, [("g", {"a": b"1"})]))

    def broken() -> Iterator[tuple[str, dict[str, bytes]]]:
        yield from ((f"g{number}", {"a": b"2"}) for number in range(30))
        raise KeyError("ended here")

    with pytest.raises(KeyError):
        await exchange.save(lease, State(2, {}, {}, broken()))
    found = await exchange.load()
    assert found is not None
    assert (found.position, list(found.windows)) == (1, [("g", {"a": b"1"})])
    await exchange.save(lease, State(3, {}, {}, [("g", {"a": b"3"})]))
    found = await exchange.load()
    assert found is not None
    assert (found.position, list(found.windows)) == (3, [("g", {"a": b"3"})])


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


async def test_who_takes_part(exchanges: Ways) -> None:
    """Workers that pushed lately, and the groups that they are asked about; who left is not among them."""
    exchange, other = exchanges(), exchanges()
    await exchange.push(Push("w", 0, None, ("g", "h")))
    await other.push(Push("v", 0, None, ("g",)))
    assert await exchange.membership() == (("v", "w"), ("g", "h"))
    await other.aclose()
    assert await exchange.membership() == (("w",), ("g", "h"))


async def test_a_place_that_is_gone_is_an_error_of_the_exchange(tmp_path: Path) -> None:
    """A replica meets one kind of error, whatever happened."""
    (tmp_path / "file").touch()
    store = Store(location_of_url(f"sqlite:///{tmp_path / 'file' / 'r.sqlite'}"), report=_fail)
    with pytest.raises(ExchangeError, match="is not writable"):
        await StoreExchange(store, PUSH_S).push(Push("w", 0))
    store.close()


async def _until(workers: list[Worker], clock: Clock, condition: Callable[[], bool]) -> None:
    ends = asyncio.get_running_loop().time() + 20
    while not condition():
        assert asyncio.get_running_loop().time() < ends
        clock.now += PUSH_S
        for worker in workers:
            await worker.step()
        await asyncio.sleep(0.01)


def _busy(worker: Worker) -> None:
    for deployment in ("a", "b"):
        worker.answer(deployment, count=100)
    worker.answer("c", Outcome.INVALID_JSON, 100)


def _deranked(worker: Worker) -> bool:
    group = worker.snapshot.groups.get("g")
    return group is not None and group.verdicts["c"].tier is Tier.DERANKED


async def test_replicas_agree_through_the_store(exchanges: Ways) -> None:
    """Two processes in one place: one leads, both serve its snapshot, every sample is counted."""
    clock = Clock()
    workers = [Worker(name, exchanges(), clock, PACE) for name in ("one", "two")]
    for worker in workers:
        _busy(worker)
    agreed = lambda: len({one.snapshot.id for one in workers}) == 1 and all(map(_deranked, workers))  # noqa: E731
    await _until(workers, clock, agreed)
    (leader,) = [one for one in workers if one.replica.role is Role.LEADER]
    assert leader.counts() == {"a": 200, "b": 200, "c": 200}
    for worker in workers:
        await worker.replica.aclose()


@pytest.mark.parametrize("graceful", [True, False])
async def test_the_next_process_goes_on_from_here(exchanges: Ways, graceful: bool) -> None:
    """After a stop or a kill: tiers are in force before anything was judged, nothing that was pushed is lost."""
    clock = Clock()
    first = Worker("first", exchanges(), clock, PACE)
    _busy(first)
    await _until([first], clock, lambda: _deranked(first))
    await _until([first], clock, lambda: first.replica._save_at > clock.now)
    first.answer("a", count=7)
    if graceful:
        await first.replica.aclose()
    else:
        await first.step()
        await asyncio.sleep(LEASE_S + 0.1)  # nobody gives the lease back
    remembered = first.shared.dump() if first.shared is not None else {}
    second = Worker("second", exchanges(), clock, PACE._replace(recompute_s=1000.0))
    second.answer("b", count=5)
    await _until([second], clock, lambda: second.replica.role is Role.LEADER)
    assert second.snapshot == first.snapshot
    assert second.counts() == {"a": 107, "b": 105, "c": 100}
    if graceful:
        assert second.shared is not None
        assert second.shared.dump() == remembered
    assert not second.faults

"""The contract of an exchange, which Redis, SQLite and PostgreSQL each keep; see :mod:`exacto_plugin.sharing.protocol`.

What is particular to one of them is tested in ``redis/test_exchange.py`` and ``tests/store/test_exchange.py``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.core.model import DeploymentKey, Outcome, Snapshot, Tier
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.protocol import Batch, Claim, LostLeaseError, Publication, Push, State
from exacto_plugin.sharing.replica import Role
from exacto_plugin.sharing.stored_parts import BATCH_LIMIT
from tests.support.exchange_backends import DELTA, INTERVALS, LEASE_S, PUSH_S, batch, lead, renewed
from tests.support.replica_workers import Clock, Worker
from tests.support.saved_states import broken_save, save_across, save_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.exchange_backends import ExchangeBackend

# --- batches -------------------------------------------------------------------------------------------------------


async def test_batches_come_back_as_they_were(exchanges: ExchangeBackend) -> None:
    """Names, minutes, counters and cells, read by another process; once read, they are not read again."""
    exchange = exchanges()
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
    pulled = await exchanges().pull(0)
    assert list(pulled.batches) == [many]
    assert not pulled.more
    assert pulled.position == receipt.offset + 1
    assert (await exchange.pull(pulled.position)).batches == []


async def test_the_same_batch_again_is_not_added(exchanges: ExchangeBackend) -> None:
    """After a timeout it is not known if a batch arrived; the same batch again gets the same receipt."""
    exchange = exchanges()
    first = await exchange.push(Push("w", 0, batch(1)))
    assert await exchange.push(Push("w", 0, batch(1))) == first
    assert len((await exchange.pull(0)).batches) == 1
    assert (await exchange.push(Push("w", 1))).accepted


async def test_a_batch_that_does_not_follow_is_refused(exchanges: ExchangeBackend) -> None:
    """The receipt has the number of the last batch that is held."""
    exchange = exchanges()
    await exchange.push(Push("w", 0, batch(1)))
    for previous, sent in ((2, batch(3)), (2, None)):
        receipt = await exchange.push(Push("w", previous, sent))
        assert (receipt.accepted, receipt.last_sequence) == (False, 1)
    assert len((await exchange.pull(0)).batches) == 1


async def test_positions_grow_and_pages_end(exchanges: ExchangeBackend) -> None:
    """More than two pages are read in pages, in order, with the batches of both workers."""
    workers = {"v": exchanges(), "w": exchanges()}
    numbers = range(1, BATCH_LIMIT + 26)
    for sequence in numbers:
        for name, exchange in workers.items():
            assert (await exchange.push(Push(name, sequence - 1, batch(sequence, name)))).accepted
    position, seen, more = 0, [], True
    while more:
        batches, position, more = await workers["v"].pull(position)
        seen += [(one.sequence, one.worker) for one in batches]
    assert seen == [(sequence, name) for sequence in numbers for name in workers]


async def test_a_batch_that_cannot_be_read_is_left_out(exchanges: ExchangeBackend) -> None:
    """A batch of a much newer version does not stop the leader."""
    exchange = exchanges()
    await exchange.push(Push("w", 0, batch(1)))
    await exchanges.add_unreadable_batch()
    pulled = await exchange.pull(0)
    assert [one.sequence for one in pulled.batches] == [1]


# --- the lease -----------------------------------------------------------------------------------------------------


async def test_one_leads_at_a_time(exchanges: ExchangeBackend) -> None:
    """The first one waits in case a prepared one comes; a lease is renewed, ends by itself, and tokens rise."""
    one, two = exchanges(), exchanges()
    assert await one.claim(Claim("one")) is None
    first = await lead(one, "one")
    assert await two.claim(Claim("two")) is None
    again = await one.claim(Claim("one", first.token, first.renewals, is_prepared=True))
    assert again is not None
    assert (again.token, again.renewals, again.exchange_reset) == (first.token, first.renewals + 1, False)
    assert (await two.push(Push("two", 0))).leader == "one"
    await asyncio.sleep(LEASE_S + 0.1)
    assert (await two.push(Push("two", 0))).leader == ""
    second = await two.claim(Claim("two"))
    assert second is not None
    assert second.token > first.token
    assert await one.claim(Claim("one", again.token, again.renewals, is_prepared=True)) is None


async def test_only_one_of_many_gets_the_lease(exchanges: ExchangeBackend) -> None:
    """Of four processes that claim at the same time, one leads."""
    many = [exchanges() for _ in range(4)]
    for _ in range(2):
        await asyncio.gather(*(one.claim(Claim(str(number))) for number, one in enumerate(many)))
        await asyncio.sleep(2 * PUSH_S + 0.05)
    leases = await asyncio.gather(*(one.claim(Claim(str(number))) for number, one in enumerate(many)))
    assert len([lease for lease in leases if lease is not None]) == 1


async def test_a_claim_whose_answer_was_lost_gets_it_again(exchanges: ExchangeBackend) -> None:
    """A new token, and the news that the exchange was reset, are repeated until the next claim has them."""
    exchange = exchanges()
    first = await lead(exchange)
    assert await exchange.claim(Claim("w")) == first._replace(renewals=first.renewals + 1)
    await exchanges.empty()
    claim = Claim("w", first.token, first.renewals, is_prepared=True)
    lost = await exchange.claim(claim)
    repeated = await exchange.claim(claim)
    assert lost is not None
    assert lost.exchange_reset
    assert repeated == lost._replace(renewals=lost.renewals + 1)
    again = await exchange.claim(Claim("w", repeated.token, repeated.renewals, is_prepared=True))
    assert again == repeated._replace(renewals=repeated.renewals + 1, exchange_reset=False)


async def test_an_emptied_exchange_is_noticed_by_worker_and_leader(exchanges: ExchangeBackend) -> None:
    """The worker has to send again and the leader's writes are lost; others do not come first."""
    exchange = exchanges()
    lease = await lead(exchange)
    await exchange.push(Push("w", 0, batch(1)))
    await exchanges.empty()
    assert await exchange.claim(Claim("other")) is None
    receipt = await exchange.push(Push("w", 1, batch(2)))
    assert (receipt.accepted, receipt.last_sequence) == (False, 0)
    again = await renewed(exchange, "w", lease)
    assert again.exchange_reset
    assert again.token > lease.token


async def test_an_old_token_is_refused(exchanges: ExchangeBackend) -> None:
    """A worker whose lease ended publishes and saves nothing."""
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
    assert await exchanges.parts() == []
    assert (await one.push(Push("one", 0))).publication == "s"


async def test_membership(exchanges: ExchangeBackend) -> None:
    """The workers that pushed lately, without those that left, and the watched model groups."""
    exchange, other = exchanges(), exchanges()
    await exchange.push(Push("w", 0, None, ("g", "h")))
    await other.push(Push("v", 0, None, ("g",)))
    assert await exchange.membership() == (("v", "w"), ("g", "h"))
    await other.aclose()
    assert await exchange.membership() == (("w",), ("g", "h"))


# --- the saved state -----------------------------------------------------------------------------------------------


async def test_a_saved_state_comes_back_and_lets_go_of_its_batches(exchanges: ExchangeBackend) -> None:
    """State, remembered and position as they were, for another process; batches below the position are gone."""
    exchange = exchanges()
    lease = await lead(exchange)
    first = await exchange.push(Push("w", 0, batch(1)))
    second = await exchange.push(Push("w", 1, batch(2)))
    groups = [(f"g{number}", {"a": bytes([number]) * 3, "b": b""}) for number in range(45)]
    remembered = {"g1": {"a": {"tier": "deranked", "since": None, "rule.x": 0.1}}}
    for _ in range(2):  # the second replaces the first
        await exchange.save(lease, State(second.offset, {"w": 1}, remembered, iter(groups)))
    state = await exchanges().load()
    assert state is not None
    assert (state.position, state.read, state.remembered) == (second.offset, {"w": 1}, remembered)
    assert sorted(state.windows) == sorted(groups)
    assert [one.sequence for one in (await exchange.pull(first.offset)).batches] == [2]
    assert (await exchange.push(Push("w", 2))).saved == second.offset


async def test_a_crashed_save_does_no_harm(exchanges: ExchangeBackend) -> None:
    """After a leader ended in the middle of a save the earlier state is in force, and the next save replaces it."""
    exchange = exchanges()
    lease = await lead(exchange)
    await exchange.save(lease, State(1, {}, {}, [("g", {"a": b"1"})]))
    lease = await renewed(exchange, "w", lease)
    await broken_save(exchange, lease)
    state = await exchange.load()
    assert state is not None
    assert (state.position, list(state.windows)) == (1, [("g", {"a": b"1"})])
    await exchange.save(await renewed(exchange, "w", lease), State(3, {}, {}, [("g", {"a": b"3"})]))
    state = await exchange.load()
    assert state is not None
    assert (state.position, list(state.windows)) == (3, [("g", {"a": b"3"})])


async def test_a_save_that_outlasts_its_lease_never_goes_live(exchanges: ExchangeBackend) -> None:
    """It goes on writing beside the save of the next leader, which is the state and nothing else."""
    one, two = exchanges(), exchanges()
    old = await lead(one, "one")
    await save_across(one, old, two, lambda: lead(two, "two"))
    state = await two.load()
    assert state is not None
    assert (state.position, list(state.windows)) == (2, [("g", {"a": b"new"})])


async def test_a_save_under_an_old_lease_takes_nothing_from_a_newer_one(exchanges: ExchangeBackend) -> None:
    """It begins while the next leader has written a part of its state: all of that goes live."""
    one, two = exchanges(), exchanges()
    old = await lead(one, "one")
    await one.aclose()
    whole = await save_within(one, old, two, await lead(two, "two"))
    state = await two.load()
    assert state is not None
    assert sorted(state.windows) == sorted(whole)


# --- replicas ------------------------------------------------------------------------------------------------------


async def _step_until(workers: list[Worker], clock: Clock, condition: Callable[[], bool]) -> None:
    ends = asyncio.get_running_loop().time() + 20
    while not condition():
        assert asyncio.get_running_loop().time() < ends
        clock.now += PUSH_S
        for worker in workers:
            await worker.step()
        await asyncio.sleep(0.01)


def _record_answers(worker: Worker) -> None:
    for deployment in ("a", "b"):
        worker.answer(deployment, count=100)
    worker.answer("c", Outcome.INVALID_JSON, 100)


def _has_deranked(worker: Worker) -> bool:
    group = worker.snapshot.groups.get("g")
    return group is not None and group.verdicts[DeploymentKey("c")].tier is Tier.DERANKED


async def test_an_unreadable_state_does_not_keep_a_worker_from_leading(exchanges: ExchangeBackend) -> None:
    """The leader begins with nothing and reports the error."""
    clock = Clock()
    worker = Worker("w", exchanges(), clock, INTERVALS)
    await exchanges.make_state_unreadable()
    worker.answer("a")
    await _step_until([worker], clock, lambda: worker.replica.role is Role.LEADER)
    assert worker.counts() == {"a": 1}
    assert any("cannot be read" in str(fault) for fault in worker.faults)


async def test_replicas_agree(exchanges: ExchangeBackend) -> None:
    """Of two processes one leads, both serve its snapshot, and every sample is counted."""
    clock = Clock()
    workers = [Worker(name, exchanges(), clock, INTERVALS) for name in ("one", "two")]
    for worker in workers:
        _record_answers(worker)
    agreed = lambda: len({one.snapshot.id for one in workers}) == 1 and all(map(_has_deranked, workers))  # noqa: E731
    await _step_until(workers, clock, agreed)
    (leader,) = [one for one in workers if one.replica.role is Role.LEADER]
    assert leader.counts() == {"a": 200, "b": 200, "c": 200}
    for worker in workers:
        await worker.replica.aclose()


@pytest.mark.parametrize("graceful", [True, False])
async def test_the_next_process_goes_on_from_here(exchanges: ExchangeBackend, graceful: bool) -> None:
    """After a stop or a kill: tiers are in force before the first recompute, and every pushed batch is counted."""
    clock = Clock()
    first = Worker("first", exchanges(), clock, INTERVALS)
    _record_answers(first)
    await _step_until([first], clock, lambda: _has_deranked(first))
    await _step_until([first], clock, lambda: first.replica._as_leader.save_at > clock.now)
    first.answer("a", count=7)
    if graceful:
        await first.replica.aclose()
    else:
        await first.step()
        await asyncio.sleep(LEASE_S + 0.1)  # the lease is not released
    remembered = first.shared.dump() if first.shared is not None else {}
    second = Worker("second", exchanges(), clock, INTERVALS._replace(recompute_s=1000.0))
    second.answer("b", count=5)
    await _step_until([second], clock, lambda: second.replica.role is Role.LEADER)
    assert second.snapshot == first.snapshot
    assert second.counts() == {"a": 107, "b": 105, "c": 100}
    if graceful:
        assert second.shared is not None
        assert second.shared.dump() == remembered
    assert not second.faults

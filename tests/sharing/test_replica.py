"""The state machine of one replica, with real engines and an exchange that fails in every way."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.model import DeploymentKey, Outcome
from exacto_plugin.sharing.replica import Role
from tests.support.memory_exchange import LEASE_S
from tests.support.replica_workers import PACE, Worker
from tests.support.worker_fleets import Fleet

if TYPE_CHECKING:
    from tests.support.memory_exchange import Memory


async def test_one_judges_from_everybodys_samples_and_all_serve_the_result() -> None:
    """No worker alone has enough samples for a verdict; together they have, and the verdict is everywhere the same."""
    fleet = Fleet()
    for worker in fleet.workers:
        for deployment in ("a", "b"):
            fleet.answer(worker, deployment, 60)
        fleet.answer(worker, "c", 60, Outcome.INVALID_JSON)
    await fleet.pass_time(30)
    assert fleet.roles() == ["follower", "follower", "leader"]
    snapshots = {worker.snapshot.id for worker in fleet.workers}
    assert len(snapshots) == 1
    assert snapshots == {fleet.leader.snapshot.id}
    for worker in fleet.workers:
        assert worker.snapshot.groups["g"].verdicts[DeploymentKey("c")].tier == "deranked"
        assert worker.snapshot.groups["g"].verdicts[DeploymentKey("a")].tier == "verified_good"
        assert worker.replica.workers == 3
    assert fleet.leader.counts() == {"a": 180, "b": 180, "c": 180}
    assert sum(worker.announced.count("c deranked") for worker in fleet.workers) == 1


async def test_percentiles_are_made_for_what_any_worker_is_asked_for() -> None:
    """Only a follower is asked about a group's speed; the leader's snapshot tells it."""
    fleet = Fleet()
    await fleet.pass_time(6)
    follower = next(worker for worker in fleet.workers if worker is not fleet.leader)
    fleet.answer(follower, "a", 50)
    follower.asked = ("g",)
    await fleet.pass_time(26)
    assert "a" in follower.snapshot.groups["g"].paces


async def test_another_leads_when_the_leader_is_killed_and_nothing_is_forgotten() -> None:
    """The next one begins with the saved state and reads what came after it."""
    fleet = Fleet()
    await fleet.pass_time(6)
    for _ in range(20):
        for worker in fleet.workers:
            fleet.answer(worker, "a", 3)
        await fleet.pass_time(2)
    killed = fleet.leader
    fleet.workers.remove(killed)
    await fleet.pass_time(LEASE_S + 4)
    assert fleet.leader is not killed
    assert fleet.leader.counts() == {"a": fleet.recorded["a"]}
    before = fleet.leader.snapshot
    await fleet.pass_time(PACE.recompute_s)
    assert fleet.leader.snapshot.at > before.at


async def test_everybody_judges_alone_while_the_exchange_is_away_and_counts_once_afterwards() -> None:
    """Local verdicts come in the usual interval; afterwards one leads again and nothing is missing or double."""
    fleet = Fleet()
    await fleet.pass_time(30)
    fleet.exchange.away = True
    before = {worker.snapshot.id for worker in fleet.workers}
    for _ in range(20):
        for worker in fleet.workers:
            fleet.answer(worker, "b", 2)
        await fleet.pass_time(4)
    assert fleet.roles() == ["local"] * 3
    assert {worker.snapshot.id for worker in fleet.workers}.isdisjoint(before)
    assert all(worker.faults for worker in fleet.workers)
    fleet.exchange.away = False
    await fleet.agree()
    assert fleet.roles() == ["follower", "follower", "leader"]
    assert len({worker.snapshot.id for worker in fleet.workers}) == 1
    assert fleet.leader.counts() == {"b": fleet.recorded["b"]}


async def test_many_workers_do_not_fetch_at_once() -> None:
    """A publication is fetched by a few workers at a time, and by all within a tenth of the interval."""
    fleet = Fleet(str(number) for number in range(100))
    rhythm = PACE._replace(recompute_s=100.0)
    for worker in fleet.workers:
        worker.replica.intervals = rhythm
    await fleet.pass_time(120)
    known = fleet.leader.snapshot.id
    assert {worker.snapshot.id for worker in fleet.workers} == {known}
    while fleet.leader.snapshot.id == known:
        await fleet.pass_time(PACE.push_s)
    fetched = []
    for _ in range(4):
        before = sum(worker.snapshot.id == known for worker in fleet.workers)
        await fleet.pass_time(PACE.push_s)
        fetched.append(before - sum(worker.snapshot.id == known for worker in fleet.workers))
    assert all(fetched[:2])
    assert max(fetched) < 80
    assert {worker.snapshot.id for worker in fleet.workers} == {fleet.leader.snapshot.id}


async def test_a_leader_that_hangs_is_not_waited_for() -> None:
    """It keeps its lease and publishes nothing: the others judge alone when the result is overdue."""
    fleet = Fleet()
    await fleet.pass_time(30)
    leader = fleet.leader
    for _ in range(20):
        fleet.clock.now += PACE.push_s
        fleet.exchange.memory.until = fleet.clock.now + LEASE_S
        for worker in fleet.workers:
            if worker is not leader:
                await worker.step()
    assert {worker.replica.role for worker in fleet.workers if worker is not leader} == {Role.LOCAL}


async def test_one_that_was_away_for_long_does_not_publish_over_its_successor() -> None:
    """A process that was stopped wakes up: its lease is not the newest one, so nothing of it comes into force."""
    fleet = Fleet()
    await fleet.pass_time(30)
    sleeper = fleet.leader
    fleet.workers.remove(sleeper)
    await fleet.pass_time(PACE.recompute_s + LEASE_S)
    published = fleet.exchange.memory.publication
    await sleeper.step()
    assert sleeper.replica.role is Role.FOLLOWER
    assert fleet.exchange.memory.publication is published
    assert published is not None
    assert sleeper.snapshot.id == published.snapshot.id


EVENTS = ("answer", "pass", "before", "after", "away", "back", "empty", "rollback")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 8)), max_size=50))
def test_every_answer_counts_once_whatever_happens_to_the_exchange(events: list[tuple[str, int]]) -> None:
    """Calls that fail before or after they were carried out, an exchange that is away, emptied, or an older copy."""

    async def run() -> None:
        fleet = Fleet()
        await fleet.pass_time(6)
        older: Memory | None = None
        for event, number in events:
            worker = fleet.workers[number % len(fleet.workers)]
            if event == "answer":
                fleet.answer(worker, "abc"[number % 3], number)
            elif event == "pass":
                # Copies are made as a replica of the exchange has them: of some moment, not of the last one.
                older = older if number % 2 else fleet.exchange.copy()
                await fleet.pass_time(2.0 * number)
            elif event in ("before", "after"):
                fleet.exchange.faults += ["", event] * (number + 1)
            elif event in ("away", "back"):
                fleet.exchange.away = event == "away"
            elif event == "empty":
                fleet.exchange.empty()
            elif older is not None:
                fleet.exchange.memory, older = older, None
        fleet.exchange.away, fleet.exchange.faults = False, []
        await fleet.pass_time(2 * LEASE_S + 10)
        assert fleet.leader.counts() == {name: count for name, count in fleet.recorded.items() if count}

    asyncio.run(run())


KILLS = ("answer", "pass", "before", "after", "leader", "join")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KILLS), st.integers(0, 8)), max_size=40))
def test_what_was_pushed_survives_whoever_is_killed(events: list[tuple[str, int]]) -> None:
    """Leaders come and go; what the killed ones had not pushed yet is lost, and nothing else."""

    async def run() -> None:
        fleet = Fleet()
        await fleet.pass_time(6)
        joined = 0
        for event, number in events:
            worker = fleet.workers[number % len(fleet.workers)]
            if event == "answer":
                fleet.answer(worker, "abc"[number % 3], number)
            elif event == "pass":
                await fleet.pass_time(2.0 * number)
            elif event in ("before", "after"):
                fleet.exchange.faults += ["", "", event] * (number + 1)
            elif event == "join":
                joined += 1
                fleet.workers.append(Worker(f"new {joined}", fleet.exchange, fleet.clock))
            else:
                leading = [one for one in fleet.workers if one.replica.role is Role.LEADER and one.shared is not None]
                fleet.exchange.faults = []
                await fleet.pass_time(2)
                if leading and len(fleet.workers) > 1:
                    fleet.workers.remove(leading[0])
        fleet.exchange.faults = []
        await fleet.pass_time(2 * LEASE_S + 10)
        assert fleet.leader.counts() == {name: count for name, count in fleet.recorded.items() if count}

    asyncio.run(run())


def test_the_copies_of_the_tests_are_independent() -> None:
    """An older copy of the exchange does not change with it."""
    fleet = Fleet()
    kept = fleet.exchange.copy()
    before = copy.deepcopy(kept.held)
    asyncio.run(fleet.pass_time(10))
    assert kept.held == before


@pytest.mark.parametrize("limit", [0, 5])
async def test_what_is_kept_for_a_lost_exchange_is_bounded(limit: int) -> None:
    """Beyond the limit the oldest batches are let go of."""
    fleet = Fleet(("one",))
    outbox = fleet.workers[0].replica._outbox
    outbox._limit = limit
    await fleet.pass_time(6)
    fleet.exchange.memory.saved = 0
    for _ in range(20):
        fleet.workers[0].answer("a")
        push = outbox.next()
        outbox.acknowledge(push, await fleet.exchange.push(push))
    assert len(outbox._sent) <= limit

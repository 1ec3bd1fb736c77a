"""That each change of a tier is told once for everybody, whatever happens to its publication."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.model import DeploymentKey, Outcome
from exacto_plugin.sharing.replica import Role
from tests.support.memory_exchange import LEASE_S
from tests.support.replica_workers import PACE, START
from tests.support.worker_fleets import Fleet

if TYPE_CHECKING:
    from tests.support.replica_workers import Worker


async def good_then_bad() -> Fleet:
    """All deployments are verified and told of; then one breaks its calls, and the next recompute is due soon."""
    fleet = Fleet()
    for worker in fleet.workers:
        for deployment in ("a", "b", "c"):
            fleet.answer(worker, deployment, 60)
    await fleet.pass_time(30)
    assert [one.snapshot.groups["g"].verdicts[DeploymentKey("c")].tier for one in fleet.workers] == [
        "verified_good"
    ] * 3
    for worker in fleet.workers:
        fleet.answer(worker, "c", 300, Outcome.INVALID_JSON)
    return fleet


async def until_concluded(fleet: Fleet) -> Worker:
    """The leader concluded what it could not publish; returns it."""
    leader = fleet.leader
    while not leader.faults:
        await fleet.pass_time(PACE.push_s)
        assert fleet.clock.now < START + 100
    return leader


def told(*workers: Worker) -> tuple[int, int]:
    """How often it was announced and put on record that the deployment is deranked."""
    announced = sum(worker.announced.count("c deranked") for worker in workers)
    return announced, sum(worker.accounts.count("c deranked") for worker in workers)


def deranked(*workers: Worker) -> bool:
    """Whether all serve a snapshot that says so."""
    return all(worker.snapshot.groups["g"].verdicts[DeploymentKey("c")].tier == "deranked" for worker in workers)


@pytest.mark.parametrize("faults", [["before"], ["after"], ["before", "after", "before"]])
async def test_what_could_not_be_published_is_published_again_and_told_once(faults: list[str]) -> None:
    """A time limit that passes while a result is published costs none of the changes that it made."""
    fleet = await good_then_bad()
    fleet.exchange.publish_faults = list(faults)
    leader = await until_concluded(fleet)
    await fleet.pass_time(20)
    assert fleet.exchange.publish_faults == []
    assert fleet.leader is leader
    assert deranked(*fleet.workers)
    assert told(*fleet.workers) == (1, 1)


async def test_a_result_from_before_an_outage_is_told_and_replaced_at_once() -> None:
    """What was concluded when the exchange went away is hours old when it is back: a new result is in force as well."""
    fleet = await good_then_bad()
    fleet.exchange.publish_faults = ["before"]
    await until_concluded(fleet)
    fleet.exchange.away = True
    await fleet.pass_time(200)
    assert fleet.roles() == ["local"] * 3
    fleet.exchange.away = False
    await fleet.pass_time(6)
    assert fleet.clock.now - fleet.leader.snapshot.at < PACE.recompute_s
    assert told(*fleet.workers) == (1, 1)


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("empty", [False, True])
async def test_the_next_leader_and_the_one_before_tell_it_once(fault: str, empty: bool) -> None:
    """The lease is lost while nobody knows whether the result is in force: whoever's result holds tells of it."""
    fleet = await good_then_bad()
    fleet.exchange.publish_faults = [fault]
    sleeper = await until_concluded(fleet)
    others = [worker for worker in fleet.workers if worker is not sleeper]
    fleet.workers = others
    await fleet.pass_time(LEASE_S + 4)
    assert fleet.leader is not sleeper
    fleet.workers = [*others, sleeper]
    if empty:
        await fleet.pass_time(PACE.push_s)
        fleet.exchange.empty()
    await fleet.pass_time(60)
    assert deranked(*fleet.workers)
    assert told(*fleet.workers) == (1, 1)
    assert told(sleeper) == ((1, 1) if fault == "after" else (0, 0))


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_one_that_leaves_tells_what_came_into_force(fault: str) -> None:
    """A process that ends right after a failed publication: it tells what the next leader will not find again."""
    fleet = await good_then_bad()
    fleet.exchange.publish_faults = [fault]
    leaving = await until_concluded(fleet)
    fleet.workers.remove(leaving)
    await leaving.replica.aclose()
    await fleet.pass_time(60)
    assert deranked(*fleet.workers)
    assert told(leaving, *fleet.workers) == (1, 1)
    assert told(leaving) == ((1, 1) if fault == "after" else (0, 0))


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_an_emptied_exchange_gets_the_result_that_is_not_told_yet(fault: str) -> None:
    """The leader goes on in an exchange that lost everything: with its last conclusion, not with the one before."""
    fleet = await good_then_bad()
    fleet.exchange.publish_faults = [fault]
    leader = await until_concluded(fleet)
    fleet.exchange.empty()
    await fleet.pass_time(PACE.push_s)
    assert leader.replica.role is Role.LEADER
    published = fleet.exchange.memory.publication
    assert published is not None
    assert published.snapshot.groups["g"].verdicts[DeploymentKey("c")].tier == "deranked"
    await fleet.pass_time(30)
    assert deranked(*fleet.workers)
    assert told(*fleet.workers) == (1, 1)


async def test_what_could_not_be_put_in_force_here_is_told_all_the_same() -> None:
    """A fault of the leader's own process after the publication: everybody else serves the result by then."""
    fleet = await good_then_bad()
    leader = fleet.leader
    adopt, failing = leader.adopt, [True]

    async def adopt_at_second(publication: object) -> None:
        if failing.pop() if failing else False:
            raise KeyError("not here")
        await adopt(publication)  # type: ignore[arg-type]

    leader.adopt = adopt_at_second  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        await fleet.pass_time(PACE.recompute_s)
    await fleet.pass_time(30)
    assert deranked(*fleet.workers)
    assert told(*fleet.workers) == (1, 1)


EVENTS = ("good", "bad", "pass", "before", "after", "hang")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 4)), max_size=30))
def test_the_changes_that_were_told_add_up_to_what_is_in_force(events: list[tuple[str, int]]) -> None:
    """Each change of a deployment follows the one before, whoever told it, and the last one holds."""

    async def run() -> None:
        fleet = Fleet()
        await fleet.pass_time(6)
        for event, number in events:
            deployment = "abc"[number % 3]
            if event in ("good", "bad"):
                outcome = Outcome.VALID if event == "good" else Outcome.INVALID_JSON
                fleet.answer(fleet.workers[number % 3], deployment, 80 * (number + 1), outcome)
            elif event == "pass":
                await fleet.pass_time(4.0 * number)
            elif event in ("before", "after"):
                fleet.exchange.publish_faults += [event] * (number % 2 + 1)
            else:
                hanging = next((one for one in fleet.workers if one.replica.role is Role.LEADER), fleet.workers[0])
                fleet.workers.remove(hanging)
                await fleet.pass_time(LEASE_S + 4)  # shorter than an interval
                fleet.workers.append(hanging)
        fleet.exchange.publish_faults = []
        await fleet.pass_time(2 * LEASE_S + 2 * PACE.recompute_s)
        changes = sorted((one for worker in fleet.workers for one in worker.told), key=lambda one: one.at)
        tiers: dict[str, str] = {}
        for change in changes:
            assert tiers.get(change.deployment, "insufficient_data") == change.previous
            tiers[change.deployment] = change.tier
        for deployment, verdict in fleet.leader.snapshot.groups["g"].verdicts.items():
            assert tiers.get(deployment, "insufficient_data") == verdict.tier

    asyncio.run(run())

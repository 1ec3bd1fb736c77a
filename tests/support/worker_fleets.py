"""Some workers with real engines that share one exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.model import Outcome
from exacto_plugin.sharing.replica import Role
from tests.support.memory_exchange import LEASE_S, MemoryExchange
from tests.support.replica_workers import PACE, Clock, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = ("one", "two", "three")


class Fleet:
    """Some workers that share one exchange."""

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        self.clock = Clock()
        self.exchange = MemoryExchange(self.clock)
        self.workers = [Worker(name, self.exchange, self.clock) for name in names]
        self.recorded = {"a": 0, "b": 0, "c": 0}

    async def pass_time(self, seconds: float) -> None:
        """Everybody's steps, as often as they come in that time."""
        for _ in range(int(seconds / PACE.push_s)):
            self.clock.now += PACE.push_s
            for worker in self.workers:
                await worker.step()

    async def agree(self) -> None:
        """Until one leads again and all serve what it says; no longer than an interval and a lease."""
        for _ in range(int((PACE.recompute_s + PACE.overdue_after_s + LEASE_S) / PACE.push_s) + 2):
            await self.pass_time(PACE.push_s)
            if self.roles().count("leader") == 1 and len({one.snapshot.id for one in self.workers}) == 1:
                return

    def answer(self, worker: Worker, deployment: str, count: int = 1, outcome: Outcome = Outcome.VALID) -> None:
        """Answers that one worker gets."""
        worker.answer(deployment, outcome, count)
        self.recorded[deployment] += count

    @property
    def leader(self) -> Worker:
        """Who leads."""
        (found,) = [worker for worker in self.workers if worker.replica.role is Role.LEADER]
        return found

    def roles(self) -> list[str]:
        """Everybody's role, in alphabetical order."""
        return sorted(worker.replica.role.value for worker in self.workers)

"""An exchange in this process's memory that can be away, slow, emptied or rolled back, for the tests of replicas."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from exacto_plugin.sharing.protocol import (
    Batch,
    Claim,
    ExchangeError,
    Lease,
    LostLeaseError,
    Membership,
    Publication,
    Pulled,
    Push,
    Receipt,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE_S = 10.0
GRACE_S = 4.0


@dataclass
class Memory:
    """All that an exchange holds."""

    token: int = 0
    beat: int = 0
    leader: str = ""
    until: float = 0.0
    vacant: float | None = None
    asked: int = 0
    lost: bool = False
    place: int = 0
    saved: int = 0
    state: State | None = None
    publication: Publication | None = None
    batches: list[tuple[int, Batch]] = field(default_factory=list)
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    workers: dict[str, float] = field(default_factory=dict)
    watched: set[str] = field(default_factory=set)


class MemoryExchange:
    """What all replicas of a test share.

    Args:
        clock: UTC seconds.
    """

    name = "memory"

    def __init__(self, clock: Callable[[], float]) -> None:
        self.memory = Memory()
        self.faults: list[str] = []
        """What happens to the next calls: ``before`` or ``after`` the call is carried out; anything else: nothing."""
        self.publish_faults: list[str] = []
        """The same for the next publications only."""
        self.away = False
        self._clock = clock

    def empty(self) -> None:
        """Lose everything."""
        self.memory = Memory()

    def copy(self) -> Memory:
        """What it holds now, e.g. to go back to it later."""
        state = self.memory.state
        kept = copy.copy(self.memory)
        kept.batches, kept.held = list(kept.batches), dict(kept.held)
        kept.state = state
        return kept

    def _call(self, action: Callable[[Memory], Any]) -> Any:
        fault = self.faults.pop(0) if self.faults else ""
        if self.away or fault == "before":
            raise ExchangeError("away")
        found = action(self.memory)
        if fault == "after":
            raise ExchangeError("too late")
        return found

    async def push(self, push: Push) -> Receipt:
        def act(memory: Memory) -> Receipt:
            now = self._clock()
            memory.workers[push.worker] = now
            memory.watched.update(push.watched)
            held, place = memory.held.get(push.worker, (0, 0))
            accepted = held == push.previous
            if push.batch is not None:
                if held == push.batch.sequence:
                    accepted = True
                elif accepted:
                    place = memory.place = max(int(now * 1e6), memory.place + 1)
                    memory.batches.append((place, push.batch))
                    memory.held[push.worker] = held, place = push.batch.sequence, place
            leader = memory.leader if memory.until > now else ""
            known = "" if memory.publication is None else memory.publication.snapshot.id
            return Receipt(accepted, held, place, memory.saved, leader, known)

        found = self._call(act)
        assert isinstance(found, Receipt)
        return found

    async def claim(self, claim: Claim) -> Lease | None:
        def act(memory: Memory) -> Lease | None:
            now = self._clock()
            ours = memory.leader == claim.worker and memory.token > 0
            mine = ours and memory.token == claim.token
            again = ours and not mine and memory.asked == claim.token
            lost = not again and (claim.token > memory.token or (mine and memory.beat < claim.renewals))
            if memory.leader and memory.until > now and memory.leader != claim.worker and not lost:
                return None
            if memory.token == 0 and not claim.is_prepared:
                memory.vacant = now if memory.vacant is None else memory.vacant
                if now - memory.vacant < GRACE_S:
                    return None
            if again:
                lost = memory.lost
            elif lost:
                memory.token = claim.token + 1
            elif not mine:
                memory.token += 1
            memory.asked, memory.lost = claim.token, lost
            memory.beat = max(memory.beat, claim.renewals) + 1
            memory.leader, memory.until = claim.worker, now + LEASE_S
            return Lease(memory.token, memory.beat, exchange_reset=lost)

        found = self._call(act)
        assert found is None or isinstance(found, Lease)
        return found

    async def pull(self, position: int) -> Pulled:
        def act(memory: Memory) -> Pulled:
            found = [(place, batch) for place, batch in memory.batches if place >= position][:3]
            following = found[-1][0] + 1 if found else position
            return Pulled([batch for _, batch in found], following, len(found) == 3)

        found = self._call(act)
        assert isinstance(found, Pulled)
        return found

    async def membership(self) -> Membership:
        def act(memory: Memory) -> Membership:
            now = self._clock()
            alive = sorted(worker for worker, at in memory.workers.items() if now - at <= 6.0)
            return Membership(tuple(alive), tuple(sorted(memory.watched)))

        found = self._call(act)
        assert isinstance(found, Membership)
        return found

    def _check(self, memory: Memory, lease: Lease) -> None:
        if memory.token != lease.token:
            raise LostLeaseError("somebody else leads")

    async def publish(self, lease: Lease, publication: Publication) -> None:
        def act(memory: Memory) -> None:
            self._check(memory, lease)
            memory.publication = publication

        if self.publish_faults:
            self.faults.insert(0, self.publish_faults.pop(0))
        self._call(act)

    async def latest(self) -> Publication | None:
        found = self._call(lambda memory: memory.publication)
        assert found is None or isinstance(found, Publication)
        return found

    async def save(self, lease: Lease, state: State) -> None:
        whole = replace(state, windows=[(group, dict(windows)) for group, windows in state.windows])

        def act(memory: Memory) -> None:
            self._check(memory, lease)
            memory.state, memory.saved = whole, state.position
            memory.batches = [(place, batch) for place, batch in memory.batches if place >= state.position]

        self._call(act)

    async def load(self) -> State | None:
        found = self._call(lambda memory: memory.state)
        assert found is None or isinstance(found, State)
        return found

    async def aclose(self) -> None:
        """Nothing to let go of."""

"""One process among several: pushes, leads or follows, and recomputes alone.

Time, exchange and process are given, so that this is a state machine and nothing else. It runs beside the requests,
every few seconds; no request waits for it.

The leader keeps a common engine, with all workers' samples. The engine that serves requests holds the samples of its
own process, and recomputes from them while the exchange is unavailable.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import TYPE_CHECKING

from exacto_plugin.sharing.leader import Leader
from exacto_plugin.sharing.outbox import Outbox
from exacto_plugin.sharing.protocol import ExchangeError, LostLeaseError
from exacto_plugin.sharing.result import ResultInForce

if TYPE_CHECKING:
    from exacto_plugin.sharing.intervals import ReplicaIntervals
    from exacto_plugin.sharing.protocol import Exchange, Host, Receipt

_CATCH_UP = 100
"""Most batches that one step sends after the exchange was unavailable."""

_FETCH_S = 0.05
"""Mean seconds between two workers' fetches of a publication.

A publication has 4 MB with 20,000 deployments (measured)."""

_FETCH_SHARE = 0.1
"""Part of an interval within which all workers have fetched it."""


class Role(StrEnum):
    """The process that recomputes."""

    LEADER = "leader"
    """This process, for all workers."""
    FOLLOWER = "follower"
    """Another process; this one adopts its results."""
    LOCAL = "local"
    """Each process for itself, until the exchange answers or there is a leader again."""


class Replica:
    """One process among several. Belongs to one event loop.

    Args:
        worker: a name of the process, never used by another one.
        exchange: the shared storage.
        host: the process.
        intervals: of the steps.
        now: UTC seconds.
    """

    def __init__(self, worker: str, exchange: Exchange, host: Host, intervals: ReplicaIntervals, now: float) -> None:
        self.worker = worker
        self.exchange = exchange
        self.intervals = intervals
        self.role = Role.FOLLOWER
        self.heard_at: float | None = None
        """Time of the last answer of the exchange, UTC seconds; None before."""
        self.leader = ""
        """The worker whose lease held then."""
        self._host = host
        self._outbox = Outbox(worker, host.take_deltas)
        self._result = ResultInForce(host, now)
        self._as_leader = Leader(worker, exchange, host, self._result)
        self._seen = ""
        self._fetch_at = 0.0

    @property
    def workers(self) -> int:
        """Number of workers that share the budgets of the result in force."""
        return self._result.workers

    @property
    def next_recompute_at(self) -> float:
        """UTC seconds of the next recompute.

        Counted from when this process put the result in force. A leader that continues an older result makes its first
        one a whole interval later. A follower that started after its leader's last result expects the next too late.
        """
        overdue_s = self.intervals.overdue_after_s if self.role is Role.LOCAL else 0.0
        return self._result.at + self.intervals.recompute_s + overdue_s

    async def step(self, now: float) -> None:
        """Do the steps due at ``now``.

        An unavailable exchange costs its time limit and nothing else.
        """
        try:
            receipt = await self._push()
            self.heard_at, self.leader = now, receipt.leader
            await self._result.announce(receipt.publication)
            if not (self._may_lead(receipt) and await self._lead(now)):
                await self._follow(receipt, now)
        except LostLeaseError as error:
            self._resign()
            self._host.exchange_unavailable(error)
        except ExchangeError as error:
            self._host.exchange_unavailable(error)
        if self._is_overdue(now):
            self.role = Role.LOCAL
            await self._host.recompute_alone(now)
            # The next recompute is one interval from now, in case the exchange stays unavailable.
            self._result.at = now - self.intervals.overdue_after_s

    async def aclose(self) -> None:
        """Send the deltas recorded since the last push, and release the lease."""
        try:
            receipt = await self._push()
            await self._result.announce(receipt.publication)
        except ExchangeError as error:
            self._host.exchange_unavailable(error)
        self._resign()
        await self.exchange.aclose()

    async def _push(self) -> Receipt:
        watched = self._host.watched()
        for _ in range(_CATCH_UP):
            push = self._outbox.next(watched)
            receipt = await self.exchange.push(push)
            self._outbox.acknowledge(push, receipt)
            if receipt.accepted and not self._outbox.in_flight:
                break
        return receipt

    # --- following -------------------------------------------------------------------------------------------------

    async def _follow(self, receipt: Receipt, now: float) -> None:
        if receipt.leader not in ("", self.worker):
            self._result.drop_announcement()  # see ``ResultInForce.announce``
        if receipt.publication in ("", self._result.snapshot_id) or not self._is_my_turn(receipt.publication, now):
            return
        publication = await self.exchange.latest()
        if publication is not None and publication.snapshot.id != self._result.snapshot_id:
            await self._result.adopt(publication, now)
            self.role = Role.FOLLOWER

    def _is_my_turn(self, publication: str, now: float) -> bool:
        """Return True when this worker may fetch a publication.

        Many workers fetch one after the other, each time in another order.
        """
        spread_s = min(_FETCH_S * self.workers, _FETCH_SHARE * self.intervals.recompute_s)
        if spread_s <= self.intervals.push_s:  # the pushes themselves are spread that far
            return True
        if publication != self._seen:
            turn = zlib.crc32(f"{self.worker} {publication}".encode()) / 2**32
            self._seen, self._fetch_at = publication, now + turn * spread_s
        return now >= self._fetch_at or self._is_overdue(now)

    def _is_overdue(self, now: float) -> bool:
        return now - self._result.at >= self.intervals.recompute_s + self.intervals.overdue_after_s

    # --- leading ---------------------------------------------------------------------------------------------------

    def _may_lead(self, receipt: Receipt) -> bool:
        return self._as_leader.has_lease or receipt.leader in ("", self.worker)

    async def _lead(self, now: float) -> bool:
        """Claim the lease and do the leader's work; False as a follower."""
        if not await self._as_leader.claim(now):
            self._resign()
            return False
        self.leader, self.role = self.worker, Role.LEADER
        await self._as_leader.work(now, self.intervals)
        return True

    def _resign(self) -> None:
        if self._as_leader.resign():
            self.role = Role.FOLLOWER

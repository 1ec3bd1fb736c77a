"""One process among several: pushes, leads or follows, and recomputes alone.

Time, exchange and process are given, so that this is a state machine and nothing else. It runs beside the requests,
every few seconds; no request waits for it.

The leader keeps a common engine, with all workers' samples. The engine that serves requests holds the samples of its
own process, and recomputes from them while the exchange is unavailable.
"""

from __future__ import annotations

import asyncio
import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from exacto_plugin.core.windows.codec import WindowDumpError
from exacto_plugin.sharing.outbox import Outbox
from exacto_plugin.sharing.protocol import Claim, ExchangeError, LostLeaseError, Publication, State, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.sharing.host import Host
    from exacto_plugin.sharing.protocol import Batch, Exchange, Lease, Receipt, Remembered

R = TypeVar("R")

PUSH_S = 2.0
"""Seconds between two pushes.

A killed process loses at most the samples of this time, and the leader's data are at most this old."""

SAVE_S = 60.0
"""Least seconds between two saved states; unsaved batches stay in the exchange."""

_SAVING_SHARE = 0.05
"""Part of the leader's time for saving; a large installation saves less often."""

_CATCH_UP = 100
"""Most batches that one step sends after the exchange was unavailable."""

_FETCH_S = 0.05
"""Mean seconds between two workers' fetches of a publication.

A publication has 4 MB with 20,000 deployments (measured)."""

_FETCH_SHARE = 0.1
"""Part of an interval within which all workers have fetched it."""

_WORKERS = 20_000
"""Most workers whose last batch number is kept; the longest silent are dropped."""


class Role(StrEnum):
    """The process that recomputes."""

    LEADER = "leader"
    """This process, for all workers."""
    FOLLOWER = "follower"
    """Another process; this one adopts its results."""
    LOCAL = "local"
    """Each process for itself, until the exchange answers or there is a leader again."""


class ReplicaIntervals(NamedTuple):
    """The intervals of a replica's steps."""

    recompute_s: float
    push_s: float = PUSH_S
    save_s: float = SAVE_S

    @property
    def patience_s(self) -> float:
        """Seconds that a result may be overdue before a process recomputes alone."""
        return max(3 * self.push_s, 0.1 * self.recompute_s)


def replica_intervals(recompute_s: float) -> ReplicaIntervals:
    """Return the intervals for an interval of recomputes: at least one push in each."""
    return ReplicaIntervals(recompute_s, min(PUSH_S, recompute_s))


class PendingAnnouncement(NamedTuple):
    """A result of this process, not yet announced: it may not be in force."""

    id: str
    """Of its snapshot."""
    common: Engine
    """The engine that computed it.

    It computes no other result before this one is announced or dropped."""


class Replica:
    """One process among several. Belongs to one event loop.

    Args:
        worker: a name of the process, never used by another one.
        exchange: the shared storage.
        host: the process.
        pace: intervals of the steps.
        now: UTC seconds.
    """

    def __init__(self, worker: str, exchange: Exchange, host: Host, pace: ReplicaIntervals, now: float) -> None:
        self.worker = worker
        self.exchange = exchange
        self.intervals = pace
        self.role = Role.FOLLOWER
        self.heard_at: float | None = None
        """Time of the last answer of the exchange, UTC seconds; None before."""
        self.leader = ""
        """The worker whose lease held then."""
        self.workers = 1
        """Number of workers that share the budgets of the result in force."""
        self._host = host
        self._outbox = Outbox(worker, host.take_deltas)
        self._judged_at = now
        self._known = ""
        self._seen = ""
        self._fetch_at = 0.0
        self._lease: Lease | None = None
        self._common: Engine | None = None
        self._position = 0
        self._read: dict[str, int] = {}
        self._unpublished: Publication | None = None
        """The publication to send while the lease holds."""
        self._pending: PendingAnnouncement | None = None
        self._published: Publication | None = None
        self._save_at = 0.0

    async def step(self, now: float) -> None:
        """Do the steps due at ``now``.

        An unavailable exchange costs its time limit and nothing else.
        """
        try:
            receipt = await self._push()
            self.heard_at, self.leader = now, receipt.leader
            await self._announce(receipt.publication)
            if not (await self._lead(now) if self._may_lead(receipt) else self._resign()):
                await self._follow(receipt, now)
        except LostLeaseError as error:
            self._resign()
            self._host.exchange_unavailable(error)
        except ExchangeError as error:
            self._host.exchange_unavailable(error)
        if self._is_overdue(now):
            self.role = Role.LOCAL
            await self._host.judge_alone(now)
            # The next recompute is one interval from now, in case the exchange stays unavailable.
            self._judged_at = now - self.intervals.patience_s

    async def aclose(self) -> None:
        """Send the deltas recorded since the last push, and release the lease."""
        try:
            receipt = await self._push()
            await self._announce(receipt.publication)
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
            # This process's own result is not in force, and no longer can be: see ``_announce``.
            self._pending = None
        if receipt.publication in ("", self._known) or not self._is_my_turn(receipt.publication, now):
            return
        publication = await self.exchange.latest()
        if publication is not None and publication.snapshot.id != self._known:
            await self._adopt(publication, now)
            self.role = Role.FOLLOWER

    def _is_my_turn(self, publication: str, now: float) -> bool:
        """Return True when this worker may fetch a publication.

        Many workers fetch one after the other, each time in another order.
        """
        spread_s = min(_FETCH_S * self.workers, _FETCH_SHARE * self.intervals.recompute_s)
        if spread_s <= self.intervals.push_s:  # the pushes themselves are spread that far
            return True
        if publication != self._seen:
            place = zlib.crc32(f"{self.worker} {publication}".encode()) / 2**32
            self._seen, self._fetch_at = publication, now + place * spread_s
        return now >= self._fetch_at or self._is_overdue(now)

    def _is_overdue(self, now: float) -> bool:
        return now - self._judged_at >= self.intervals.recompute_s + self.intervals.patience_s

    async def _adopt(self, publication: Publication, now: float) -> None:
        await self._host.adopt(publication)
        self._published, self._known = publication, publication.snapshot.id
        self._judged_at = now
        self.workers = max(1, len(publication.workers))

    # --- leading ---------------------------------------------------------------------------------------------------

    def _may_lead(self, receipt: Receipt) -> bool:
        return self._lease is not None or receipt.leader in ("", self.worker)

    def _resign(self) -> bool:
        if self._lease is not None:
            self.role = Role.FOLLOWER
        self._lease = self._common = self._unpublished = None
        return False

    async def _lead(self, now: float) -> bool:
        """Get or renew the lease, read batches, recompute when due; False as a follower."""
        before = self._lease
        token, beat = (before.token, before.renewals) if before is not None else (0, 0)
        lease = await self.exchange.claim(Claim(self.worker, token, beat, self._common is not None))
        if lease is None:
            return self._resign()
        if lease.exchange_reset and self._common is not None:
            # Batches that were read stay counted: they are recognised when they are sent again.
            self._position, self._save_at = 0, 0.0
            self._unpublished = self._unpublished or self._published
        elif lease.token != token or self._common is None:
            self._common = None
            await self._take_over(now)
        self._lease, self.leader, self.role = lease, self.worker, Role.LEADER
        assert self._common is not None
        await self._read_batches(self._common)
        # First an earlier unpublished result: the engine continues from it, so that the next result announces none of
        # its changes. An old one is in force for a moment only, since the next one is then due.
        await self._publish(lease)
        if now - self._judged_at >= self.intervals.recompute_s:
            await self._judge(self._common, now)
            await self._publish(lease)
        if now >= self._save_at:
            await self._save(lease, self._common, now)
        return True

    async def _take_over(self, now: float) -> None:
        """Continue the previous leader's state, with its last result in force."""
        publication = await self._readable(self.exchange.latest())
        if publication is not None:
            await self._announce(publication.snapshot.id)
            if publication.snapshot.id != self._known:
                await self._adopt(publication, now)
        self._pending = self._unpublished = None  # of an earlier lease: in force or replaced by now
        common = self._host.new_common_engine()
        self._position, self._read, self._save_at = 0, {}, 0.0
        state = await self._readable(self.exchange.load())
        if state is not None:
            for model_group, windows in state.windows:
                try:
                    await asyncio.to_thread(common.load_windows, model_group, windows)
                except WindowDumpError as error:
                    self._host.exchange_unavailable(UnreadableError(f"part of a saved state is ignored: {error}"))
            await _load_by_group(common, state.remembered)
            self._position, self._read = state.position, dict(state.read)
        if self._published is not None:  # may be newer than the saved state
            await _load_by_group(common, self._published.remembered)
        self._common = common

    async def _readable(self, asked: Awaitable[R | None]) -> R | None:
        """Await a value; None when this version cannot read it.

        A leader without a state is better than no leader.
        """
        try:
            return await asked
        except UnreadableError as error:
            self._host.exchange_unavailable(error)
            return None

    async def _read_batches(self, common: Engine) -> None:
        while True:
            pulled = await self.exchange.pull(self._position)
            for batch in pulled.batches:
                if self._read.get(batch.worker, 0) < batch.sequence:
                    common.add_deltas(batch.deltas)
                    self._note_read(batch)
                await asyncio.sleep(0)
            self._position = pulled.position
            if not pulled.more:
                return

    def _note_read(self, batch: Batch) -> None:
        self._read.pop(batch.worker, None)
        self._read[batch.worker] = batch.sequence
        if len(self._read) > _WORKERS:
            del self._read[next(iter(self._read))]

    async def _judge(self, common: Engine, now: float) -> None:
        census = await self.exchange.membership()
        for model_group in census.watched:
            common.watch(model_group, now)
        if await self._host.judge(common, now):
            self._unpublished = Publication(common.measured, await _dump_by_group(common), census.workers)
            self._pending = PendingAnnouncement(common.measured.id, common)

    async def _publish(self, lease: Lease) -> None:
        """Publish the unpublished result; after an error the next step does it again."""
        publication = self._unpublished
        if publication is None:
            return
        await self.exchange.publish(lease, publication)
        self._unpublished = None
        try:
            if publication.snapshot.id != self._known:
                await self._adopt(publication, publication.snapshot.at)
        finally:
            await self._announce(publication.snapshot.id)

    async def _announce(self, in_force: str) -> None:
        """Announce this process's result if it is the one in force.

        When a publication fails, it is not known if it took effect until the lease holds and it is repeated, or the
        exchange reports the result in force. If another worker leads by then and another result is in force, this
        process's result never was (an old lease is refused from then on): the new leader recomputes from the state
        before it, so that it finds and announces the same changes itself. If this process's result is in force, the new
        leader continues from it and announces none of its changes, so that this process does. An announcement is lost
        only if the result took effect while this process had lost contact and was replaced before it could check, an
        interval later, or if this process was killed.
        """
        untold = self._pending
        if untold is not None and untold.id == in_force:
            self._pending = None
            await self._host.announce(untold.common)

    async def _save(self, lease: Lease, common: Engine, now: float) -> None:
        started = asyncio.get_running_loop().time()
        groups = common.groups()
        windows: Iterator[tuple[str, Mapping[str, bytes]]] = ((one, common.dump_windows(one)) for one in groups)
        remembered = await _dump_by_group(common)
        await self.exchange.save(lease, State(self._position, dict(self._read), remembered, windows))
        took_s = asyncio.get_running_loop().time() - started
        self._save_at = now + max(self.intervals.save_s, took_s / _SAVING_SHARE)


async def _dump_by_group(engine: Engine) -> Remembered:
    """Dump an engine's state beside its windows, group by group.

    Other tasks run in between.
    """
    found: dict[str, Mapping[str, Mapping[str, float | int | str | None]]] = {}
    for model_group in engine.groups():
        found.update(engine.dump(model_group))
        await asyncio.sleep(0)
    return found


async def _load_by_group(engine: Engine, remembered: Remembered) -> None:
    """Load a dumped state into an engine, group by group."""
    for model_group, deployments in remembered.items():
        engine.load({model_group: deployments})
        await asyncio.sleep(0)

"""One process among several: when it pushes, leads, reads, judges for all, publishes, adopts, or judges alone.

Time, exchange and everything that happens in the process are given, so that this is a state machine and nothing else.
Must not be waited for by a request: it runs beside them, once every few seconds.

The leader keeps a common engine, with everybody's samples; the engine that serves requests holds what this process
saw, which is what it judges from while the exchange is away.
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
"""Seconds between two signs of life; what a killed process takes with it, and what the leader's view lags behind."""

SAVE_S = 60.0
"""Seconds between two saved states, at least; batches lie in the exchange until they are part of one."""

_SAVING_SHARE = 0.05
"""Part of the leader's time that saving may take; a large installation saves less often."""

_CATCH_UP = 100
"""Batches that one step sends at most, after the exchange was away."""

_FETCH_S = 0.05
"""Seconds between two workers that fetch a publication, on average: 4 MB each with 20,000 deployments (measured)."""

_FETCH_SHARE = 0.1
"""Part of an interval within which everybody has fetched it."""

_WORKERS = 20_000
"""Workers whose last batch is remembered at most, the longest silent ones go first."""


class Role(StrEnum):
    """Who judges."""

    LEADER = "leader"
    """This process, for everybody."""
    FOLLOWER = "follower"
    """Another process; this one takes over what it says."""
    LOCAL = "local"
    """Every process for itself, until the exchange is back or somebody leads again."""


class ReplicaIntervals(NamedTuple):
    """How often what happens."""

    recompute_s: float
    push_s: float = PUSH_S
    save_s: float = SAVE_S

    @property
    def patience_s(self) -> float:
        """How long a result may be overdue before a process judges alone."""
        return max(3 * self.push_s, 0.1 * self.recompute_s)


def replica_intervals(recompute_s: float) -> ReplicaIntervals:
    """The pace for an interval of recomputes: at least one push in each."""
    return ReplicaIntervals(recompute_s, min(PUSH_S, recompute_s))


class PendingAnnouncement(NamedTuple):
    """A result of this process that people have not been told of: it is not known yet to be in force."""

    id: str
    """Of its snapshot."""
    common: Engine
    """Which made it, and makes no other one before this one is told or let go of."""


class Replica:
    """One process among several. Belongs to one event loop.

    Args:
        worker: a name of the process that no other one ever has.
        exchange: what is shared.
        host: the process.
        pace: how often what happens.
        now: UTC seconds.
    """

    def __init__(self, worker: str, exchange: Exchange, host: Host, pace: ReplicaIntervals, now: float) -> None:
        self.worker = worker
        self.exchange = exchange
        self.intervals = pace
        self.role = Role.FOLLOWER
        self.heard_at: float | None = None
        """When the exchange last answered, UTC seconds; None before."""
        self.leader = ""
        """Whose lease held then."""
        self.workers = 1
        """Who shares the budgets of the result in force."""
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
        """What to publish as long as the lease holds."""
        self._pending: PendingAnnouncement | None = None
        self._published: Publication | None = None
        self._save_at = 0.0

    async def step(self, now: float) -> None:
        """Do what is due at ``now``; an exchange that is away costs its time limit and nothing else."""
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
            # The next one an interval from now, in case the exchange stays away.
            self._judged_at = now - self.intervals.patience_s

    async def aclose(self) -> None:
        """Leave: what was recorded since the last push is sent if the exchange answers, the lease given up."""
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
            # What we had concluded is not in force, and no longer can be: see ``_tell``.
            self._pending = None
        if receipt.publication in ("", self._known) or not self._is_my_turn(receipt.publication, now):
            return
        publication = await self.exchange.latest()
        if publication is not None and publication.snapshot.id != self._known:
            await self._adopt(publication, now)
            self.role = Role.FOLLOWER

    def _is_my_turn(self, publication: str, now: float) -> bool:
        """Whether to fetch a publication yet: many workers do so one after the other, each time in another order."""
        spread_s = min(_FETCH_S * self.workers, _FETCH_SHARE * self.intervals.recompute_s)
        if spread_s <= self.intervals.push_s:  # pushes are spread that far themselves
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
        """Get or renew the lease, read on, and judge when it is time; False when somebody else leads."""
        before = self._lease
        token, beat = (before.token, before.renewals) if before is not None else (0, 0)
        lease = await self.exchange.claim(Claim(self.worker, token, beat, self._common is not None))
        if lease is None:
            return self._resign()
        if lease.exchange_reset and self._common is not None:
            # What was read stays counted, since the same batches are recognised when they are sent again.
            self._position, self._save_at = 0, 0.0
            self._unpublished = self._unpublished or self._published
        elif lease.token != token or self._common is None:
            self._common = None
            await self._take_over(now)
        self._lease, self.leader, self.role = lease, self.worker, Role.LEADER
        assert self._common is not None
        await self._read_batches(self._common)
        # First what could not be published before: the engine goes on from it, so that the next result tells nothing of
        # what this one changed. An old one is in force for a moment only, since then the next one is due.
        await self._publish(lease)
        if now - self._judged_at >= self.intervals.recompute_s:
            await self._judge(self._common, now)
            await self._publish(lease)
        if now >= self._save_at:
            await self._save(lease, self._common, now)
        return True

    async def _take_over(self, now: float) -> None:
        """Begin where the leader before left off, with its last result in force until the next one."""
        publication = await self._readable(self.exchange.latest())
        if publication is not None:
            await self._announce(publication.snapshot.id)
            if publication.snapshot.id != self._known:
                await self._adopt(publication, now)
        self._pending = self._unpublished = None  # of a lease before: in force by now, or judged anew from here on
        common = self._host.new_common_engine()
        self._position, self._read, self._save_at = 0, {}, 0.0
        state = await self._readable(self.exchange.load())
        if state is not None:
            for model_group, windows in state.windows:
                try:
                    await asyncio.to_thread(common.load_windows, model_group, windows)
                except WindowDumpError as error:
                    self._host.exchange_unavailable(UnreadableError(f"a saved state is left out in part: {error}"))
            await _load_by_group(common, state.remembered)
            self._position, self._read = state.position, dict(state.read)
        if self._published is not None:  # what is remembered changes with a result, which may be newer than the state
            await _load_by_group(common, self._published.remembered)
        self._common = common

    async def _readable(self, asked: Awaitable[R | None]) -> R | None:
        """What was asked for; None when this version cannot read it: a leader with nothing is better than none."""
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
        """Put in force what is not; what is left undone by an error is done by the next step."""
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
        """Announce what this process concluded, if that is what is in force.

        Whether a publication that failed was carried out is not known before the lease holds and it is repeated, or
        something else tells what is in force. If somebody else leads by then and another result is in force, ours was
        never (an old lease is refused from then on): the new leader judged, or will, from the memory of the result
        before it, so that it finds and tells the same changes itself. If ours is in force, the new leader goes on from
        it and tells nothing of them, so that we do. Lost is only what came into force unheard and was replaced before
        we could ask again, an interval later, or the process that concluded it was killed.
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
    """What an engine remembers beside its windows, group by group, so that others get their turn."""
    found: dict[str, Mapping[str, Mapping[str, float | int | str | None]]] = {}
    for model_group in engine.groups():
        found.update(engine.dump(model_group))
        await asyncio.sleep(0)
    return found


async def _load_by_group(engine: Engine, remembered: Remembered) -> None:
    """Let an engine take over what another one remembered, group by group."""
    for model_group, deployments in remembered.items():
        engine.load({model_group: deployments})
        await asyncio.sleep(0)

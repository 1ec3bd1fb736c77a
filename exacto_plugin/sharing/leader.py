"""The leader's part of a replica: one process recomputes for all workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from exacto_plugin.core.windows.codec import WindowDumpError
from exacto_plugin.sharing.protocol import Claim, Publication, State, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.sharing.intervals import ReplicaIntervals
    from exacto_plugin.sharing.protocol import Batch, Exchange, Host, Lease, Remembered
    from exacto_plugin.sharing.result import ResultInForce

R = TypeVar("R")

_SAVING_SHARE = 0.05
"""Part of the leader's time for saving; a large installation saves less often."""

_WORKERS = 20_000
"""Most workers whose last batch number is kept; the longest silent are dropped."""


class Leader:
    """Leadership of one process: lease, common engine, publications and saved states.

    Args:
        worker: name of the process.
        exchange: the shared storage.
        host: the process.
        result: the result in force in this process.
    """

    def __init__(self, worker: str, exchange: Exchange, host: Host, result: ResultInForce) -> None:
        self.save_at = 0.0
        """Time of the next saved state, UTC seconds."""
        self._worker = worker
        self._exchange = exchange
        self._host = host
        self._result = result
        self._lease: Lease | None = None
        self._common: Engine | None = None
        self._position = 0
        self._read: dict[str, int] = {}
        self._unpublished: Publication | None = None
        """The publication to send while the lease holds."""

    @property
    def has_lease(self) -> bool:
        """True since a claim was granted and until this process resigned."""
        return self._lease is not None

    def resign(self) -> bool:
        """Give up the lease; False when there was none."""
        had_lease = self.has_lease
        self._lease = self._common = self._unpublished = None
        return had_lease

    async def claim(self, now: float) -> bool:
        """Get or renew the lease, and continue from the saved state under a new one.

        Returns:
            False while another worker holds the lease or has precedence.
        """
        before = self._lease
        token, renewals = (before.token, before.renewals) if before is not None else (0, 0)
        lease = await self._exchange.claim(Claim(self._worker, token, renewals, self._common is not None))
        if lease is None:
            return False
        if lease.exchange_reset and self._common is not None:
            # Batches that were read stay counted: they are recognised when they are sent again.
            self._position, self.save_at = 0, 0.0
            self._unpublished = self._unpublished or self._result.publication
        elif lease.token != token or self._common is None:
            self._common = None
            await self._take_over(now)
        self._lease = lease
        return True

    async def work(self, now: float, intervals: ReplicaIntervals) -> None:
        """Read batches, recompute when due, publish and save; under a lease."""
        lease, common = self._lease, self._common
        assert lease is not None
        assert common is not None
        await self._read_batches(common)
        # First an earlier unpublished result: the engine continues from it, so that the next result announces none of
        # its changes. An old one is in force for a moment only, since the next one is then due.
        await self._publish(lease)
        if now - self._result.at >= intervals.recompute_s:
            await self._recompute(common, now)
            await self._publish(lease)
        if now >= self.save_at:
            took_s = await self._save(lease, common)
            self.save_at = now + max(intervals.save_s, took_s / _SAVING_SHARE)

    async def _take_over(self, now: float) -> None:
        """Continue the previous leader's state, with its last result in force."""
        publication = await self._readable(self._exchange.latest())
        if publication is not None:
            await self._result.announce(publication.snapshot.id)
            if publication.snapshot.id != self._result.snapshot_id:
                await self._result.adopt(publication, now)
        self._result.drop_announcement()  # of an earlier lease: in force or replaced by now
        self._unpublished = None
        common = self._host.new_common_engine()
        self._position, self._read, self.save_at = 0, {}, 0.0
        state = await self._readable(self._exchange.load())
        if state is not None:
            for model_group, windows in state.windows:
                try:
                    await asyncio.to_thread(common.load_windows, model_group, windows)
                except WindowDumpError as error:
                    self._host.exchange_unavailable(UnreadableError(f"part of a saved state is ignored: {error}"))
            await _load_by_group(common, state.remembered)
            self._position, self._read = state.position, dict(state.read)
        if self._result.publication is not None:  # may be newer than the saved state
            await _load_by_group(common, self._result.publication.remembered)
        self._common = common

    async def _readable(self, stored: Awaitable[R | None]) -> R | None:
        """Await a value; None when this version cannot read it.

        A leader without a state is better than no leader.
        """
        try:
            return await stored
        except UnreadableError as error:
            self._host.exchange_unavailable(error)
            return None

    async def _read_batches(self, common: Engine) -> None:
        while True:
            pulled = await self._exchange.pull(self._position)
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

    async def _recompute(self, common: Engine, now: float) -> None:
        membership = await self._exchange.membership()
        for model_group in membership.watched:
            common.watch(model_group, now)
        if await self._host.recompute(common, now):
            self._unpublished = Publication(common.measured, await _dump_by_group(common), membership.workers)
            self._result.await_announcement(common)

    async def _publish(self, lease: Lease) -> None:
        """Publish the unpublished result; after an error the next step does it again."""
        publication = self._unpublished
        if publication is None:
            return
        await self._exchange.publish(lease, publication)
        self._unpublished = None
        try:
            if publication.snapshot.id != self._result.snapshot_id:
                await self._result.adopt(publication, publication.snapshot.at)
        finally:
            await self._result.announce(publication.snapshot.id)

    async def _save(self, lease: Lease, common: Engine) -> float:
        """Save the state; return the seconds that it took."""
        started = asyncio.get_running_loop().time()
        groups = common.groups()
        windows: Iterator[tuple[str, Mapping[str, bytes]]] = ((one, common.dump_windows(one)) for one in groups)
        remembered = await _dump_by_group(common)
        await self._exchange.save(lease, State(self._position, dict(self._read), remembered, windows))
        return asyncio.get_running_loop().time() - started


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

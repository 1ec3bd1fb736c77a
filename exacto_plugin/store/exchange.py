"""The exchange in the store: shared state for workers without Redis.

Serves several workers of one machine, and one process across its restarts. Each step does the same as the Redis script
of the same name, in one transaction. The clock is the database's own where several machines may share it. Takes no
decision of ``replica``.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import delete, insert, select, update

from exacto_plugin.errors import StoreError
from exacto_plugin.sharing.codec import (
    pack,
    pack_batch,
    pack_publication,
    pack_windows,
    unpack,
    unpack_publication,
)
from exacto_plugin.sharing.protocol import (
    ExchangeError,
    Lease,
    Membership,
    Publication,
    Pulled,
    Receipt,
    State,
)
from exacto_plugin.sharing.stored_parts import (
    BATCH_LIMIT,
    GROUP_LIMIT,
    Windows,
    decode_batches,
    decode_state,
    decode_windows,
)
from exacto_plugin.store import tables
from exacto_plugin.store.exchange_transaction import ExchangeTransaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from exacto_plugin.sharing.protocol import Claim, Push
    from exacto_plugin.store.store import Store

R = TypeVar("R")

LEASE_PUSHES = 4
"""Pushes that a leader may miss before another worker may take the lease.

8 seconds: after a kill the next process becomes leader before it would recompute alone."""

OLDEST_S = 72 * 3600.0
"""Seconds until batches are deleted even if no state was saved.

The retention of the longest window."""

BUDGET_S = 3.0
"""Time limit of one call in seconds; no request waits for such a call."""

LARGE_BUDGET_S = 20.0
"""Time limit of calls that may move megabytes: a publication, a part of a state."""

_RESULT, _STATE = "publication", "state"


class StoreExchange:
    """An exchange in the store of this process.

    Args:
        store: runs the transactions.
        push_s: seconds between two pushes of a worker.
        lease_s: seconds that a lease holds without being renewed; None for ``LEASE_PUSHES``.
        clock: UTC seconds, for SQLite, which has no clock of its own.
    """

    name = "store"

    def __init__(
        self, store: Store, push_s: float, lease_s: float | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._lease_s = LEASE_PUSHES * push_s if lease_s is None else lease_s
        self._grace_s = min(2 * push_s, self._lease_s)
        self._absent_s = max(5.0, 3 * push_s)
        self._clock = clock
        self._worker = ""
        self._saved_by = 0
        """Token of the lease under which this process saved last."""
        self._saved: dict[str, bytes] = {}
        """Model group -> digest of its live windows, for those that this process wrote."""

    async def push(self, push: Push) -> Receipt:
        """Send a batch and a heartbeat."""
        self._worker = push.worker
        payload = None if push.batch is None else pack_batch(push.batch)
        return await self._work(lambda step: self._push(step, push, payload))

    def _push(self, step: ExchangeTransaction, push: Push, payload: str | None) -> Receipt:
        now = step.now
        query = select(tables.workers.c.sequence, tables.workers.c.place)
        row = step.run(query.where(tables.workers.c.worker == push.worker)).first()
        held, offset = (0, 0) if row is None else (int(row[0]), int(row[1]))
        head = step.lease()
        accepted = held == push.previous
        if push.batch is not None and payload is not None:
            if held == push.batch.sequence:
                accepted = True
            elif accepted:
                offset = max(int(now * 1e6), int(head.get("place", 0)) + 1)
                step.set_lease(place=offset)
                step.upsert(tables.batches, {"place": offset, "payload": payload})
                held = push.batch.sequence
        step.upsert(tables.workers, {"worker": push.worker, "sequence": held, "place": offset, "seen": now})
        for model_group in push.watched:
            step.upsert(tables.watched, {"model_group": model_group, "seen": now})
        return Receipt(
            accepted, held, offset, int(head.get("saved", 0)), step.leader(head), head.get("publication", "")
        )

    async def claim(self, claim: Claim) -> Lease | None:
        """Get or renew the lease."""
        self._worker = claim.worker
        return await self._work(lambda step: self._claim(step, claim))

    def _claim(self, step: ExchangeTransaction, claim: Claim) -> Lease | None:
        now, head = step.now, step.lease()
        token, beat, leader = int(head.get("token", 0)), int(head.get("beat", 0)), head.get("leader", "")
        is_leader = leader == claim.worker and token > 0
        is_renewal = is_leader and token == claim.token
        is_repeated = is_leader and not is_renewal and int(head.get("asked", -1)) == claim.token
        was_reset = not is_repeated and (claim.token > token or (is_renewal and beat < claim.renewals))
        if step.leader(head) not in ("", claim.worker) and not was_reset:
            return None
        if token == 0 and not claim.is_prepared:
            vacant = float(head.get("vacant", now))
            step.set_lease(vacant=vacant)
            if now - vacant < self._grace_s:
                return None
        if is_repeated:
            was_reset = bool(int(head.get("lost", 0)))
        elif was_reset:
            token = claim.token + 1
        elif not is_renewal:
            token += 1
        if leader != claim.worker:
            self._forget_old(step)
        beat = max(beat, claim.renewals) + 1
        step.set_lease(token=token, beat=beat, leader=claim.worker, until=now + self._lease_s)
        step.set_lease(asked=claim.token, lost=int(was_reset))
        return Lease(token, beat, exchange_reset=was_reset)

    def _forget_old(self, step: ExchangeTransaction) -> None:
        """Delete batches and workers that are no longer needed."""
        step.run(delete(tables.batches).where(tables.batches.c.place < int((step.now - OLDEST_S) * 1e6)))
        step.run(delete(tables.workers).where(tables.workers.c.seen < step.now - OLDEST_S))
        step.run(delete(tables.watched).where(tables.watched.c.seen < step.now - OLDEST_S))

    async def pull(self, position: int) -> Pulled:
        """Read all workers' batches from a position on.

        Batches that this version cannot read are left out.
        """
        place, payload = tables.batches.c.place, tables.batches.c.payload
        query = select(place, payload).where(place >= position).order_by(place).limit(BATCH_LIMIT)
        found = await self._work(lambda step: step.run(query).all(), LARGE_BUDGET_S)
        return await decode_batches([(int(at), text) for at, text in found], position)

    async def membership(self) -> Membership:
        """Return the active workers and the watched model groups."""

        def ask(step: ExchangeTransaction) -> Membership:
            since = step.now - self._absent_s
            alive = select(tables.workers.c.worker).where(tables.workers.c.seen >= since)
            asked = select(tables.watched.c.model_group).where(tables.watched.c.seen >= since)
            return Membership(tuple(sorted(step.run(alive).scalars())), tuple(sorted(step.run(asked).scalars())))

        return await self._work(ask)

    async def publish(self, lease: Lease, publication: Publication) -> None:
        """Put a result in force for all workers."""
        payload = await asyncio.to_thread(pack_publication, publication)

        def act(step: ExchangeTransaction) -> None:
            step.require_lease(lease)
            step.upsert(tables.documents, {"name": _RESULT, "payload": payload})
            step.set_lease(publication=publication.snapshot.id)

        await self._work(act, LARGE_BUDGET_S)

    async def latest(self) -> Publication | None:
        """Return the result in force."""
        found = await self._document(_RESULT)
        return None if found is None else await asyncio.to_thread(unpack_publication, found)

    async def save(self, lease: Lease, state: State) -> None:
        """Replace the saved state.

        The changed parts are written beside the old state first, and then activated in one transaction.
        """
        if lease.token != self._saved_by:
            self._saved_by, self._saved = lease.token, {}
        name = secrets.token_hex(8)
        meta = {"position": state.position, "read": state.read, "remembered": state.remembered}
        document = await asyncio.to_thread(pack, meta)
        await self._work(lambda step: _clear(step, lease), LARGE_BUDGET_S)
        digests: dict[str, bytes] = {}
        page: list[dict[str, Any]] = []
        windows = iter(state.windows)
        # In a thread: the engine gives copies, and most of the time is spent on encoding them.
        while (one := await asyncio.to_thread(_next_packed, windows)) is not None:
            model_group, payload = one
            digests[model_group] = digest = hashlib.blake2b(payload.encode(), digest_size=16).digest()
            if self._saved.get(model_group) != digest:
                page.append({"model_group": model_group, "save": name, "live": False, "payload": payload})
            if len(page) >= GROUP_LIMIT:
                await self._write(page)
                page = []
        await self._write(page)
        self._saved = {}  # until the live digests are known
        await self._work(
            lambda step: _activate_save(step, lease, name, document, state.position, digests), LARGE_BUDGET_S
        )
        self._saved = digests

    async def _write(self, page: list[dict[str, Any]]) -> None:
        if page:
            await self._work(lambda step: step.run(insert(tables.windows), page), LARGE_BUDGET_S)

    async def load(self) -> State | None:
        """Return the saved state; None without one."""
        document = await self._document(_STATE)
        if document is None:
            return None
        plain = await asyncio.to_thread(unpack, document)
        group, live = tables.windows.c.model_group, tables.windows.c.live.is_(True)
        names = await self._work(lambda step: step.run(select(group).where(live)).scalars().all(), LARGE_BUDGET_S)
        windows: Windows = []
        for first in range(0, len(names), GROUP_LIMIT):
            windows += await self._read(names[first : first + GROUP_LIMIT])
        return decode_state(plain, windows)

    async def _read(self, groups: Collection[str]) -> Windows:
        table = tables.windows
        query = select(table.c.model_group, table.c.payload).where(
            table.c.live.is_(True), table.c.model_group.in_(groups)
        )
        found = await self._work(lambda step: step.run(query).all(), LARGE_BUDGET_S)
        return await asyncio.to_thread(decode_windows, [(name, text) for name, text in found])

    async def aclose(self) -> None:
        """Release the lease if this process holds it; the store itself stays open."""

        def leave(step: ExchangeTransaction) -> None:
            if step.lease().get("leader") == self._worker:
                step.set_lease(until=0.0)
            step.run(update(tables.workers).where(tables.workers.c.worker == self._worker).values(seen=0.0))

        await self._work(leave)

    async def _document(self, name: str) -> str | None:
        query = select(tables.documents.c.payload).where(tables.documents.c.name == name)
        return await self._work(lambda step: step.run(query).scalar(), LARGE_BUDGET_S)

    async def _work(self, act: Callable[[ExchangeTransaction], R], bound_s: float = BUDGET_S) -> R:
        try:
            return await self._store.work(lambda connection: act(ExchangeTransaction(connection, self._clock)), bound_s)
        except StoreError as error:
            raise ExchangeError(str(error)) from error


def _next_packed(windows: Iterator[tuple[str, Mapping[str, bytes]]]) -> tuple[str, str] | None:
    one = next(windows, None)
    return None if one is None else (one[0], pack_windows(one[1]))


def _clear(step: ExchangeTransaction, lease: Lease) -> None:
    """Delete parts of earlier saves, but none of a newer lease."""
    step.require_lease(lease)
    step.run(delete(tables.windows).where(tables.windows.c.live.is_(False)))


def _activate_save(
    step: ExchangeTransaction, lease: Lease, name: str, document: str, position: int, groups: Collection[str]
) -> None:
    """Make this save the live one, and delete the batches that it contains.

    Parts that an older lease's save still writes are not activated.
    """
    step.require_lease(lease)
    group, live = tables.windows.c.model_group, tables.windows.c.live
    own = tables.windows.c.save == name
    new = set(step.run(select(group).where(own)).scalars())
    for old in list(step.run(select(group).where(live.is_(True))).scalars()):
        if old in new or old not in groups:
            step.run(delete(tables.windows).where(group == old, live.is_(True)))
    step.run(update(tables.windows).where(own).values(live=True))
    step.run(delete(tables.windows).where(live.is_(False)))
    step.upsert(tables.documents, {"name": _STATE, "payload": document})
    step.run(delete(tables.batches).where(tables.batches.c.place < position))
    step.set_lease(saved=position)

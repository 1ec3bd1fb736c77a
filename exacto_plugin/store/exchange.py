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

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

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
    LostLeaseError,
    Membership,
    Publication,
    Pulled,
    Receipt,
    State,
)
from exacto_plugin.sharing.stored_parts import PAGE, STATE_PAGE, Windows, pulled, state_of, windows_of
from exacto_plugin.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from sqlalchemy import Connection, Table

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

_LOCK = 7_236_711_904_234
"""The plugin's own number among PostgreSQL's advisory locks."""

_RESULT, _MEMORY = "publication", "state"


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

    def _push(self, step: _Transaction, push: Push, payload: str | None) -> Receipt:
        now = step.now
        known = select(tables.workers.c.sequence, tables.workers.c.place)
        row = step.run(known.where(tables.workers.c.worker == push.worker)).first()
        held, place = (0, 0) if row is None else (int(row[0]), int(row[1]))
        head = step.lease()
        accepted = held == push.previous
        if push.batch is not None and payload is not None:
            if held == push.batch.sequence:
                accepted = True
            elif accepted:
                place = max(int(now * 1e6), int(head.get("place", 0)) + 1)
                step.set_lease(place=place)
                step.put(tables.batches, {"place": place, "payload": payload})
                held = push.batch.sequence
        step.put(tables.workers, {"worker": push.worker, "sequence": held, "place": place, "seen": now})
        for model_group in push.watched:
            step.put(tables.watched, {"model_group": model_group, "seen": now})
        return Receipt(accepted, held, place, int(head.get("saved", 0)), step.leader(head), head.get("publication", ""))

    async def claim(self, claim: Claim) -> Lease | None:
        """Get or renew the lease."""
        self._worker = claim.worker
        return await self._work(lambda step: self._claim(step, claim))

    def _claim(self, step: _Transaction, claim: Claim) -> Lease | None:
        now, head = step.now, step.lease()
        token, beat, leader = int(head.get("token", 0)), int(head.get("beat", 0)), head.get("leader", "")
        ours = leader == claim.worker and token > 0
        mine = ours and token == claim.token
        again = ours and not mine and int(head.get("asked", -1)) == claim.token
        lost = not again and (claim.token > token or (mine and beat < claim.renewals))
        if step.leader(head) not in ("", claim.worker) and not lost:
            return None
        if token == 0 and not claim.is_prepared:
            vacant = float(head.get("vacant", now))
            step.set_lease(vacant=vacant)
            if now - vacant < self._grace_s:
                return None
        if again:
            lost = bool(int(head.get("lost", 0)))
        elif lost:
            token = claim.token + 1
        elif not mine:
            token += 1
        if leader != claim.worker:
            self._forget_old(step)
        beat = max(beat, claim.renewals) + 1
        step.set_lease(token=token, beat=beat, leader=claim.worker, until=now + self._lease_s)
        step.set_lease(asked=claim.token, lost=int(lost))
        return Lease(token, beat, exchange_reset=lost)

    def _forget_old(self, step: _Transaction) -> None:
        """Delete batches and workers that are no longer needed."""
        step.run(delete(tables.batches).where(tables.batches.c.place < int((step.now - OLDEST_S) * 1e6)))
        step.run(delete(tables.workers).where(tables.workers.c.seen < step.now - OLDEST_S))
        step.run(delete(tables.watched).where(tables.watched.c.seen < step.now - OLDEST_S))

    async def pull(self, position: int) -> Pulled:
        """Read all workers' batches from a position on.

        Batches that this version cannot read are left out.
        """
        place, payload = tables.batches.c.place, tables.batches.c.payload
        query = select(place, payload).where(place >= position).order_by(place).limit(PAGE)
        found = await self._work(lambda step: step.run(query).all(), LARGE_BUDGET_S)
        return await pulled([(int(at), text) for at, text in found], position)

    async def membership(self) -> Membership:
        """Return the active workers and the watched model groups."""

        def ask(step: _Transaction) -> Membership:
            since = step.now - self._absent_s
            alive = select(tables.workers.c.worker).where(tables.workers.c.seen >= since)
            asked = select(tables.watched.c.model_group).where(tables.watched.c.seen >= since)
            return Membership(tuple(sorted(step.run(alive).scalars())), tuple(sorted(step.run(asked).scalars())))

        return await self._work(ask)

    async def publish(self, lease: Lease, publication: Publication) -> None:
        """Put a result in force for all workers."""
        payload = await asyncio.to_thread(pack_publication, publication)

        def act(step: _Transaction) -> None:
            step.require_lease(lease)
            step.put(tables.documents, {"name": _RESULT, "payload": payload})
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
        memory = await asyncio.to_thread(pack, meta)
        await self._work(lambda step: _clear(step, lease), LARGE_BUDGET_S)
        seen: dict[str, bytes] = {}
        page: list[dict[str, Any]] = []
        windows = iter(state.windows)
        # In a thread: the engine gives copies, and most of the time is spent on encoding them.
        while (one := await asyncio.to_thread(_next_packed, windows)) is not None:
            model_group, payload = one
            seen[model_group] = digest = hashlib.blake2b(payload.encode(), digest_size=16).digest()
            if self._saved.get(model_group) != digest:
                page.append({"model_group": model_group, "save": name, "live": False, "payload": payload})
            if len(page) >= STATE_PAGE:
                await self._write(page)
                page = []
        await self._write(page)
        self._saved = {}  # until the live digests are known
        await self._work(lambda step: _activate_save(step, lease, name, memory, state.position, seen), LARGE_BUDGET_S)
        self._saved = seen

    async def _write(self, page: list[dict[str, Any]]) -> None:
        if page:
            await self._work(lambda step: step.run(insert(tables.windows), page), LARGE_BUDGET_S)

    async def load(self) -> State | None:
        """Return the saved state; None without one."""
        memory = await self._document(_MEMORY)
        if memory is None:
            return None
        plain = await asyncio.to_thread(unpack, memory)
        group, live = tables.windows.c.model_group, tables.windows.c.live.is_(True)
        names = await self._work(lambda step: step.run(select(group).where(live)).scalars().all(), LARGE_BUDGET_S)
        windows: Windows = []
        for first in range(0, len(names), STATE_PAGE):
            windows += await self._read(names[first : first + STATE_PAGE])
        return state_of(plain, windows)

    async def _read(self, groups: Collection[str]) -> Windows:
        table = tables.windows
        query = select(table.c.model_group, table.c.payload).where(
            table.c.live.is_(True), table.c.model_group.in_(groups)
        )
        found = await self._work(lambda step: step.run(query).all(), LARGE_BUDGET_S)
        return await asyncio.to_thread(windows_of, [(name, text) for name, text in found])

    async def aclose(self) -> None:
        """Release the lease if this process holds it; the store itself stays open."""

        def leave(step: _Transaction) -> None:
            if step.lease().get("leader") == self._worker:
                step.set_lease(until=0.0)
            step.run(update(tables.workers).where(tables.workers.c.worker == self._worker).values(seen=0.0))

        await self._work(leave)

    async def _document(self, name: str) -> str | None:
        query = select(tables.documents.c.payload).where(tables.documents.c.name == name)
        return await self._work(lambda step: step.run(query).scalar(), LARGE_BUDGET_S)

    async def _work(self, act: Callable[[_Transaction], R], bound_s: float = BUDGET_S) -> R:
        try:
            return await self._store.work(lambda connection: act(_Transaction(connection, self._clock)), bound_s)
        except StoreError as error:
            raise ExchangeError(str(error)) from error


def _next_packed(windows: Iterator[tuple[str, Mapping[str, bytes]]]) -> tuple[str, str] | None:
    one = next(windows, None)
    return None if one is None else (one[0], pack_windows(one[1]))


def _clear(step: _Transaction, lease: Lease) -> None:
    """Delete parts of earlier saves, but none of a newer lease."""
    step.require_lease(lease)
    step.run(delete(tables.windows).where(tables.windows.c.live.is_(False)))


def _activate_save(
    step: _Transaction, lease: Lease, name: str, memory: str, position: int, groups: Collection[str]
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
    step.put(tables.documents, {"name": _MEMORY, "payload": memory})
    step.run(delete(tables.batches).where(tables.batches.c.place < position))
    step.set_lease(saved=position)


class _Transaction:
    """One transaction of an exchange; transactions of several processes are serial."""

    def __init__(self, connection: Connection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._on_server = connection.dialect.name == "postgresql"
        if self._on_server:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        # Several machines may share a server, and their clocks differ.
        self.now = (
            float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
            if self._on_server
            else clock()
        )

    def run(self, statement: Any, rows: Any = None) -> Any:
        """Execute a statement."""
        return self._connection.execute(statement, rows) if rows is not None else self._connection.execute(statement)

    def put(self, table: Table, row: Mapping[str, Any]) -> None:
        """Insert a row, or replace the one with the same key."""
        made = (postgresql if self._on_server else sqlite).insert(table).values(row)
        key = [column.name for column in table.primary_key.columns]
        later = {name: made.excluded[name] for name in row if name not in key}
        self.run(made.on_conflict_do_update(index_elements=key, set_=later))

    def lease(self) -> dict[str, str]:
        """Return the rows of ``head``: the leader, the lease, the result in force."""
        return {str(name): str(value) for name, value in self.run(select(tables.head.c.name, tables.head.c.value))}

    def set_lease(self, **values: float | str) -> None:
        """Change rows of ``head``."""
        for name, value in values.items():
            self.put(tables.head, {"name": name, "value": value if isinstance(value, str) else repr(value)})

    def leader(self, head: Mapping[str, str]) -> str:
        """Return the worker whose lease holds; empty without one."""
        return head.get("leader", "") if float(head.get("until", 0.0)) > self.now else ""

    def require_lease(self, lease: Lease) -> None:
        """Raise a ``LostLeaseError`` unless the lease is the newest."""
        if int(self.lease().get("token", 0)) != lease.token:
            raise LostLeaseError("another worker leads")

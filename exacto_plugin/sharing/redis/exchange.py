"""The exchange in Redis; the server may be slow, absent, emptied or replaced.

Each worker makes one call per push, in one script; the leader makes a few more. All keys expire when they are no longer
used. No request waits for these calls. Takes no decision of ``replica``.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from exacto_plugin.sharing.codec import (
    pack,
    pack_batch,
    pack_publication,
    pack_windows,
    unpack,
    unpack_publication,
)
from exacto_plugin.sharing.protocol import Lease, LostLeaseError, Membership, Pulled, Receipt, State
from exacto_plugin.sharing.redis import scripts
from exacto_plugin.sharing.redis.connection import decode
from exacto_plugin.sharing.stored_parts import (
    BATCH_LIMIT,
    GROUP_LIMIT,
    Windows,
    decode_batches,
    decode_state,
    decode_windows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from exacto_plugin.sharing.protocol import Claim, Publication, Push
    from exacto_plugin.sharing.redis.connection import Argument, RedisConnection

BUDGET_S = 1.0
"""Time limit of one call in seconds; no request waits for such a call."""

LARGE_BUDGET_S = 10.0
"""Time limit of calls that may move megabytes: a publication, a part of a state."""

LEASE_S = 10.0
"""Seconds without a renewal until another worker may lead: five pushes."""

KEEP_S = 72 * 3600
"""Seconds after which unused keys expire: as long as half-hours are kept (quiet model groups keep seven days)."""

OLDEST_S = 6 * 3600
"""Seconds until batches are deleted even if no state was saved."""

_META = ""
"""The field of a state that belongs to no model group."""


class RedisExchange:
    """An exchange in Redis.

    Args:
        link: the connection.
        push_s: seconds between two pushes of a worker.
        lease_s: seconds that a lease holds without being renewed.
    """

    name = "redis"

    def __init__(self, link: RedisConnection, push_s: float, lease_s: float = LEASE_S) -> None:
        self._link = link
        self._lease_s = lease_s
        self._grace_s = min(2 * push_s, lease_s)
        self._absent_s = max(5.0, 3 * push_s)
        self._worker = ""

    async def push(self, push: Push) -> Receipt:
        """Send a batch and a heartbeat."""
        self._worker = push.worker
        keys = ("head", "batches", f"held:{push.worker}", "workers", "watched")
        sequence = 0 if push.batch is None else push.batch.sequence
        payload = "" if push.batch is None else pack_batch(push.batch)
        arguments: list[Argument] = [push.worker, push.previous, sequence, payload, KEEP_S, OLDEST_S, self._absent_s]
        arguments += push.watched
        answer = await self._link.script(scripts.PUSH, keys, *arguments, budget_s=BUDGET_S)
        accepted, last_sequence, offset, saved, leader, publication = answer
        return Receipt(bool(accepted), int(last_sequence), int(offset), int(saved), decode(leader), decode(publication))

    async def claim(self, claim: Claim) -> Lease | None:
        """Get or renew the lease."""
        self._worker = claim.worker
        claimant = (claim.worker, claim.token, claim.renewals, int(claim.is_prepared))
        limits = (self._lease_s, self._grace_s, KEEP_S)
        answer = await self._link.script(scripts.CLAIM, ("head",), *claimant, *limits, budget_s=BUDGET_S)
        return None if answer is None else Lease(int(answer[0]), int(answer[1]), exchange_reset=bool(answer[2]))

    async def pull(self, position: int) -> Pulled:
        """Read all workers' batches from a position on.

        Batches that this version cannot read are left out.
        """
        key = self._link.key("batches")

        async def page(client: Any) -> Any:
            return await client.zrangebyscore(key, position, "+inf", start=0, num=BATCH_LIMIT, withscores=True)

        found = await self._link.within(LARGE_BUDGET_S, page)
        return await decode_batches([(int(place), payload) for payload, place in found], position)

    async def membership(self) -> Membership:
        """Return the active workers and the watched model groups."""
        keys = ("workers", "watched")
        workers, watched = await self._link.script(scripts.MEMBERSHIP, keys, self._absent_s, budget_s=BUDGET_S)
        return Membership(tuple(sorted(map(decode, workers))), tuple(sorted(map(decode, watched))))

    async def publish(self, lease: Lease, publication: Publication) -> None:
        """Put a result in force for all workers."""
        payload = await asyncio.to_thread(pack_publication, publication)
        arguments = (lease.token, publication.snapshot.id, payload, KEEP_S)
        keys = ("head", "publication")
        if not await self._link.script(scripts.PUBLISH, keys, *arguments, budget_s=LARGE_BUDGET_S):
            raise LostLeaseError("another worker leads")

    async def latest(self) -> Publication | None:
        """Return the result in force."""
        key = self._link.key("publication")
        found = await self._link.within(LARGE_BUDGET_S, lambda client: client.get(key))
        return None if found is None else await asyncio.to_thread(unpack_publication, found)

    async def save(self, lease: Lease, state: State) -> None:
        """Replace the saved state.

        The new state is written beside the old one, in parts, and then renamed.
        """
        new = f"state:{lease.token}:{lease.renewals}"
        meta = {"position": state.position, "read": state.read, "remembered": state.remembered}
        await self._write(new, {_META: await asyncio.to_thread(pack, meta)})
        windows = iter(state.windows)
        while page := await asyncio.to_thread(_packed, windows):
            await self._write(new, page)
        keys, arguments = ("head", "batches", new, "state"), (lease.token, state.position, KEEP_S)
        if not await self._link.script(scripts.SAVE, keys, *arguments, budget_s=LARGE_BUDGET_S):
            raise LostLeaseError("another worker leads")

    async def _write(self, name: str, page: Mapping[str, str]) -> None:
        key = self._link.key(name)

        async def write(client: Any) -> None:
            await client.hset(key, mapping=page)
            await client.expire(key, KEEP_S)

        await self._link.within(LARGE_BUDGET_S, write)

    async def load(self) -> State | None:
        """Return the saved state; None without one."""
        key = self._link.key("state")
        names = await self._link.within(LARGE_BUDGET_S, lambda client: client.hkeys(key))
        groups = sorted(name for name in map(decode, names) if name != _META)
        meta = await self._link.within(LARGE_BUDGET_S, lambda client: client.hget(key, _META))
        if meta is None:
            return None
        plain = await asyncio.to_thread(unpack, meta)
        windows: Windows = []
        for first in range(0, len(groups), GROUP_LIMIT):
            windows += await self._read(key, groups[first : first + GROUP_LIMIT])
        return decode_state(plain, windows)

    async def _read(self, key: str, groups: Sequence[str]) -> Windows:
        async def read(client: Any) -> Any:
            return await client.hmget(key, list(groups))

        found = await self._link.within(LARGE_BUDGET_S, read)
        return await asyncio.to_thread(decode_windows, zip(groups, found, strict=True))

    async def aclose(self) -> None:
        """Release the lease if this process holds it; close the connection if owned."""
        try:
            keys = ("head", "workers")
            await self._link.script(scripts.RELEASE, keys, self._worker, budget_s=BUDGET_S)
        finally:
            await self._link.aclose()


def _packed(windows: Iterator[tuple[str, Mapping[str, bytes]]]) -> dict[str, str]:
    """Encode the next model groups of a state as fields; empty at its end.

    Slow, so it runs in a thread.
    """
    return {model_group: pack_windows(dumped) for model_group, dumped in itertools.islice(windows, GROUP_LIMIT)}

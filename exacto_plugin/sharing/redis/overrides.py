"""Overrides in Redis, shared by all processes of all replicas.

Their effect is defined in :mod:`exacto_plugin.core.routing.overrides`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.overrides import LONGEST_S, Override, override_of
from exacto_plugin.sharing.codec import pack, unpack
from exacto_plugin.sharing.protocol import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.sharing.redis.connection import RedisConnection

_BUDGET_S = 1.0
_KEY = "words"


class RedisOverrides:
    """Overrides of operators, in Redis.

    Args:
        link: the connection.
        clock: UTC seconds.
    """

    def __init__(self, link: RedisConnection, clock: Callable[[], float]) -> None:
        self._link = link
        self._clock = clock

    async def write(self, overrides: Sequence[Override]) -> None:
        """Write overrides; a newer one replaces the older one of the same deployment."""
        if not overrides:
            return
        fields = {f"{one.model_group}\0{one.deployment}": pack(one.as_plain()) for one in overrides}
        key = self._link.key(_KEY)

        async def write(client: Any) -> None:
            await client.hset(key, mapping=fields)
            await client.expire(key, int(LONGEST_S))

        await self._link.within(_BUDGET_S, write)

    async def read(self) -> Sequence[Override]:
        """Return the newest override of each deployment.

        Those that this version cannot read are left out.
        """
        key = self._link.key(_KEY)
        found = await self._link.within(_BUDGET_S, lambda client: client.hvals(key))
        overrides: list[Override] = []
        for text in found:
            try:
                overrides.append(override_of(unpack(text)))
            except (UnreadableError, ValueError, AttributeError):
                continue
        return [one for one in overrides if one.since + LONGEST_S > self._clock()]

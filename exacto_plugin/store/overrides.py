"""Overrides in the store, shared by all workers on one database.

They also survive a restart. Each override is a record as well, which stays after its expiry. Does not decide which
override is in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, insert, select

from exacto_plugin.core.routing.overrides import LONGEST_S, Override, override_of
from exacto_plugin.records import OverrideRecord
from exacto_plugin.store.rows import find
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.store.store import Store


class StoreOverrides:
    """Overrides of operators, in the store.

    Args:
        store: of this process.
        clock: UTC seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def write(self, overrides: Sequence[Override]) -> None:
        """Write the overrides that are not stored yet.

        Raises:
            StoreError: not possible now.
        """
        await self._store.work(lambda connection: _add(connection, overrides))

    async def read(self) -> Sequence[Override]:
        """Return the newest override of each deployment.

        Raises:
            StoreError: not possible now.
        """
        return await self._store.read(lambda connection: _newest(connection, self._clock() - LONGEST_S))


def _add(connection: Connection, overrides: Sequence[Override]) -> None:
    table = table_of(OverrideRecord)
    for override in overrides:
        same = and_(
            table.c.model_group == override.model_group,
            table.c.deployment == override.deployment,
            table.c.word == override.word.value,
            table.c.at == override.since,
        )
        if connection.execute(select(table.c.at).where(same).limit(1)).first() is None:
            plain = override.as_plain()
            at = plain.pop("since")
            connection.execute(insert(table).values({**plain, "at": at}))


def _newest(connection: Connection, since: float) -> list[Override]:
    rows = find(connection, OverrideRecord, table_of(OverrideRecord).c.at > since)
    newest: dict[tuple[str, str], Override] = {}
    for one in rows:
        newest[one.model_group, one.deployment] = override_of(
            {
                "model_group": one.model_group,
                "deployment": one.deployment,
                "word": one.word,
                "reason": one.reason,
                "author": one.author,
                "since": one.at,
                "expires": one.expires,
            }
        )
    return list(newest.values())

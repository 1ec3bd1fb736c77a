"""The states that alerts were sent about, in the store.

All processes on one database share them, and they survive a restart, so that one change of a state is told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from sqlalchemy import func, select

from exacto_plugin.records import TransitionRecord
from exacto_plugin.sharing.alert_states import AlertClaim
from exacto_plugin.store.rows import replace_document
from exacto_plugin.store.tables import documents, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.sharing.alert_states import AlertState

_PREFIX = "alert/"
_AT_ONCE = 500
"""Names in one query; SQLite takes 999 parameters at least."""


def claim(connection: Connection, states: Mapping[str, AlertState]) -> AlertClaim:
    """Write the states that differ from those kept and are newer.

    Args:
        connection: in a transaction.
        states: by name.
    """
    stored = dict(_stored(connection, [f"{_PREFIX}{name}" for name in states]))
    changed: dict[str, str | None] = {}
    outdated: set[str] = set()
    for name, (state, at, is_normal) in states.items():
        key = f"{_PREFIX}{name}"
        before = stored.get(key)
        kept, kept_at = (None, 0.0) if before is None else orjson.loads(before)
        if kept == state or (kept is None and is_normal):
            continue
        if kept_at > at:
            outdated.add(name)
        elif replace_document(connection, key, before, orjson.dumps([state, at]).decode()):
            changed[name] = kept
    return AlertClaim(changed, frozenset(outdated))


def _stored(connection: Connection, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    for first in range(0, len(keys), _AT_ONCE):
        some = documents.c.name.in_(keys[first : first + _AT_ONCE])
        for row in connection.execute(select(documents.c.name, documents.c.payload).where(some)):
            yield row.name, row.payload


def changes_of_tier(connection: Connection, since: float) -> dict[tuple[str, str], int]:
    """Count changes of tier since a time, by model group and deployment."""
    table = table_of(TransitionRecord)
    columns = (table.c.model_group, table.c.deployment)
    query = select(*columns, func.count()).where(table.c.at >= since).group_by(*columns)
    return {(group, deployment): count for group, deployment, count in connection.execute(query)}

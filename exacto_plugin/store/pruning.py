"""Pruning: expired records are deleted in small steps.

Small, so that other transactions do not wait. Retention times are given by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, tuple_

from exacto_plugin.store.tables import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Table

    from exacto_plugin.records import RecordKind
    from exacto_plugin.store.tables import TableOfKind

ROWS = 1000
"""Rows of one step: about 10 milliseconds."""

_PAGES = 256
"""Free pages that SQLite returns to the disk in one step; 1 MiB."""

_SOON_S, _LATER_S = 0.5, 600.0
_DAY_S = 86_400.0

_NAMED_S = _DAY_S
"""Seconds that a referenced record is kept beyond the records that reference it.

It is written again every hour while it is referenced, so its row is up to an hour older than theirs, and older still
where a record was lost."""


class Pruning:
    """A periodic job of the store's thread: one table a step, in turn.

    Args:
        days: gives the retention of a kind in days; called at each step, since settings change.
        clock: UTC seconds.
    """

    def __init__(self, days: Callable[[RecordKind], float], clock: Callable[[], float]) -> None:
        self._days = days
        self._clock = clock
        self._waiting: list[TableOfKind] = []

    def step(self, connection: Connection) -> float:
        """Delete some rows; return the seconds until the next step."""
        if not self._waiting:
            # From the last table on: referenced records are deleted after those that reference them.
            self._waiting = sorted(KEPT.values(), key=lambda kept: not kept.named_by)
        kept = self._waiting[-1]
        if prune(connection, kept.table, self._clock() - self._for_s(kept)) < ROWS:
            self._waiting.pop()
        if self._waiting:
            return _SOON_S
        return _SOON_S if connection.dialect.name == "sqlite" and _release_pages(connection) else _LATER_S

    def _for_s(self, kept: TableOfKind) -> float:
        """Return the seconds that records of a table are kept."""
        days = max(self._days(kind) for kind in (kept.kind, *kept.named_by))
        return days * _DAY_S + (_NAMED_S if kept.named_by else 0.0)


def _release_pages(connection: Connection) -> bool:
    """Return some free pages of SQLite's file to the disk; True if there are more."""
    free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
    for _ in range(min(free, _PAGES)):  # Python's driver runs the statement for one page, regardless of its argument
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
    return free > _PAGES


def prune(connection: Connection, table: Table, before: float) -> int:
    """Delete at most ``ROWS`` rows from before a time; return their number."""
    key = tuple_(*table.primary_key.columns)
    oldest = select(*table.primary_key.columns).where(table.c.at < before).order_by(table.c.at).limit(ROWS)
    return connection.execute(delete(table).where(key.in_(oldest))).rowcount

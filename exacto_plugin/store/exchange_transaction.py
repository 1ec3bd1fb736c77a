"""One transaction of an exchange in the store: clock, lease and single rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from exacto_plugin.sharing.protocol import LostLeaseError
from exacto_plugin.store import tables
from exacto_plugin.store.rows import upsert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Table

    from exacto_plugin.sharing.protocol import Lease

_LOCK = 7_236_711_904_234
"""The plugin's own number among PostgreSQL's advisory locks."""


class ExchangeTransaction:
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

    def upsert(self, table: Table, row: Mapping[str, Any]) -> None:
        """Insert a row, or replace the one with the same key."""
        self.run(upsert(table, row, self._connection.dialect.name).values(row))

    def lease(self) -> dict[str, str]:
        """Return the rows of ``head``: the leader, the lease, the result in force."""
        return {str(name): str(value) for name, value in self.run(select(tables.head.c.name, tables.head.c.value))}

    def set_lease(self, **values: float | str) -> None:
        """Change rows of ``head``."""
        for name, value in values.items():
            self.upsert(tables.head, {"name": name, "value": value if isinstance(value, str) else repr(value)})

    def leader(self, head: Mapping[str, str]) -> str:
        """Return the worker whose lease holds; empty without one."""
        return head.get("leader", "") if float(head.get("until", 0.0)) > self.now else ""

    def require_lease(self, lease: Lease) -> None:
        """Raise a ``LostLeaseError`` unless the lease is the newest."""
        if int(self.lease().get("token", 0)) != lease.token:
            raise LostLeaseError("another worker leads")

"""Conversion of records to rows. Opens and commits nothing."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert
from sqlalchemy.dialects import postgresql, sqlite

from exacto_plugin.core.wire import to_wire, wire_names
from exacto_plugin.store.tables import KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from exacto_plugin.records import Record


def insert_all(connection: Connection, records: Iterable[Record]) -> None:
    """Insert records, with one statement for each kind.

    In tables with a key a later record replaces the earlier one.
    """
    rows: dict[Any, dict[object, dict[str, Any]]] = {}
    for number, record in enumerate(records):
        kind: Any = type(record)
        key, row = KEPT[kind].key, to_wire(record)
        # One statement of PostgreSQL may not write a row twice.
        name = tuple(row[column] for column in key) if key else number
        of_kind = rows.setdefault(kind, {})
        of_kind.pop(name, None)
        of_kind[name] = row
    for kind, of_kind in rows.items():
        connection.execute(_statement(kind, connection.dialect.name), list(of_kind.values()))


@cache
def _statement(kind: Any, dialect: str) -> Any:
    kept = KEPT[kind]
    if not kept.key:
        return insert(kept.table)
    made = (postgresql if dialect == "postgresql" else sqlite).insert(kept.table)
    later = {column: made.excluded[column] for column in wire_names(kind).values() if column not in kept.key}
    return made.on_conflict_do_update(index_elements=list(kept.key), set_=later)

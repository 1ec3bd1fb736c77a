"""Records to rows and back: plain functions on a connection."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import and_, insert, inspect, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.core.wire import to_wire, wire_names
from exacto_plugin.errors import StoreError
from exacto_plugin.store.database import DownError, connect, problem_of
from exacto_plugin.store.tables import ADDED, KEPT, are_there, documents, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement, Connection, Table

    from exacto_plugin.records import Record
    from exacto_plugin.store.location import StoreLocation

R = TypeVar("R")


@contextmanager
def reading(location: StoreLocation) -> Iterator[Connection]:
    """Open a connection that only reads, in one transaction.

    For commands: it blocks.

    Raises:
        StoreError: there is no store, or it cannot be read; the message has its location and the remedy.
    """
    if location.file is not None and not location.file.exists():
        raise StoreError(
            f"there is no store at {location.name}: no proxy has started with it yet, or --store or store.url name"
            " another place"
        )
    try:
        with connect(location, writing=False) as connection, connection.begin():
            if not are_there(connection):
                raise StoreError("there are no records of exacto_plugin in it")
            yield connection
    except (SQLAlchemyError, StoreError, OSError) as error:
        if isinstance(error, SQLAlchemyError | OSError) or type(error) is not StoreError:
            raise DownError(problem_of(error, location)) from None
        raise


def find(
    connection: Connection,
    kind: type[R],
    *conditions: ColumnElement[bool],
    newest_first: bool = False,
    limit: int | None = None,
) -> list[R]:
    """Return the records of a kind that meet all conditions, in order of time.

    Args:
        connection: from ``reading`` or ``Store.read``.
        kind: class of the records.
        conditions: on the columns of ``tables.table_of(kind)``, which have the wire names.
        newest_first: in descending order.
        limit: most records returned.
    """
    table: Any = table_of(kind)
    order = table.c.at.desc() if newest_first else table.c.at
    columns = [*_columns(connection, kind)]
    query = select(*columns).where(*conditions).order_by(order).limit(limit)
    return [kind(*row) for row in connection.execute(query)]


def _columns(connection: Connection, kind: type[Any]) -> Iterator[ColumnElement[Any]]:
    """Yield the columns of a kind.

    NULL for one that the tables of an earlier version lack.
    """
    table: Any = table_of(kind)
    added = ADDED.get(kind, frozenset())
    held = {one["name"] for one in inspect(connection).get_columns(table.name)} if added else set()
    for name in wire_names(kind).values():
        yield null().label(name) if name in added - held else table.c[name]


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
    return upsert(kept.table, wire_names(kind).values(), dialect)


def upsert(table: Table, columns: Iterable[str], dialect: str) -> Any:
    """Return a statement that inserts a row or replaces the one with its key.

    Args:
        table: with a primary key.
        columns: those that are replaced, the key's own left out.
        dialect: ``postgresql`` or ``sqlite``.
    """
    made = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    key = [column.name for column in table.primary_key.columns]
    later = {name: made.excluded[name] for name in columns if name not in key}
    return made.on_conflict_do_update(index_elements=key, set_=later)


def replace_document(connection: Connection, name: str, before: str | None, payload: str) -> bool:
    """Write a document and return True, unless another process has changed it since.

    Args:
        connection: in a transaction.
        name: of the document.
        before: its payload when it was read; None where there was none.
        payload: the new one.
    """
    if before is None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        made = dialect.insert(documents).values(name=name, payload=payload).on_conflict_do_nothing()
        # Of an insert SQLAlchemy keeps the number of rows only where it is told to.
        return connection.execute(made, execution_options={"preserve_rowcount": True}).rowcount == 1
    same = and_(documents.c.name == name, documents.c.payload == before)
    return connection.execute(update(documents).where(same).values(payload=payload)).rowcount == 1

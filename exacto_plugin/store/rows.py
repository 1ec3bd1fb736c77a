"""Queries for records: plain functions on a connection.

Used by the proxy's API, and by commands without a proxy. Writes nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.core.wire import wire_names
from exacto_plugin.errors import StoreError
from exacto_plugin.store.database import DownError, connect, problem_of
from exacto_plugin.store.tables import are_there, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection

    from exacto_plugin.store.location import StoreLocation

R = TypeVar("R")


@contextmanager
def reading(place: StoreLocation) -> Iterator[Connection]:
    """Open a connection that only reads, in one transaction.

    For commands: it blocks.

    Raises:
        StoreError: there is no store, or it cannot be read; the message has its location and the remedy.
    """
    if place.file is not None and not place.file.exists():
        raise StoreError(f"there is no store at {place.name}; check --store or store.url")
    try:
        with connect(place, writing=False) as connection, connection.begin():
            if not are_there(connection):
                raise StoreError("there are no records of exacto_plugin in it")
            yield connection
    except (SQLAlchemyError, StoreError, OSError) as error:
        if isinstance(error, SQLAlchemyError | OSError) or type(error) is not StoreError:
            raise DownError(problem_of(error, place)) from None
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
    columns = [table.c[name] for name in wire_names(kind).values()]
    query = select(*columns).where(*conditions).order_by(order).limit(limit)
    return [kind(*row) for row in connection.execute(query)]

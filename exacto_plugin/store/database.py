"""Connections to the database, with time limits, and a remedy for each fault.

Does not depend on the data that is written, nor on the thread.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError
from sqlalchemy.pool import NullPool

from exacto_plugin.errors import StoreError
from exacto_plugin.store.tables import NewerSchemaError, check_version, migrate

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from exacto_plugin.store.location import StoreLocation

logger = logging.getLogger("exacto_plugin")

_BUSY_MS = 5_000
"""Milliseconds that SQLite waits for another process that is writing."""

_BUSY_PAUSE_S = 0.02
"""Seconds between two attempts where SQLite itself does not wait."""

_MEMORY_PAGES = 65_536
"""In pages of 4 KiB: a store in memory ends at 256 MiB."""

_POSTGRESQL: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "exacto_plugin",
    "options": "-c statement_timeout=20s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Options of libpq: a server that is gone is noticed within half a minute."""


class Fault(StrEnum):
    """The kinds of fault of a store; the values of ``error.type``."""

    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    CORRUPT = "corrupt"
    NEWER_SCHEMA = "newer_schema"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    OTHER = "_OTHER"


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault, described for people, with its remedy."""

    fault: Fault
    message: str
    """Includes the name of the location."""
    remedy: str


class DownError(StoreError):
    """The store cannot be used now."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.message}; {problem.remedy}")
        self.problem = problem


def connect(location: StoreLocation, *, writing: bool) -> Connection:
    """Open a connection.

    A writing connection creates the tables or migrates them to this version; a reading one checks their version only.

    Raises:
        SQLAlchemyError, NewerSchemaError, OSError: it cannot be opened; ``problem_of`` gives the remedy.
    """
    engine = _engine(location, writing=writing)
    connection = engine.connect()
    try:
        with connection.begin():
            (migrate if writing else check_version)(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _engine(location: StoreLocation, *, writing: bool) -> Engine:
    if not location.is_sqlite:
        isolation = "READ COMMITTED"
        return create_engine(location.url, poolclass=NullPool, connect_args=_POSTGRESQL, isolation_level=isolation)
    if location.file is not None and not location.file.parent.exists():
        location.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        logger.warning("exacto_plugin's store: a new file is begun at %s, whose directory was not there", location.name)
    engine = create_engine(location.url, poolclass=NullPool, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # transactions begin with the "begin" event below
        raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        if not location.is_persistent:
            raw.execute(f"PRAGMA max_page_count={_MEMORY_PAGES}")
            raw.execute("PRAGMA read_uncommitted=1")
        elif writing:
            # Must come before the first table (later it needs a VACUUM); with it the file can shrink again.
            raw.execute("PRAGMA auto_vacuum=INCREMENTAL")
            _use_wal(raw)
            # A power cut loses the last few seconds; the file stays intact.
            raw.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE for writing: after a read, a write fails if another process has written in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _use_wal(raw: sqlite3.Connection) -> None:
    """Keep the journal of the file in WAL mode.

    While another process creates the file, SQLite refuses this at once instead of waiting for ``busy_timeout``: its
    busy handler is not called when a read lock becomes a write lock (https://sqlite.org/c3ref/busy_handler.html).
    """
    ends_at = time.monotonic() + _BUSY_MS / 1e3
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                raise
            time.sleep(_BUSY_PAUSE_S)
        else:
            return


_SQLITE = {
    sqlite3.SQLITE_FULL: Fault.DISK_FULL,
    sqlite3.SQLITE_IOERR: Fault.DISK_FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_PERM: Fault.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: Fault.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Fault.CORRUPT,
    sqlite3.SQLITE_NOTADB: Fault.CORRUPT,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
}

_SQLSTATES = {"53100": Fault.DISK_FULL, "25006": Fault.READ_ONLY, "XX001": Fault.CORRUPT, "XX002": Fault.CORRUPT}

_MESSAGES = {
    Fault.DISK_FULL: (
        "no room to write to {place}",
        "free space on its disk (or lower store.retention_days); a running proxy then writes again by itself",
    ),
    Fault.READ_ONLY: (
        "{place} is not writable",
        "give the user of this process write permission for the file and its directory, or set store.url to another"
        " location; a running proxy then writes again by itself",
    ),
    Fault.CORRUPT: (
        "{place} is damaged",
        "move it away (with its -wal and -shm); a new one is created automatically, without a restart",
    ),
    Fault.NEWER_SCHEMA: (
        "{place} was written by a newer version of exacto_plugin",
        "upgrade this version, or set store.url to another location",
    ),
    Fault.BUSY: (
        "{place} is locked by another process",
        "end the process that holds the lock; a running proxy then writes again by itself",
    ),
    Fault.UNAVAILABLE: (
        "{place} does not answer",
        "check the database server (or the disk of a file), and the address and password of store.url or --store;"
        " a running proxy then writes again by itself",
    ),
    Fault.OTHER: ("{place} cannot be used ({error})", "see docs/store.md"),
}


def problem_of(error: BaseException, location: StoreLocation) -> Problem:
    """Describe an error with its remedy.

    The database's own message is never quoted, because it may contain a row.
    """
    fault = _fault_of(error, location)
    message, remedy = _MESSAGES[fault]
    return Problem(fault, message.format(place=location.name, error=type(error).__name__), remedy)


def _fault_of(error: BaseException, location: StoreLocation) -> Fault:
    if isinstance(error, DownError):
        return error.problem.fault
    if isinstance(error, NewerSchemaError):
        return Fault.NEWER_SCHEMA
    if isinstance(error, OSError):
        return Fault.UNAVAILABLE if isinstance(error, TimeoutError) else Fault.READ_ONLY
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return _SQLITE.get(code & 0xFF, Fault.OTHER) if isinstance(code, int) else Fault.OTHER
    state = getattr(cause, "sqlstate", None)
    if state in _SQLSTATES:
        return _SQLSTATES[state]
    return Fault.UNAVAILABLE if isinstance(error, OperationalError | InterfaceError) else Fault.OTHER


def is_of_the_data(error: BaseException) -> bool:
    """Return True when the database refuses these data, not every write."""
    if isinstance(error, DataError | IntegrityError):
        return True
    # Raised while a value was converted to the type of its column.
    return isinstance(error, StatementError) and not isinstance(error, DBAPIError)

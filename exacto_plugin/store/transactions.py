"""Transactions on one connection of one thread, which reconnects after faults.

The caller decides when to try again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.errors import StoreError
from exacto_plugin.store.database import DownError, connect, is_of_the_data, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from exacto_plugin.store.location import StoreLocation

R = TypeVar("R")


class RefusedError(StoreError):
    """The database works, and refuses these data."""


class TransactionRunner:
    """A runner of transactions, one after the other.

    Args:
        location: the database's location.
        writing: False for read-only transactions.
    """

    def __init__(self, location: StoreLocation, *, writing: bool) -> None:
        self._location = location
        self._open_for_writing = writing
        self._connection: Connection | None = None
        self._of: object = None
        self._pid = 0

    @property
    def is_open(self) -> bool:
        """True if the last transaction succeeded."""
        return self._connection is not None

    def run(self, job: Callable[[Connection], R]) -> R:
        """Run ``job`` in one transaction and return its result.

        Raises:
            RefusedError: the database does not accept these data.
            DownError: it cannot be used; with the fault and its remedy.
        """
        try:
            connection = self._current()
            with connection.begin():
                return job(connection)
        except (SQLAlchemyError, StoreError, OSError) as error:
            if is_of_the_data(error):
                raise RefusedError("the database refused the data") from None
            self.close()
            raise DownError(problem_of(error, self._location)) from None

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError):
                connection.invalidate()
            with suppress(SQLAlchemyError, OSError):
                connection.close()

    def _current(self) -> Connection:
        identity = self._identity()
        if self._connection is not None and self._of != identity:
            if self._of is not None and os.getpid() == self._pid:
                self.close()
            self._connection = None  # a connection of the parent process must not be closed here
        if self._connection is None:
            self._connection = connect(self._location, writing=self._open_for_writing)
            self._pid = os.getpid()
            self._of = self._identity()
        return self._connection

    def _identity(self) -> object:
        """Return a value that changes with the file (when moved away) or the process."""
        if self._location.file is None:
            return os.getpid()
        try:
            status = self._location.file.stat()
        except OSError:
            return os.getpid(), None
        return os.getpid(), status.st_dev, status.st_ino

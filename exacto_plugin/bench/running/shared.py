"""State that machines with one store share: leases, and the cost of a month.

Both are rows of ``documents``, changed only where they are still as they were read.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.store.database import connect
from exacto_plugin.store.rows import replace_document
from exacto_plugin.store.tables import documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from exacto_plugin.store.location import StoreLocation

LEASE_S = 120.0
"""Seconds after which the lease of a run that no longer renews it ends."""

_LEASE, _SPENT = "bench/lease/", "bench/spent/"
_ATTEMPTS = 20

_AGAIN_S = 1.0
"""Seconds between two attempts to take a lease."""


class BenchmarkState:
    """Leases and costs in a store.

    Args:
        location: of the store.
    """

    def __init__(self, location: StoreLocation) -> None:
        self._location = location
        self._own = secrets.token_hex(8)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with connect(self._location, writing=True) as connection, connection.begin():
            yield connection

    def lease(self, model: str, benchmark: str) -> bool:
        """Take or renew the lease of a run; False while another process has it."""
        key = f"{_LEASE}{benchmark}/{model}"
        with self._writing() as connection:
            now, before = _now(connection), _stored(connection, key)
            owner, ends = orjson.loads(before) if before is not None else ("", 0.0)
            if owner != self._own and ends > now:
                return False
            return replace_document(connection, key, before, orjson.dumps([self._own, now + LEASE_S]).decode())

    def release(self, model: str, benchmark: str) -> None:
        """Give a lease back."""
        key = f"{_LEASE}{benchmark}/{model}"
        with self._writing() as connection:
            before = _stored(connection, key)
            if before is not None and orjson.loads(before)[0] == self._own:
                connection.execute(delete(documents).where(documents.c.name == key))

    @contextmanager
    def held(self, model: str, benchmark: str, patience_s: float) -> Iterator[bool]:
        """Hold the lease of a run; yield False while another process has it.

        A thread renews it.

        Args:
            model: the deployment's key.
            benchmark: its name.
            patience_s: seconds to wait for the end of another process's lease.
        """
        until = time.monotonic() + patience_s
        while not (own := self.lease(model, benchmark)) and time.monotonic() < until:
            time.sleep(_AGAIN_S)
        if not own:
            yield False
            return
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(LEASE_S / 4):
                with suppress(SQLAlchemyError, OSError):  # the next time
                    self.lease(model, benchmark)

        thread = threading.Thread(target=renew, name="exacto-bench-lease", daemon=True)
        thread.start()
        try:
            yield True
        finally:
            ended.set()
            thread.join()
            self.release(model, benchmark)

    def spent(self) -> float:
        """Return what this month has cost, in USD."""
        with self._writing() as connection:
            stored = _stored(connection, _month(connection))
        return 0.0 if stored is None else float(orjson.loads(stored))

    def spend(self, usd: float) -> None:
        """Add to what this month has cost."""
        if usd <= 0:
            return
        for _ in range(_ATTEMPTS):
            with self._writing() as connection:
                key = _month(connection)
                before = _stored(connection, key)
                total = usd + (0.0 if before is None else float(orjson.loads(before)))
                if replace_document(connection, key, before, orjson.dumps(total).decode()):
                    return


def _now(connection: Connection) -> float:
    """Return UTC seconds by the database server's clock, or by this machine's."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
    return time.time()


def _month(connection: Connection) -> str:
    return _SPENT + time.strftime("%Y-%m", time.gmtime(_now(connection)))


def _stored(connection: Connection, key: str) -> str | None:
    found = connection.execute(select(documents.c.payload).where(documents.c.name == key)).scalar_one_or_none()
    return None if found is None else str(found)

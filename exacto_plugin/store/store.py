"""The store of one process: a queue for records, and a thread that writes them.

Records are accepted from any thread and written in batches. Nothing here blocks an event loop, and a write raises
nothing: when the queue is full, records are dropped and counted; when the database is down, the thread tries again;
``health`` has the fault and its remedy. Does not depend on the records' meaning.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from exacto_plugin.at_exit import at_exit
from exacto_plugin.errors import StoreError
from exacto_plugin.store.database import DownError, Fault, Problem, problem_of
from exacto_plugin.store.rows import insert_all
from exacto_plugin.store.tables import KEPT
from exacto_plugin.store.transactions import RefusedError, TransactionRunner
from exacto_plugin.store.worker import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sqlalchemy import Connection

    from exacto_plugin.records import Record, RecordKind
    from exacto_plugin.store.location import StoreLocation

R = TypeVar("R")

logger = logging.getLogger("exacto_plugin")

CAPACITY = 20_000
"""Most records that wait, about 20 MB; further ones are dropped and counted."""

BATCH = 500
"""Records of one transaction: about 10 ms, so that other processes can write."""

EVERY_S = 1.0
"""Most seconds that a record waits while the database works."""

ASK_S = 5.0
"""Time limit of a query in seconds; then it fails."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 5.0
"""Seconds between two attempts while the database is down."""

_CLOSE_S = 5.0
_IDLE_S = 60.0
_READER_S = 0.5


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a store."""

    state: str
    """``ok``, ``memory``, ``degraded`` or ``off``.

    ``memory``: kept until the process ends; ``degraded``: nothing is written now."""
    place: str
    message: str = ""
    remedy: str = ""
    waiting: int = 0
    """Records that are not written yet."""
    written: int = 0
    """Records since the start, as is ``dropped``."""
    dropped: int = 0


class Store:
    """The store of records; all methods are thread-safe.

    Args:
        location: None stores nothing.
        count: called with the number of records of a kind that were written or, with an ``error.type``, dropped; never
            raises.
        report: called with unexpected errors of the threads; never raises.
    """

    def __init__(
        self,
        location: StoreLocation | None,
        count: Callable[[RecordKind, int, str | None], None] = lambda _kind, _number, _error: None,
        report: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        self.location = location
        self._count = count
        self._lock = threading.Lock()
        self._queue: deque[Record] = deque()
        self._refused: Counter[RecordKind] = Counter()
        self._written = self._dropped = 0
        self._problem: Problem | None = None
        self._try_at = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._periodic_jobs: dict[Callable[[Connection], float], float] = {}
        if location is not None:
            self._writing, self._reading = (
                TransactionRunner(location, writing=True),
                TransactionRunner(location, writing=False),
            )
            self._writer = WorkerThread("exacto-store", self._run_job, self._on_idle, self._writing.close, report)
            self._reader = WorkerThread(
                "exacto-store-reader", self._run_query, lambda: _IDLE_S, self._reading.close, report
            )
            at_exit(self.close)

    # --- from any thread ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the thread, so that a fault is reported at the start of the process."""
        if self.location is not None:
            self._writer.wake()

    def write(self, record: Record) -> None:
        """Queue a record."""
        if self.location is None:
            return
        if len(self._queue) >= CAPACITY:
            with self._lock:
                self._refused[KEPT[type(record)].kind] += 1
            return
        self._queue.append(record)
        self._writer.ensure_started()

    @property
    def health(self) -> Health:
        """Return the present state."""
        if self.location is None:
            return Health("off", "nowhere")
        problem = self._problem
        state = "degraded" if problem is not None else "ok" if self.location.is_persistent else "memory"
        message, remedy = (problem.message, problem.remedy) if problem is not None else ("", "")
        dropped = self._dropped + self._refused.total()
        return Health(state, self.location.name, message, remedy, len(self._queue), self._written, dropped)

    def add_periodic_job(self, work: Callable[[Connection], float]) -> None:
        """Add a job that the writing thread runs periodically, in its own transaction.

        Args:
            work: returns the seconds until its next run; short, so that records do not wait.
        """
        self._periodic_jobs = {**self._periodic_jobs, work: 0.0}

    async def work(self, job: Callable[[Connection], R], bound_s: float = ASK_S) -> R:
        """Run ``job`` in a transaction of the writing thread, before waiting records.

        Raises:
            StoreError: not possible now; after a timeout it is not known if the job was done.
        """
        return await self._request(lambda: self._writer, job, bound_s)

    async def read(self, query: Callable[[Connection], R], bound_s: float = ASK_S) -> R:
        """Run ``query`` on a read-only connection.

        Records of the last second may be missing.

        Raises:
            StoreError: not possible now, or nothing was written yet.
        """
        return await self._request(lambda: self._reader, query, bound_s)

    async def _request(self, thread: Callable[[], WorkerThread], job: Callable[[Connection], R], bound_s: float) -> R:
        if self.location is None:
            raise StoreError("there is no store: set store.url")
        try:
            return await thread().request(job, bound_s)
        except TimeoutError as error:
            raise DownError(problem_of(error, self.location)) from None

    def flush(self, bound_s: float = _CLOSE_S) -> bool:
        """Wait until all records written so far are in the database; False on timeout."""
        ends = time.monotonic() + bound_s
        while self._queue and time.monotonic() < ends:
            self._writer.wake()
            time.sleep(0.01)
        return not self._queue

    def close(self, bound_s: float = _CLOSE_S) -> None:
        """Write the waiting records and end; may be called again."""
        if self.location is not None:
            self._writer.close(bound_s)
            self._reader.close(min(bound_s, _READER_S))

    # --- in the thread that writes -----------------------------------------------------------------------------------

    def _run_job(self, job: Callable[[Connection], Any]) -> Any:
        if self._problem is not None and time.monotonic() < self._try_at:
            raise DownError(self._problem)
        return self._guarded(job)

    def _on_idle(self) -> float:
        """Write waiting records, run due jobs; return the seconds until the next call."""
        self._report_refused()
        now = time.monotonic()
        if self._problem is not None and now < self._try_at:
            return self._try_at - now
        try:
            if not self._writing.is_open:
                self._guarded(lambda _: None)
            if self._queue:
                self._write_batch()
            # One batch at a time: a waiting job comes before the next batch.
            return 0.0 if self._queue else self._run_periodic_jobs()
        except DownError:
            return max(0.0, self._try_at - time.monotonic())

    def _write_batch(self) -> None:
        batch = [self._queue[place] for place in range(min(BATCH, len(self._queue)))]
        refused: list[Record] = []
        try:
            self._guarded(lambda connection: insert_all(connection, batch))
        except RefusedError:
            refused = [record for record in batch if not self._enqueue(record)]
        for _ in batch:
            self._queue.popleft()
        self._written += len(batch) - len(refused)
        self._dropped += len(refused)
        lost = _by_kind(refused)
        for kind, number in (_by_kind(batch) - lost).items():
            self._count(kind, number, None)
        for kind, number in lost.items():
            self._count(kind, number, Fault.OTHER.value)

    def _enqueue(self, record: Record) -> bool:
        try:
            self._guarded(lambda connection: insert_all(connection, [record]))
        except RefusedError:
            return False
        return True

    def _report_refused(self) -> None:
        with self._lock:
            refused, self._refused = self._refused, Counter()
            self._dropped += refused.total()
        for kind, number in refused.items():
            self._count(kind, number, "queue_full" if self._problem is None else self._problem.fault.value)

    def _run_periodic_jobs(self) -> float:
        for work, due_at in tuple(self._periodic_jobs.items()):
            if due_at <= time.monotonic():
                self._periodic_jobs[work] = time.monotonic() + _IDLE_S  # also when it fails
                self._periodic_jobs[work] = time.monotonic() + self._guarded(work)
        return EVERY_S

    def _guarded(self, job: Callable[[Connection], R]) -> R:
        try:
            result = self._writing.run(job)
        except DownError as error:
            self._mark_down(error.problem)
            raise
        self._mark_up()
        return result

    def _mark_down(self, problem: Problem) -> None:
        before, self._problem = self._problem, problem
        self._pause_s = _FIRST_PAUSE_S if before is None else min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._try_at = time.monotonic() + self._pause_s
        if before is None or before.fault is not problem.fault:
            logger.warning("exacto_plugin's store: %s; %s", problem.message, problem.remedy)

    def _mark_up(self) -> None:
        if self._problem is not None:
            self._problem = None
            name = self.location.name if self.location is not None else ""
            logger.warning("exacto_plugin's store: %s is writable again; %d records were lost", name, self._dropped)

    # --- in the thread that reads ------------------------------------------------------------------------------------

    def _run_query(self, query: Callable[[Connection], Any]) -> Any:
        try:
            return self._reading.run(query)
        except DownError:
            file = self.location.file if self.location is not None else None
            if file is not None and _is_empty(file):
                raise StoreError(f"nothing is on record yet: {file} has not been written") from None
            raise


def _is_empty(file: Path) -> bool:
    """Return True for a file without content, or none; False where that is unknown."""
    try:
        return file.stat().st_size == 0
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _by_kind(records: Iterable[Record]) -> Counter[RecordKind]:
    return Counter(KEPT[type(record)].kind for record in records)

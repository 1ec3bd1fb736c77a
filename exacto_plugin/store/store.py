"""The store of one process: records go in from anywhere at once, and a thread of its own writes them down in batches.

Nothing here waits on an event loop or raises at whoever writes: a full queue drops and counts, a database that is down
is tried again and again, and the health says what is wrong and what helps. Must not know what records mean.
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
from exacto_plugin.store.row_values import insert_all
from exacto_plugin.store.tables import KEPT
from exacto_plugin.store.transactions import RefusedError, TransactionRunner
from exacto_plugin.store.worker import WorkerThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from exacto_plugin.record_kinds import RecordKind
    from exacto_plugin.records import Record
    from exacto_plugin.store.location import StoreLocation

R = TypeVar("R")

logger = logging.getLogger("exacto_plugin")

CAPACITY = 20_000
"""Records that wait to be written at most, about 20 MB; more are dropped and counted."""

BATCH = 500
"""Records of one transaction: some 10 milliseconds, so that other processes get their turn."""

EVERY_S = 1.0
"""Seconds that a record waits at most while all is well."""

ASK_S = 5.0
"""Seconds that a question may take before whoever asked is told that there is no answer."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 5.0
"""Between two tries while the database is down."""

_CLOSE_S = 5.0
_IDLE_S = 60.0
_READER_S = 0.5


@dataclass(frozen=True, slots=True)
class Health:
    """How a store does."""

    state: str
    """``ok``; ``memory``: kept until the process ends; ``degraded``: nothing is written now; ``off``."""
    place: str
    message: str = ""
    remedy: str = ""
    waiting: int = 0
    """Records that are not written yet."""
    written: int = 0
    """Records since the start, as is ``dropped``."""
    dropped: int = 0


class Store:
    """Keeps records; all methods may be called from any thread.

    Args:
        place: where; None keeps nothing.
        count: told how many records of a kind were written or, with an ``error.type``, dropped; never raises.
        report: told of faults of ours in the threads; never raises.
    """

    def __init__(
        self,
        place: StoreLocation | None,
        count: Callable[[RecordKind, int, str | None], None] = lambda _kind, _number, _error: None,
        report: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        self.location = place
        self._count = count
        self._lock = threading.Lock()
        self._queue: deque[Record] = deque()
        self._refused: Counter[RecordKind] = Counter()
        self._written = self._dropped = 0
        self._problem: Problem | None = None
        self._try_at = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._periodic_jobs: dict[Callable[[Connection], float], float] = {}
        if place is not None:
            self._writing, self._reading = (
                TransactionRunner(place, writing=True),
                TransactionRunner(place, writing=False),
            )
            self._writer = WorkerThread("exacto-store", self._run_job, self._on_idle, self._writing.close, report)
            self._reader = WorkerThread(
                "exacto-store-reader", self._run_query, lambda: _IDLE_S, self._reading.close, report
            )
            at_exit(self.close)

    # --- from any thread ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin in the background, so that what is wrong is said at the start and not with the first record."""
        if self.location is not None:
            self._writer.wake()

    def write(self, record: Record) -> None:
        """Keep a record."""
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
        """How it does now."""
        if self.location is None:
            return Health("off", "nowhere")
        problem = self._problem
        state = "degraded" if problem is not None else "ok" if self.location.is_persistent else "memory"
        message, remedy = (problem.message, problem.remedy) if problem is not None else ("", "")
        dropped = self._dropped + self._refused.total()
        return Health(state, self.location.name, message, remedy, len(self._queue), self._written, dropped)

    def add_periodic_job(self, work: Callable[[Connection], float]) -> None:
        """Have something done in a transaction of its own now and then, by the thread that writes.

        Args:
            work: gives the seconds until it wants to be called again; short, so that records are not kept waiting.
        """
        self._periodic_jobs = {**self._periodic_jobs, work: 0.0}

    async def work(self, job: Callable[[Connection], R], bound_s: float = ASK_S) -> R:
        """What ``job`` returns, in a transaction of the thread that writes, before records that wait.

        Raises:
            StoreError: not now; whether it was done is not known when it took too long.
        """
        return await self._request(lambda: self._writer, job, bound_s)

    async def read(self, query: Callable[[Connection], R], bound_s: float = ASK_S) -> R:
        """What ``query`` finds, on a connection that only reads; records of the last second may be missing.

        Raises:
            StoreError: not now.
        """
        return await self._request(lambda: self._reader, query, bound_s)

    async def _request(self, desk: Callable[[], WorkerThread], job: Callable[[Connection], R], bound_s: float) -> R:
        if self.location is None:
            raise StoreError("there is no store: set store.url")
        try:
            return await desk().request(job, bound_s)
        except TimeoutError as error:
            raise DownError(problem_of(error, self.location)) from None

    def flush(self, bound_s: float = _CLOSE_S) -> bool:
        """Wait until everything that was written so far is in the database; False when that took too long."""
        ends = time.monotonic() + bound_s
        while self._queue and time.monotonic() < ends:
            self._writer.wake()
            time.sleep(0.01)
        return not self._queue

    def close(self, bound_s: float = _CLOSE_S) -> None:
        """Write what waits and end; more than once does no harm."""
        if self.location is not None:
            self._writer.close(bound_s)
            self._reader.close(min(bound_s, _READER_S))

    # --- in the thread that writes -----------------------------------------------------------------------------------

    def _run_job(self, job: Callable[[Connection], Any]) -> Any:
        if self._problem is not None and time.monotonic() < self._try_at:
            raise DownError(self._problem)
        return self._guarded(job)

    def _on_idle(self) -> float:
        """Write what waits, then do what is due; gives the seconds until the next time."""
        self._report_refused()
        now = time.monotonic()
        if self._problem is not None and now < self._try_at:
            return self._try_at - now
        try:
            if not self._writing.is_open:
                self._guarded(lambda _: None)
            if self._queue:
                self._write_batch()
            # Not all at once: whoever asks comes before the next batch.
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
                self._periodic_jobs[work] = time.monotonic() + _IDLE_S  # also where it fails
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
            place = self.location.name if self.location is not None else ""
            logger.warning("exacto_plugin's store: %s is written to again; %d records were lost", place, self._dropped)

    # --- in the thread that reads ------------------------------------------------------------------------------------

    def _run_query(self, query: Callable[[Connection], Any]) -> Any:
        return self._reading.run(query)


def _by_kind(records: Iterable[Record]) -> Counter[RecordKind]:
    return Counter(KEPT[type(record)].kind for record in records)

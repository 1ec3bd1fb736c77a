"""A worker thread: one daemon thread that runs submitted jobs in order.

A thread cannot be stopped in the middle of a call: when a database does not answer, the thread waits on, and all
further requests time out at once. Does not depend on the jobs' content.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

_WAITING = 200
"""Most jobs that wait."""

_AFTER_FAULT_S = 5.0


class WorkerThread:
    """One thread, started when first needed, also in a forked process.

    Args:
        name: of the thread.
        run_job: runs one job.
        on_idle: called when no job waits, and after each wake-up; returns the seconds until its next call, 0 while
            there is more to do.
        on_stop: called in the thread after ``close``, when all jobs are done.
        report: called with each error of ``on_idle``.
    """

    def __init__(
        self,
        name: str,
        run_job: Callable[[Callable[..., Any]], Any],
        on_idle: Callable[[], float],
        on_stop: Callable[[], None],
        report: Callable[[Exception], None],
    ) -> None:
        self._name = name
        self._run_job = run_job
        self._on_idle = on_idle
        self._on_stop = on_stop
        self._report = report
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[..., Any], Future[Any]]] = deque()
        self._begun_at: float | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._ends = False

    def ensure_started(self) -> None:
        """Start the thread unless it runs; cheap."""
        if self._thread is not None and self._thread.is_alive() and self._pid == os.getpid():
            return
        with self._lock:
            if self._ends or (self._thread is not None and self._thread.is_alive() and self._pid == os.getpid()):
                return
            self._pid, self._begun_at = os.getpid(), None
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Have ``on_idle`` called soon."""
        self.ensure_started()
        self._wake.set()

    def submit(self, work: Callable[..., R]) -> Future[R]:
        """Queue a job; the future fails when the queue is full or closed.

        Its error is a ``TimeoutError``.
        """
        done: Future[R] = Future()
        if self._ends or len(self._waiting) >= _WAITING:
            done.set_exception(TimeoutError("the queue is full or closed"))
            return done
        self._waiting.append((work, done))
        self.wake()
        return done

    async def request(self, work: Callable[..., R], bound_s: float) -> R:
        """Queue a job and wait for its result.

        Raises:
            TimeoutError: it took longer than ``bound_s``, or the running job already does; it may still be done.
        """
        begun_at = self._begun_at
        if begun_at is not None and time.monotonic() - begun_at > bound_s:
            raise TimeoutError("does not answer")
        return await asyncio.wait_for(asyncio.wrap_future(self.submit(work)), bound_s)

    def close(self, bound_s: float) -> bool:
        """Run the waiting jobs and end; False when that takes longer than ``bound_s``.

        The thread then continues by itself.
        """
        thread = self._thread
        self._ends = True
        self._wake.set()
        if thread is None or self._pid != os.getpid() or thread is threading.current_thread():
            return True
        thread.join(bound_s)
        return not thread.is_alive()

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            self._wake.wait(pause_s)
            self._wake.clear()
            ends = self._ends
            while self._waiting:
                self._run_one(*self._waiting.popleft())
            pause_s = self._run_idle()
            if ends and not self._waiting and pause_s > 0.0:
                self._on_stop()
                return

    def _run_idle(self) -> float:
        try:
            return self._timed(self._on_idle)
        except Exception as error:  # the thread must survive any error
            self._report(error)
            return _AFTER_FAULT_S

    def _run_one(self, work: Callable[..., Any], done: Future[Any]) -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            result = self._timed(lambda: self._run_job(work))
        except Exception as error:  # passed to the waiting caller
            with suppress(InvalidStateError):
                done.set_exception(error)
        else:
            with suppress(InvalidStateError):
                done.set_result(result)

    def _timed(self, work: Callable[[], R]) -> R:
        self._begun_at = time.monotonic()
        try:
            return work()
        finally:
            self._begun_at = None

"""A desk: one daemon thread that works on what is handed in, in order, and an answer to whoever waits for it.

A thread cannot be stopped in the middle of a call: when a database does not answer, the thread waits on, and everybody
else is told so at once. Must not know what the work is.
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
"""Pieces of work that wait at most."""

_AFTER_FAULT_S = 5.0


class WorkerThread:
    """One thread, begun when it is first needed, also in a process that was forked.

    Args:
        name: of the thread.
        work_off: does one piece of work.
        between: called when nothing waits, and after each waking; gives the seconds until it is called again,
            0 while there is more to do.
        leave: called in the thread when the desk was closed and all is done.
        report: told what ``between`` raised.
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
        """Begin the thread unless it runs; a cheap question."""
        if self._thread is not None and self._thread.is_alive() and self._pid == os.getpid():
            return
        with self._lock:
            if self._ends or (self._thread is not None and self._thread.is_alive() and self._pid == os.getpid()):
                return
            self._pid, self._begun_at = os.getpid(), None
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Have ``between`` called soon."""
        self.ensure_started()
        self._wake.set()

    def submit(self, work: Callable[..., R]) -> Future[R]:
        """Have a piece of work done; a ``TimeoutError`` at once when the queue is full or the desk was closed."""
        done: Future[R] = Future()
        if self._ends or len(self._waiting) >= _WAITING:
            done.set_exception(TimeoutError("too much waits"))
            return done
        self._waiting.append((work, done))
        self.wake()
        return done

    async def request(self, work: Callable[..., R], bound_s: float) -> R:
        """What a piece of work returns.

        Raises:
            TimeoutError: it took longer than ``bound_s``, or what is being done already does; it may still be done.
        """
        begun_at = self._begun_at
        if begun_at is not None and time.monotonic() - begun_at > bound_s:
            raise TimeoutError("does not answer")
        return await asyncio.wait_for(asyncio.wrap_future(self.submit(work)), bound_s)

    def close(self, bound_s: float) -> bool:
        """Do what waits and end; False when that took longer than ``bound_s``, and the thread goes on by itself."""
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
        except Exception as error:  # the thread must outlive whatever happens in it
            self._report(error)
            return _AFTER_FAULT_S

    def _run_one(self, work: Callable[..., Any], done: Future[Any]) -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            result = self._timed(lambda: self._run_job(work))
        except Exception as error:  # whoever waits is told
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

"""Background work: periodic jobs, a loop in its own thread, calls in a thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from exacto_plugin.at_exit import at_exit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextvars import Context

R = TypeVar("R")

EVERY_S = 2.0
"""Seconds between two passes.

Bounds the delay until an override of another process takes effect here, and until an expired one is removed.
"""


class PeriodicJobs:
    """A task that runs the jobs one after the other until it is stopped.

    Args:
        every_s: seconds between two passes.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.steps: list[Callable[[], Awaitable[None]]] = []
        """Must not raise; more may be added at any time."""
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start on the running loop; a task on another loop is abandoned."""
        self._task = asyncio.get_running_loop().create_task(self._forever(), name="exacto-upkeep")

    async def _forever(self) -> None:
        while self._task is asyncio.current_task():
            for step in tuple(self.steps):
                await step()
            await asyncio.sleep(self._every_s)

    async def aclose(self) -> None:
        """Stop; safe to call more than once. A task on another loop ends with its loop."""
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


_START_S = 10.0
_STOP_S = 2.0
"""Seconds to wait for the thread at the end.

It is a daemon thread, so that a program may end without it.
"""


class LoopThread:
    """A daemon thread that runs one coroutine from first use until it is stopped.

    Thread-safe.

    Args:
        serve: returns the coroutine that runs for as long as the loop does.
    """

    def __init__(self, serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[Any] | None = None
        self._ready = threading.Event()

    def ensure_started(self) -> None:
        """Start the thread unless it is running, also in a forked process; cheap."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._ready = threading.Event()
            self._thread = threading.Thread(target=self._run, name="exacto-recompute", daemon=True)
            self._thread.start()
            at_exit(self.stop)

    def call(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run ``coroutine`` on the loop and return its result.

        Must not be called on the loop itself.
        """
        self.ensure_started()
        if not self._ready.wait(_START_S) or self._loop is None:
            coroutine.close()
            raise TimeoutError("the plugin's own event loop did not start")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def stop(self) -> None:
        """Stop the loop and its thread; safe to call more than once."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        if thread is not threading.current_thread():
            self._ready.wait(_STOP_S)  # the thread may have been started just now
        loop = self._loop
        if loop is None:
            return
        with suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(self._cancel)
        if thread is not threading.current_thread():
            thread.join(_STOP_S)

    def _run(self) -> None:
        with suppress(asyncio.CancelledError, CancelledError):
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task()
        self._ready.set()
        await self._serve()

    def _cancel(self) -> None:
        if self._serving is not None:
            self._serving.cancel()


def run_in_thread(make: Callable[[], Coroutine[Any, Any, R]], context: Context, name: str) -> Future[R]:
    """Run a coroutine in a new thread, on a loop of its own.

    Args:
        make: creates the coroutine.
        context: the context that it runs in; must not be used elsewhere.
        name: of the thread.

    Returns:
        A future of its result or exception. The thread continues even if the future is abandoned.
    """
    future: Future[R] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = context.run(asyncio.run, make())
        except BaseException as error:  # any error is raised where the future's result is read
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future

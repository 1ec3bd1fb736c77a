"""One coroutine in a thread of its own, for what blocks: synchronous calls inside LiteLLM's event loops, and programs
without a loop. The thread is a daemon, so that what never ends keeps no program alive. Must not touch a request.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

R = TypeVar("R")


def run_in_thread(make: Callable[[], Coroutine[Any, Any, R]], context: Context, name: str) -> Future[R]:
    """Run a coroutine in a new thread, on a loop of its own.

    Args:
        make: makes it.
        context: what it runs in; used by nobody else.
        name: of the thread.

    Returns:
        What it returns or raises. Whoever gives it up waits no longer; the thread goes on.
    """
    future: Future[R] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = context.run(asyncio.run, make())
        except BaseException as error:  # whatever it is, it is raised where somebody waits for it
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future

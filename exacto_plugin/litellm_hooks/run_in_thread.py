"""A thread for one coroutine, for blocking work.

Used for synchronous calls inside LiteLLM's event loops, and for programs without a loop. The thread is a daemon, so
that a coroutine that never ends does not keep the program alive. Does not change a request.
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

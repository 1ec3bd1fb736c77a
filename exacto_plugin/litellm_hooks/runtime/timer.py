"""The timer of recomputes and periodic jobs, and the event loop that it runs on.

On the proxy it is the loop that serves requests. In programs the timer has a loop and a thread of its own, and requests
come from any of the program's threads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exacto_plugin.litellm_hooks.background import LoopThread

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.background import PeriodicJobs
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.runtime.replication import Replication


class RecomputeTimer:
    """The timer of one process.

    Args:
        context: of this process.
        routers: tell whether this is a proxy.
        replication: runs one recompute after the other.
        periodic_jobs: run on the same loop.
    """

    def __init__(
        self, context: Context, routers: Routers, replication: Replication, periodic_jobs: PeriodicJobs
    ) -> None:
        self._context = context
        self._routers = routers
        self._replication = replication
        self._periodic_jobs = periodic_jobs
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.loop_thread = LoopThread(self._serve)
        """The loop of the timer outside of a proxy."""
        self.shutting_down = False
        """True when the process begins to end: nothing is started any more."""

    def ensure_ticking(self) -> None:
        """Start the timer unless it is running or this is closed; cheap."""
        if self._context.closed or self.shutting_down:
            return
        if self._routers.on_proxy:
            self.ensure_started()
        else:
            self.loop_thread.ensure_started()

    def ensure_started(self) -> None:
        """Start the timer on the running loop; cheap when it is running.

        A timer ends with a loop that is closed or stopped; the next loop starts its own.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self.shutting_down:
            return
        if self._task is not None and not self._task.done() and (self._loop is loop or _runs(self._loop)):
            return
        self._loop = loop
        self._task = loop.create_task(self._run(), name="exacto-recompute")
        self._periodic_jobs.begin()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._periodic_jobs.begin()
        await self._run()

    async def _run(self) -> None:
        await self._replication.serve(lambda: self._task is asyncio.current_task())

    async def aclose(self) -> None:
        """Stop the timer on any loop."""
        await asyncio.to_thread(self.loop_thread.stop)
        await self._periodic_jobs.aclose()
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _runs(loop: asyncio.AbstractEventLoop | None) -> bool:
    return loop is not None and not loop.is_closed() and loop.is_running()

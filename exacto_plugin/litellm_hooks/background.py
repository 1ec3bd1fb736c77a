"""Periodic jobs of a process, run every two seconds beside the recomputes.

Overrides are polled and changed settings are applied here. Each job handles its own faults. Is not on a request's path
and does not depend on any job's content.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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

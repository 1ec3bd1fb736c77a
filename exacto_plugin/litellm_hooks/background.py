"""What every process looks after every two seconds, beside recomputes: operators' words, changed settings.

Each step handles its own faults. Must not be on a request's path, and must not know what the steps do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EVERY_S = 2.0
"""Seconds between two turns: how late a process hears what another was told, and how late a word expires."""


class PeriodicJobs:
    """A task that goes through the steps, one after the other, until it is stopped.

    Args:
        every_s: seconds between two turns.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.steps: list[Callable[[], Awaitable[None]]] = []
        """Never raise; more may be added at any time."""
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start on the running loop; another loop's task, which may never go on, is left behind."""
        self._task = asyncio.get_running_loop().create_task(self._forever(), name="exacto-upkeep")

    async def _forever(self) -> None:
        while self._task is asyncio.current_task():
            for step in tuple(self.steps):
                await step()
            await asyncio.sleep(self._every_s)

    async def aclose(self) -> None:
        """Stop; more than once does no harm, and another loop's task goes with its loop."""
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

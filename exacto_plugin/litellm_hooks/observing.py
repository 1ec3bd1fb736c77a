"""Keeps the observed numbers of one process: counts answers, works the numbers out once a minute, writes them hourly.

Nothing follows from them; see :mod:`exacto_plugin.core.observed`. Must not be on a request's path but for counting.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING

from exacto_plugin.core.observed import Observed, Observing
from exacto_plugin.litellm_hooks.faults import fail_open

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Sample
    from exacto_plugin.litellm_hooks.runtime import Runtime

EVERY_S = 60.0
"""Seconds between two times that the numbers are worked out: they are about hours."""


class ObservedNumbers:
    """What was observed of the deployments that this process asked."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.faults = runtime.faults
        self._observing = Observing()
        self._at = 0.0
        # Replaced, never changed in place: metrics are read in threads of their own.
        self.latest: Mapping[tuple[str, str], Observed] = MappingProxyType({})
        """By model group and deployment."""

    def note(self, sample: Sample) -> None:
        """Count one answer; whoever calls this holds the engine's lock."""
        self._observing.note(sample)

    @fail_open("observed")
    async def look(self) -> None:
        """Work the numbers out when it is time, one model group after the other."""
        now = self._runtime.clock()
        if abs(now - self._at) < EVERY_S:
            return
        self._at = now
        await self.work_out()

    async def work_out(self) -> None:
        """Work the numbers out now."""
        now, lock = self._runtime.clock(), self._runtime.engine.lock
        with lock:
            self._observing.forget(now)
            groups = self._observing.groups()
        found: dict[tuple[str, str], Observed] = {}
        for group, deployments in groups.items():
            with lock:
                numbers = self._observing.of(group, deployments, now)
            found.update(((group, name), one) for name, one in numbers.items())
            await asyncio.sleep(0)
        self.latest = MappingProxyType(found)

"""Observed metrics of one process: counted, computed and written.

Answers are counted, numbers are computed once a minute and written hourly. They affect nothing, see
:mod:`exacto_plugin.core.windows.observed`. Only the counting is on a request's path.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING

from exacto_plugin.core.windows.observed import HOUR_S, Observed, ObservedMetrics
from exacto_plugin.core.wire import to_wire
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.records import ObservedRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Sample
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


EVERY_S = 60.0
"""Seconds between two computations; the numbers are about hours."""

_WRITTEN_AT_ONCE = 200
"""Records that are created before other tasks run."""


class ObservedMetricsJob:
    """The observed metrics of the deployments that this process called."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.faults = runtime.faults
        self._observing = ObservedMetrics()
        self._at = 0.0
        # Replaced, never changed in place: metrics are read in threads of their own.
        self.latest: Mapping[tuple[str, str], Observed] = MappingProxyType({})
        """By model group and deployment."""

    def add(self, sample: Sample) -> None:
        """Count one answer; the caller must hold the engine's lock."""
        self._observing.add(sample)

    @fail_open("observed")
    async def run_due(self) -> None:
        """Compute the numbers when they are due, one model group after the other."""
        now, before = self._runtime.clock(), self._at
        if abs(now - before) < EVERY_S:
            return
        self._at = now
        await self.compute()
        if before and int(before // HOUR_S) != int(now // HOUR_S):
            await self._put_on_record(before // HOUR_S * HOUR_S)

    async def _put_on_record(self, hour: float) -> None:
        """Write the current numbers at the end of an hour."""
        runtime = self._runtime
        for number, ((group, deployment), observed) in enumerate(self.latest.items()):
            numbers = {name: value for name, value in to_wire(observed).items() if value}
            if numbers:
                runtime.store.write(ObservedRecord(hour, group, deployment, runtime.recorder.worker, numbers))
            if number % _WRITTEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def compute(self) -> None:
        """Compute the numbers now."""
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

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
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from exacto_plugin.core.model import Sample
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.records import Record


EVERY_S = 60.0
"""Seconds between two computations; the numbers are about hours."""

_WRITTEN_AT_ONCE = 200
"""Records that are created before other tasks run."""


class ObservedNumbers:
    """The observed metrics of the deployments that this process called.

    Args:
        clock: UTC seconds.
        lock: held by callers of ``add``; answers of synchronous calls arrive in threads.
    """

    def __init__(self, clock: Callable[[], float], lock: AbstractContextManager[object]) -> None:
        self._clock = clock
        self._lock = lock
        self._observing = ObservedMetrics()
        # Replaced, never changed in place: metrics are read in threads of their own.
        self.latest: Mapping[tuple[str, str], Observed] = MappingProxyType({})
        """By model group and deployment."""

    def add(self, sample: Sample) -> None:
        """Count one answer; the caller must hold the lock."""
        self._observing.add(sample)

    async def compute(self) -> None:
        """Compute the numbers now, one model group after the other."""
        now = self._clock()
        with self._lock:
            self._observing.forget(now)
            groups = self._observing.groups()
        found: dict[tuple[str, str], Observed] = {}
        for group, deployments in groups.items():
            with self._lock:
                numbers = self._observing.of(group, deployments, now)
            found.update(((group, name), one) for name, one in numbers.items())
            await asyncio.sleep(0)
        self.latest = MappingProxyType(found)


class ObservedMetricsJob:
    """The periodic job that computes the numbers and writes them.

    Args:
        clock: UTC seconds.
        faults: counts failures of the job.
        numbers: of this process.
        write: stores a record.
        worker: name of this process in the records.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        faults: FaultReporter,
        numbers: ObservedNumbers,
        write: Callable[[Record], None],
        worker: str,
    ) -> None:
        self._clock = clock
        self.faults = faults
        self._numbers = numbers
        self._write = write
        self._worker = worker
        self._at = 0.0

    @fail_open("observed")
    async def run_due(self) -> None:
        """Compute the numbers when they are due."""
        now, before = self._clock(), self._at
        if abs(now - before) < EVERY_S:
            return
        self._at = now
        await self._numbers.compute()
        if before and int(before // HOUR_S) != int(now // HOUR_S):
            await self._put_on_record(before // HOUR_S * HOUR_S)

    async def _put_on_record(self, hour: float) -> None:
        """Write the current numbers at the end of an hour."""
        for number, ((group, deployment), observed) in enumerate(self._numbers.latest.items()):
            numbers = {name: value for name, value in to_wire(observed).items() if value}
            if numbers:
                self._write(ObservedRecord(hour, group, deployment, self._worker, numbers))
            if number % _WRITTEN_AT_ONCE == 0:
                await asyncio.sleep(0)

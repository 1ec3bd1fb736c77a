"""The periodic job that writes observed metrics into the files of several workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from exacto_plugin.litellm_hooks.faults import fail_open

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.telemetry.prometheus import PrometheusMirror

_WRITE_EVERY_S: Final = 10.0
"""Below Prometheus's usual scrape intervals, of which the shortest in common use is 15 s."""


class MirrorFiles:
    """The job of one process; belongs to the loop of the recompute timer.

    Args:
        mirror: of this process; None: there is nothing to do.
        clock: UTC seconds.
        faults: counts what fails.
    """

    def __init__(self, mirror: PrometheusMirror | None, clock: Callable[[], float], faults: FaultReporter) -> None:
        self.serves = mirror is not None
        """True where LiteLLM's ``/metrics`` has the metrics."""
        self._mirror = mirror if mirror is not None and mirror.is_written else None
        self._clock = clock
        self.faults = faults
        self._due = 0.0

    @fail_open("telemetry")
    async def run_due(self) -> None:
        """Write the values if it is time."""
        now = self._clock()
        if self._mirror is not None and now >= self._due:
            self._due = now + _WRITE_EVERY_S
            await asyncio.to_thread(self._mirror.write)

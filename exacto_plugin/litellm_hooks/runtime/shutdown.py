"""The end of a proxy or a program: pending records are written.

Nothing of the plugin is started any more."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.features import Gap

if TYPE_CHECKING:
    from types import ModuleType

    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder
    from exacto_plugin.litellm_hooks.runtime.timer import RecomputeTimer
    from exacto_plugin.store.sample_log import SampleLog
    from exacto_plugin.store.store import Store

_LEAVE_S = 5.0
"""Most seconds by which the plugin delays the end of a process.

Supervisors kill after 10 seconds or more.
"""


class Shutdown:
    """The end of one process's plugin.

    Args:
        faults: counts what fails at the end.
        timer: is stopped first.
        recorder: its pending records are written.
        store: is closed when it has them.
        log: of samples, where there is one.
    """

    def __init__(
        self, faults: FaultReporter, timer: RecomputeTimer, recorder: Recorder, store: Store, log: SampleLog | None
    ) -> None:
        self.faults = faults
        self._timer = timer
        self._recorder = recorder
        self._store = store
        self._log = log

    @fail_open("shutdown")
    async def shut_down(self) -> None:
        """Send and write pending data, within ``_LEAVE_S``."""
        self._timer.shutting_down = True
        async with asyncio.timeout(_LEAVE_S):
            await self._timer.aclose()
            await asyncio.to_thread(self.flush_and_close)

    def flush_and_close(self) -> None:
        """Write pending records, and close their writers."""
        self._recorder.close()
        self._store.close()
        if self._log is not None:
            self._log.close()


def shut_down_with(server: ModuleType, shutdown: Shutdown) -> list[Gap]:
    """Shut the plugin down when LiteLLM shuts down.

    For SIGTERM uvicorn ends the process before ``atexit`` runs.

    Returns:
        The parts that this LiteLLM lacks for it.
    """
    event = getattr(server, "proxy_shutdown_event", None)
    if event is None:
        return [Gap("proxy_shutdown_event", (), "the last 2 seconds before a stop are not on record")]

    @wraps(event)
    async def left(*args: Any, **kwargs: Any) -> None:
        await shutdown.shut_down()
        await event(*args, **kwargs)

    server.proxy_shutdown_event = left  # type: ignore[attr-defined] # LiteLLM looks it up when it shuts down
    return []

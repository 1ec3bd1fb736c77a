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

    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

_LEAVE_S = 5.0
"""Most seconds by which the plugin delays the end of a process.

Supervisors kill after 10 seconds or more.
"""


@fail_open("shutdown")
async def shut_down(runtime: Runtime) -> None:
    """Send and write pending data, within ``_LEAVE_S``."""
    runtime.shutting_down = True
    async with asyncio.timeout(_LEAVE_S):
        await runtime.aclose()
        await asyncio.to_thread(flush_and_close, runtime)


def flush_and_close(runtime: Runtime) -> None:
    """Write pending records, and close their writers."""
    runtime.recorder.close()
    runtime.store.close()
    if runtime.sample_log is not None:
        runtime.sample_log.close()


def shut_down_with(server: ModuleType, runtime: Runtime) -> list[Gap]:
    """Shut the plugin down when LiteLLM shuts down.

    For SIGTERM uvicorn ends the process before ``atexit`` runs.

    Returns:
        The parts that this LiteLLM lacks for it.
    """
    shutdown = getattr(server, "proxy_shutdown_event", None)
    if shutdown is None:
        return [Gap("proxy_shutdown_event", (), "the last 2 seconds before a stop are not on record")]

    @wraps(shutdown)
    async def left(*args: Any, **kwargs: Any) -> None:
        await shut_down(runtime)
        await shutdown(*args, **kwargs)

    server.proxy_shutdown_event = left  # type: ignore[attr-defined] # LiteLLM looks it up when it shuts down
    return []

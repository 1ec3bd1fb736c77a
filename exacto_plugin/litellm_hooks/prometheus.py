"""Tells whether LiteLLM serves ``/metrics``, and makes the mirror of the plugin's metrics for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.telemetry.prometheus import PrometheusMirror, is_multiprocess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.litellm_hooks.faults import FaultReporter

logger = logging.getLogger("exacto_plugin")

_CALLBACK: Final = "prometheus"
_LISTS: Final = ("callbacks", "success_callback")
"""LiteLLM mounts ``/metrics`` when it reads its callback in one of these lists of ``litellm_settings``."""

_WRITE_EVERY_S: Final = 10.0
"""Below Prometheus's usual scrape intervals, of which the shortest in common use is 15 s."""


def prometheus_mirror(config: Mapping[str, Any] | None) -> PrometheusMirror | None:
    """Return a mirror for LiteLLM's ``/metrics``.

    Args:
        config: LiteLLM's parsed configuration.

    Returns:
        None where the callback ``prometheus`` is not configured or ``prometheus_client`` is not installed.
    """
    settings = (config or {}).get("litellm_settings")
    lists = [settings.get(name) for name in _LISTS] if isinstance(settings, dict) else []
    if not any(isinstance(one, list) and _CALLBACK in one for one in lists):
        return None
    try:
        from prometheus_client import REGISTRY
    except ImportError:
        logger.warning("exacto_plugin: prometheus_client is not installed, so /metrics has none of the plugin's series")
        return None
    return PrometheusMirror(None if is_multiprocess() else REGISTRY)


class MirrorFiles:
    """The periodic job that brings observed values into the files of several workers.

    Args:
        mirror: of this process; None: there is nothing to do.
        clock: UTC seconds.
        faults: counts what fails.
    """

    def __init__(self, mirror: PrometheusMirror | None, clock: Callable[[], float], faults: FaultReporter) -> None:
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

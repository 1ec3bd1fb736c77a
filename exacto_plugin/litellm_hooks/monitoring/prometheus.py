"""The mirror of the plugin's metrics for LiteLLM's ``/metrics``, if it is served."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.telemetry.prometheus import PrometheusMirror, is_multiprocess

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("exacto_plugin")

_CALLBACK: Final = "prometheus"
_LISTS: Final = ("callbacks", "success_callback")
"""LiteLLM mounts ``/metrics`` when it reads its callback in one of these lists of ``litellm_settings``."""


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
        logger.warning(
            "exacto_plugin: LiteLLM's callback prometheus needs the package prometheus_client and does not start "
            "without it: pip install prometheus_client"
        )
        return None
    return PrometheusMirror(None if is_multiprocess() else REGISTRY)

"""What LiteLLM's router counted, the same on every version."""

from __future__ import annotations

from typing import Any


def failures_this_minute(router: Any, litellm_id: str) -> int:
    """Return the failures that LiteLLM counted against a deployment in this minute."""
    if hasattr(router, "health"):
        return int(router.health().failures_this_minute(litellm_id))
    from litellm.router_utils.router_callbacks.track_deployment_metrics import (
        get_deployment_failures_for_current_minute,
    )

    return int(get_deployment_failures_for_current_minute(router, litellm_id))

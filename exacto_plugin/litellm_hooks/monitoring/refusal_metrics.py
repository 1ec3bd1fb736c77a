"""Keeps refusals out of LiteLLM's metrics of deployments.

LiteLLM logs a request that the plugin refuses as a failed call, and its callback ``prometheus`` counts that in
``litellm_deployment_failure_responses``, ``litellm_deployment_total_requests`` and
``litellm_llm_api_failed_requests_metric``, though no deployment was called. Its metric of failed client requests,
``litellm_proxy_failed_requests_metric``, still counts it, as do all other callbacks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.features import Gap
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.router_patches import fits, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MODULE: Final = "litellm.integrations.prometheus"
_LOGGED: Final = "async_log_failure_event"

_EXPECTED: Final[Sequence[str]] = ["self", "kwargs", "response_obj", "start_time", "end_time"]
"""The parameters that the patch relies on: those of LiteLLM's public ``CustomLogger``."""


def install() -> list[Gap]:
    """Leave refusals out of the counts of LiteLLM's callback ``prometheus``.

    Returns:
        The gap, when the callback has no such method; then nothing is patched.
    """
    owner = getattr(import_module(_MODULE), "PrometheusLogger", None)
    if not fits(getattr(owner, _LOGGED, None), _EXPECTED):
        return [Gap(f"PrometheusLogger.{_LOGGED}", (), "LiteLLM's metrics count refusals as failures of deployments")]
    wrap(owner, _LOGGED, _without_refusals)
    return []


def _without_refusals(original: Callable[..., Any]) -> Callable[..., Any]:
    async def logged(self: Any, kwargs: Any, *args: Any, **more: Any) -> Any:
        if isinstance(kwargs, dict) and isinstance(kwargs.get("exception"), ExactoRefusedError):
            return None
        return await original(self, kwargs, *args, **more)

    return logged

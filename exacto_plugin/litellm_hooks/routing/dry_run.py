"""The deployments that LiteLLM's later constraints would leave.

They are found by a selection without a call.

The filter hook runs before LiteLLM's pre-call checks, tags and the filters of other callbacks. A pool chosen there
could become empty, so where one of them may remove a deployment, ``Router.select(kind="healthy")`` is asked first: it
runs all of them and calls no deployment. It runs the filter hook as well, which then passes the attempt's deployments.

Every constraint looks at each deployment by itself, so a pool within the ones that it leaves is never empty.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import litellm
from litellm.integrations.custom_logger import CustomLogger

from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.deployments.router_view import router_view

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Deployment = Mapping[str, Any]

PASSED: ContextVar[frozenset[str] | None] = ContextVar("exacto_dry_run", default=None)
"""Ids that the filter hook passes while a selection is tried; None in a real one."""

_METADATA: Final = ("metadata", "litellm_metadata")
_REAL_ONLY: Final = frozenset({"_target_order", "litellm_logging_obj"})
"""Keys that a dry run does without; LiteLLM logs a refused selection on the logging object."""
_TEXT: Final = frozenset(
    {"text", "input_text", "output_text", "tool_use", "tool_result", "thinking", "redacted_thinking", "refusal"}
)
"""Types of content parts that no deployment is excluded for."""
_ENDPOINTS: Final = ("enforce_supported_endpoints", "enable_tag_filtering")
"""Flags of ``model_info`` that add a constraint."""


def passed_in_dry_run(healthy: Sequence[Deployment]) -> list[Deployment] | None:
    """Return the filter hook's answer while a selection is tried; None in a real one."""
    passed = PASSED.get()
    return None if passed is None else [one for one in healthy if litellm_id(one) in passed]


def can_dry_run(router: Any) -> bool:
    """Return whether a router has a selection without a call."""
    return callable(getattr(router, "select", None))


def may_lose(
    router: Any, deployments: Iterable[Deployment], kwargs: Mapping[str, Any], messages: Any, own: object
) -> bool:
    """Return whether a later constraint of LiteLLM may remove a deployment.

    Args:
        router: the router that selects.
        deployments: of the attempt.
        kwargs: the request as the filter hook has it.
        messages: of the request.
        own: the plugin's callback.
    """
    view = router_view(router)
    setting = view.setting
    return bool(
        setting("enable_pre_call_checks")
        or setting("enable_tag_filtering")
        or kwargs.get("enable_tag_filtering")
        or setting("provider_budget_config")
        or view.plugins
        or any((one.get("model_info") or {}).get(flag) for one in deployments for flag in _ENDPOINTS)
        or kwargs.get("web_search_options")
        or any(str(one.get("type") or "").startswith("web_search") for one in _mappings(kwargs.get("tools")))
        or _has_media(messages or kwargs.get("messages") or kwargs.get("input"))
        or _later_filter(own)
    )


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _has_media(messages: Any) -> bool:
    """Return whether a message has content other than text."""
    return any(part.get("type") not in _TEXT for one in _mappings(messages) for part in _mappings(one.get("content")))


def _later_filter(own: object) -> bool:
    """Return whether a callback behind the plugin's own filters deployments.

    LiteLLM asks its callbacks in their order, each with what the one before left. The proxy of 1.110 always has one of
    its own, ahead of the operator's.
    """
    base = CustomLogger.async_filter_deployments
    filters = [
        one
        for one in litellm.callbacks
        if one is own or (isinstance(one, CustomLogger) and type(one).async_filter_deployments is not base)
    ]
    return bool(filters) and filters[-1] is not own


async def survivors(
    router: Any, group: str, deployments: Sequence[Deployment], kwargs: Mapping[str, Any], messages: Any
) -> list[Deployment]:
    """Return the deployments that LiteLLM's later constraints leave.

    Args:
        router: the router that selects.
        group: the model group.
        deployments: of the attempt.
        kwargs: the request as the filter hook has it; not changed.
        messages: of the request.

    Returns:
        A sublist of ``deployments``; all ``order`` levels. Empty where LiteLLM would refuse the request.
    """
    token = PASSED.set(frozenset(map(litellm_id, deployments)))
    try:
        left: set[str] = set()
        for level in _levels(deployments, kwargs):
            left |= await _healthy(router, group, kwargs, messages, level)
    finally:
        PASSED.reset(token)
    return [one for one in deployments if litellm_id(one) in left]


def _levels(deployments: Sequence[Deployment], kwargs: Mapping[str, Any]) -> Sequence[object]:
    """Return the ``order`` levels to try.

    LiteLLM's selection keeps one level: the attempt's own, else the lowest.
    """
    if kwargs.get("_target_order") is not None:
        return [kwargs["_target_order"]]
    found = {(one.get("litellm_params") or {}).get("order") for one in deployments}
    levels = sorted(one for one in found if isinstance(one, int))
    return levels or [None]


async def _healthy(router: Any, group: str, kwargs: Mapping[str, Any], messages: Any, level: object) -> set[str]:
    asked = {name: value for name, value in kwargs.items() if name not in _REAL_ONLY}
    for name in _METADATA:
        if isinstance(asked.get(name), dict):
            asked[name] = dict(asked[name])  # LiteLLM notes the tags there
    if level is not None:
        asked["_target_order"] = level
    try:
        found = await router.select(group, asked, kind="healthy", messages=messages, input=kwargs.get("input"))
    except Exception:  # LiteLLM's own refusal, of one of many types: this level has no deployment
        return set()
    return {litellm_id(one) for one in ([found] if isinstance(found, dict) else found)}

"""The places inside LiteLLM's synchronous selection that are not public hooks, checked before they are used.

* ``Router.get_available_deployment`` selects for synchronous calls, and for asynchronous ones under strategies that
  have no asynchronous form.
* ``Router._filter_blocked_deployments`` is its last step before pre-call checks, after teams, health and cooldowns.
* ``litellm.utils.get_order_filtered_deployments`` is the step after those checks: the operator's ``order`` levels.
* ``Router._completion_streaming_iterator`` is given every synchronous chat stream before it leaves its attempt.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import litellm

from exacto_plugin.litellm_hooks.seams import litellm_version, names_in, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.litellm_hooks.sync_calls import SyncSelection

logger = logging.getLogger("exacto_plugin")

_SELECT = "get_available_deployment"
_HEALTHY = "_filter_blocked_deployments"
_LEVELS = "get_order_filtered_deployments"
_STREAM = "_completion_streaming_iterator"

_PARAMETERS = {
    _SELECT: ["self", "model", "messages", "input", "specific_deployment", "request_kwargs"],
    _HEALTHY: ["self", "healthy_deployments"],
    _LEVELS: ["healthy_deployments", "target_order"],
    _STREAM: ["self", "model_response", "messages", "initial_kwargs"],
}


def _owners() -> tuple[tuple[Any, str], ...]:
    return (
        (litellm.Router, _SELECT),
        (litellm.Router, _HEALTHY),
        (litellm.utils, _LEVELS),
        (litellm.Router, _STREAM),
    )


def missing_seams() -> list[str]:
    """What this LiteLLM lacks of what synchronous routing relies on; empty on a known version."""
    missing = []
    for owner, name in _owners():
        found = getattr(owner, name, None)
        if found is None or list(inspect.signature(inspect.unwrap(found)).parameters) != _PARAMETERS[name]:
            missing.append(f"{owner.__name__}.{name}")
    if missing:
        return missing
    used = names_in(inspect.unwrap(getattr(litellm.Router, _SELECT)).__code__)
    return [f"a call of {name}" for name in (_HEALTHY, _LEVELS) if name not in used]


def install(selection: SyncSelection, opened: Callable[[Any], Any]) -> list[str]:
    """Wrap the seams.

    Args:
        selection: stands in LiteLLM's selection.
        opened: is given each chat stream and returns the one to go on with.

    Returns:
        Those that are missing; with any missing nothing is wrapped, and synchronous calls are LiteLLM's own affair.
    """
    missing = missing_seams()
    if missing:
        logger.warning("LiteLLM %s lacks %s: synchronous calls are not routed", litellm_version(), ", ".join(missing))
        return missing

    def select(original: Callable[..., Any]) -> Callable[..., Any]:
        def selected(self: Any, model: str, *args: Any, **given: Any) -> Any:
            named = dict(zip(_PARAMETERS[_SELECT][2:], args, strict=False))
            return selection.select(original, self, model, **named, **given)

        return selected

    def healthy(original: Callable[..., Any]) -> Callable[..., Any]:
        def left(self: Any, healthy_deployments: list[Any]) -> Any:
            return selection.filtered(self, original(self, healthy_deployments=healthy_deployments))

        return left

    def levels(original: Callable[..., Any]) -> Callable[..., Any]:
        def filtered(healthy_deployments: list[Any], target_order: Any = None) -> Any:
            return original(selection.narrowed(healthy_deployments, target_order), target_order=target_order)

        return filtered

    def stream(original: Callable[..., Any]) -> Callable[..., Any]:
        def streamed(self: Any, model_response: Any, *args: Any, **given: Any) -> Any:
            return original(self, opened(model_response), *args, **given)

        return streamed

    for (owner, name), make in zip(_owners(), (select, healthy, levels, stream), strict=True):
        wrap(owner, name, make)
    return []


def uninstall() -> None:
    """Put LiteLLM's own functions back."""
    for owner, name in _owners():
        original = getattr(getattr(owner, name, None), "exacto_wraps", None)
        if original is not None:
            setattr(owner, name, original)

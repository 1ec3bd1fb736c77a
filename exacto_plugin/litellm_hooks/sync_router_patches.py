"""The patches of LiteLLM's synchronous selection, checked before they are used.

These functions are not public hooks:

* ``Router.get_available_deployment`` selects for synchronous calls, and for asynchronous ones under strategies that
  have no asynchronous form.
* ``Router._filter_blocked_deployments`` is its last step before pre-call checks, after teams, health and cooldowns.
* ``litellm.utils.get_order_filtered_deployments`` is the step after those checks: the operator's ``order`` levels.
* ``Router._completion_streaming_iterator`` gets every synchronous chat stream before it leaves its attempt.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

import litellm

from exacto_plugin.litellm_hooks.features import Feature, Gap
from exacto_plugin.litellm_hooks.first_chunks import restore_first_chunk
from exacto_plugin.litellm_hooks.router_core import public_router, router_core
from exacto_plugin.litellm_hooks.router_patches import fits, names_in, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exacto_plugin.litellm_hooks.routing.sync_selection import SyncSelection

_SELECT = "get_available_deployment"
_HEALTHY = "_filter_blocked_deployments"
_LEVELS = "get_order_filtered_deployments"
_STREAM = "_completion_streaming_iterator"

_PARAMETERS: Final[Mapping[str, Sequence[str]]] = {
    _SELECT: ["self", "model", "messages", "input", "specific_deployment", "request_kwargs"],
    _HEALTHY: ["self", "healthy_deployments"],
    _LEVELS: ["healthy_deployments", "target_order"],
    _STREAM: ["self", "model_response", "messages", "initial_kwargs"],
}

_EFFECT = "synchronous calls are LiteLLM's own, and those under a hard filter are refused"


def _owners() -> Mapping[str, Any]:
    core = router_core()
    return {_SELECT: core, _HEALTHY: core, _LEVELS: litellm.utils, _STREAM: core}


def _fits(name: str) -> bool:
    return fits(getattr(_owners()[name], name, None), _PARAMETERS[name])


def _missing_selection() -> list[str]:
    """Return the missing parts of this LiteLLM's synchronous selection.

    Empty on a known version.
    """
    missing = [f"{_owners()[name].__name__}.{name}" for name in (_SELECT, _HEALTHY, _LEVELS) if not _fits(name)]
    if missing:
        return missing
    core = router_core()
    select = inspect.unwrap(getattr(core, f"_core_{_SELECT}", None) or getattr(core, _SELECT))
    used = names_in(select.__code__)
    return [f"a call of {name} in {_SELECT}" for name in (_HEALTHY, _LEVELS) if name not in used]


def install(selection: SyncSelection, on_stream: Callable[[Any], Any]) -> list[Gap]:
    """Install the patches.

    Args:
        selection: called within LiteLLM's selection.
        on_stream: gets each chat stream and returns the one to use from then on.

    Returns:
        The gaps of missing targets. The selection is patched as a whole or not at all.
    """
    gaps = [Gap(name, (Feature.SYNC,), _EFFECT) for name in _missing_selection()]
    if not gaps:
        wrap(router_core(), _SELECT, functools.partial(_patch_select, selection))
        wrap(router_core(), _HEALTHY, functools.partial(_patch_healthy, selection))
        wrap(litellm.utils, _LEVELS, functools.partial(_patch_levels, selection))
    if _fits(_STREAM):
        wrap(router_core(), _STREAM, functools.partial(_patch_stream, on_stream))
    else:
        effect = "synchronous chat streams come as they are"
        gaps.append(Gap(f"Router.{_STREAM}", (Feature.SYNC, Feature.RESCUE_STREAMS), effect))
    return gaps


def _patch_select(selection: SyncSelection, original: Callable[..., Any]) -> Callable[..., Any]:
    def selected(self: Any, model: str, *args: Any, **given: Any) -> Any:
        named = dict(zip(_PARAMETERS[_SELECT][2:], args, strict=False))
        return selection.select(functools.partial(original, self), public_router(self), model, **named, **given)

    return selected


def _patch_healthy(selection: SyncSelection, original: Callable[..., Any]) -> Callable[..., Any]:
    def left(self: Any, *args: Any, **given: Any) -> Any:
        return selection.filter_pool(public_router(self), original(self, *args, **given))

    return left


def _patch_levels(selection: SyncSelection, original: Callable[..., Any]) -> Callable[..., Any]:
    def filtered(healthy_deployments: list[Any], target_order: Any = None, *args: Any, **given: Any) -> Any:
        return original(selection.select_pool(healthy_deployments, target_order), target_order, *args, **given)

    return filtered


def _patch_stream(on_stream: Callable[[Any], Any], original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    def streamed(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        if not restore_first_chunk(given, synchronous=True):
            return original(*args, **kwargs)
        given.arguments["model_response"] = on_stream(given.arguments["model_response"])
        return original(*given.args, **given.kwargs)

    return streamed


def uninstall() -> None:
    """Restore LiteLLM's own functions."""
    for name, owner in _owners().items():
        unwrap(owner, name)

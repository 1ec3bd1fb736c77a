"""The patches of the compiled router's synchronous selection.

Since 1.110 LiteLLM calls no callback while it selects for a synchronous call. These functions are not public:

* ``_Driver.select_sync`` answers the steps of a selection; the step ``callback_filters`` is the place of the
  asynchronous hook, and is answered with all candidates.
* ``_Driver.attempt_sync`` makes one attempt at the selected deployment.
"""

from __future__ import annotations

import functools
import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.features import Feature, Gap
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.router_core import public_router
from exacto_plugin.litellm_hooks.router_patches import fits, names_in, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.litellm_hooks.compiled.sync_selection import RustSyncSelection

_CORE: Final = "litellm.router_rust.core"
_DRIVER: Final = "_Driver"
_METHODS: Final = ("select_sync", "attempt_sync")
_USED: Final = frozenset({"_core", "_request", "_failed", "_pick_raised", "_plan", "pick_input"})
"""Attributes of the driver, and of its parts, that the patches use; LiteLLM's own methods use them as well."""
_FILTERS: Final = "callback_filters"
_EFFECT: Final = "synchronous calls are LiteLLM's own, and those under a hard filter are refused"


def _driver() -> Any:
    try:
        return getattr(import_module(_CORE), _DRIVER, None)
    except ImportError:
        return None


def _missing() -> list[str]:
    driver = _driver()
    methods = {name: getattr(driver, name, None) for name in _METHODS}
    missing = [f"{_DRIVER}.{name}" for name, found in methods.items() if not fits(found, ["self", "step"])]
    if missing:
        return missing
    used = set().union(*(names_in(one.__code__) for one in vars(driver).values() if inspect.isfunction(one)))
    missing = [f"{_DRIVER}: {name}" for name in sorted(_USED - used)]
    if not missing and not callable(getattr(import_module(_CORE), "attempt_failure", None)):
        missing = [f"{_CORE}.attempt_failure"]
    return missing


def install(selection: RustSyncSelection) -> list[Gap]:
    """Install the patches.

    Args:
        selection: called within LiteLLM's selection.

    Returns:
        The gaps of missing targets. The selection is patched as a whole or not at all.
    """
    gaps = [Gap(name, (Feature.SYNC,), _EFFECT) for name in _missing()]
    if not gaps:
        wrap(_driver(), "select_sync", functools.partial(_patch_select, selection))
        wrap(_driver(), "attempt_sync", functools.partial(_patch_attempt, selection))
    return gaps


def uninstall() -> None:
    """Restore LiteLLM's own functions."""
    if (driver := _driver()) is not None:
        for name in _METHODS:
            unwrap(driver, name)


def _patch_select(selection: RustSyncSelection, original: Callable[..., Any]) -> Callable[..., Any]:
    def answered(self: Any, step: Any, *args: Any, **given: Any) -> Any:
        answer = original(self, step, *args, **given)
        if step.get("stage") != _FILTERS or not isinstance(answer, list):
            return answer
        messages, _ = self._plan.pick_input(self._request)
        group = str(step.get("model_group"))
        try:
            return selection.filter(
                public_router(self._core), group, answer, messages, _with_level(self._request, step)
            )
        except Exception as error:  # as LiteLLM's asynchronous step does: the error fails this attempt of LiteLLM's
            self._pick_raised(error, logged=False)
            return import_module(_CORE).attempt_failure(error)

    return answered


def _with_level(request: Mapping[str, Any], step: Mapping[str, Any]) -> Mapping[str, Any]:
    level = step.get("target_order")
    return request if level is None else {**request, "_target_order": level}


def _patch_attempt(selection: RustSyncSelection, original: Callable[..., Any]) -> Callable[..., Any]:
    def attempted(self: Any, step: Any, *args: Any, **given: Any) -> Any:
        try:
            step = selection.begin(public_router(self._core), step, self._request)
        except ExactoRefusedError as refused:  # no deployment was called: the refusal is nobody's failure
            return {**self._failed(step, {}, None, refused), "recorded": True}
        outcome = original(self, step, *args, **given)
        if outcome.get("ok") is False:
            selection.failed(self.last_error)
        return outcome

    return attempted

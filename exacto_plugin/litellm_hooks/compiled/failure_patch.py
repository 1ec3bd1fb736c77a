"""The patch of the compiled router's description of failures.

LiteLLM has no public hook for it.

``_Driver._failed`` describes a failed attempt to the router, which counts it towards a cooldown unless it lies outside
of the deployment.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.features import Gap
from exacto_plugin.litellm_hooks.router_patches import fits, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME: Final = "_failed"
_OUTSIDE: Final = "outside_deployment"


def _driver() -> Any:
    try:
        return getattr(import_module("litellm.router_rust.core"), "_Driver", None)
    except ImportError:
        return None


def install(excluded: Callable[[], bool]) -> list[Gap]:
    """Leave failures out of cooldowns.

    Args:
        excluded: returns whether a failure of the current attempt is left out.

    Returns:
        The patch's gap, when its target is missing.
    """
    found = getattr(_driver(), _NAME, None)
    original = getattr(found, "exacto_wraps", found)
    known = fits(original, ["self", "step", "deployment", "call", "error"])
    if not known or _OUTSIDE not in _strings(original):
        return [Gap(f"_Driver.{_NAME}", (), "a rescue that fails can put its deployment into cooldown")]
    wrap(_driver(), _NAME, functools.partial(_patch, excluded))
    return []


def _strings(function: Any) -> set[object]:
    """Return the constants of a function, keys of dictionaries included."""
    found: set[object] = set()
    for one in function.__code__.co_consts:
        found |= set(one) if isinstance(one, tuple) else {one}
    return found


def uninstall() -> None:
    """Restore LiteLLM's own function."""
    if (driver := _driver()) is not None:
        unwrap(driver, _NAME)


def _patch(excluded: Callable[[], bool], original: Callable[..., Any]) -> Callable[..., Any]:
    def failed(self: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = original(self, *args, **kwargs)
        return {**outcome, _OUTSIDE: True} if excluded() else outcome

    return failed

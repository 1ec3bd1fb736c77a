"""LiteLLM's private functions that the plugin relies on with the installed version, and the features that need them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import litellm

from exacto_plugin.litellm_hooks.router_core import loops_in_python, router_core
from exacto_plugin.litellm_hooks.routing.dry_run import can_dry_run

if TYPE_CHECKING:
    from collections.abc import Callable


class PrivateSeam(NamedTuple):
    """A function of LiteLLM's, and the features that are off without it."""

    owner: Any
    name: str
    features: frozenset[str]
    together: frozenset[str] = frozenset()
    """Others that are used only where this one is."""


_LATE = frozenset() if can_dry_run(litellm.Router) else frozenset({"tiers", "sorts", "affinity", "failover"})
"""Where a router has a dry run, the public filter hook takes the place of the later point."""
_SELECTION = frozenset({"get_available_deployment", "_filter_blocked_deployments"})
_STEPS = frozenset({"select_sync", "attempt_sync"})


def private_seams() -> list[PrivateSeam]:
    """Return the seams of the installed LiteLLM."""
    if not loops_in_python():
        driver = import_module("litellm.router_rust.core")._Driver
        return [
            *(PrivateSeam(driver, name, frozenset({"sync"}), _STEPS) for name in sorted(_STEPS)),
            PrivateSeam(driver, "_failed", frozenset()),
        ]
    methods = {
        "_filter_by_routing_plugin_candidates": _LATE,
        "should_retry_this_error": frozenset({"failover"}),
        "_acompletion_streaming_iterator": frozenset({"rescue_streams", "failover"}),
        "_aresponses_streaming_iterator": frozenset({"rescue_streams"}),
        "_aanthropic_messages_streaming_iterator": frozenset({"rescue_streams"}),
        "make_call": frozenset({"rescue", "rescue_streams"}),
        "get_available_deployment": frozenset({"sync"}),
        "_filter_blocked_deployments": frozenset({"sync"}),
        "_completion_streaming_iterator": frozenset({"sync", "rescue_streams"}),
    }
    core = router_core()
    return [
        PrivateSeam(core, name, features, _SELECTION if name in _SELECTION else frozenset())
        for name, features in methods.items()
    ]


def in_another_form(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the same under a signature that the plugin does not know."""

    def changed(self: Any, changed_since: Any = None, *args: Any, **kwargs: Any) -> Any:
        return function(self, changed_since, *args, **kwargs) if changed_since is not None else function(self, **kwargs)

    return changed

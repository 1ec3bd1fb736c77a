"""The class behind LiteLLM's router that serves requests, and the router that a program or the proxy holds."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import litellm

_CORE = "litellm.router_python_core"

ENTRIES = ("async_function_with_fallbacks", "function_with_fallbacks")
"""What every method of a router calls up to 1.109 with all that it was given; the second calls the first."""

SelectPool = Callable[[Any, list[Any], dict[str, Any]], list[Any]]
"""``narrow(router, deployments, request_kwargs)``; raises only what the client is to be told."""


def router_core() -> Any:
    """The class whose methods serve requests: the core behind the facade of 1.109, else ``litellm.Router``."""
    try:
        return import_module(_CORE).PythonCore
    except ImportError:
        return litellm.Router


def loops_in_python() -> bool:
    """Whether LiteLLM retries and falls back in Python, as up to 1.109: every method of a router enters there."""
    return all(hasattr(router_core(), name) for name in ENTRIES)


def public_router(core: Any) -> Any:
    """The router that the program or the proxy has, from the ``self`` of one of its methods."""
    public = getattr(core, "_core_public", None)
    return core if public is None else public()

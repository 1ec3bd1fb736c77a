"""The class that serves a router's requests, and the router in public use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import litellm

_CORE = "litellm.router_python_core"

ENTRIES = ("async_function_with_fallbacks", "function_with_fallbacks")
"""The methods that every method of a router calls up to 1.109, with all arguments.

The second calls the first.
"""

SelectPool = Callable[[Any, list[Any], dict[str, Any]], list[Any]]
"""``select_pool(router, deployments, request_kwargs)``.

Raises only errors that are meant for the client.
"""


def router_core() -> Any:
    """Return the class whose methods serve requests.

    It is the core behind the facade of 1.109, else ``litellm.Router``.
    """
    try:
        return import_module(_CORE).PythonCore
    except ImportError:
        return litellm.Router


def loops_in_python() -> bool:
    """Return whether LiteLLM retries and falls back in Python, as up to 1.109.

    Every method of a router then calls ``ENTRIES``.
    """
    return all(hasattr(router_core(), name) for name in ENTRIES)


def public_router(core: Any) -> Any:
    """Return the public router for the ``self`` of one of its methods."""
    if hasattr(type(core), "_core_public"):  # 1.109
        return core._core_public()
    owner = vars(core).get("_core_owner")  # since 1.110
    public = owner() if callable(owner) else None
    return core if public is None else public

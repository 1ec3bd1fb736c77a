"""Routing of tool calls to deployments by measured quality.

For LiteLLM's proxy and Python SDK. On the proxy, ``litellm_settings: {callbacks: ["exacto_plugin.callback"]}`` is the
whole configuration. In a program, ``Exacto(settings).attach(router)``, or ``litellm.callbacks =
[exacto_plugin.callback]`` to score direct calls only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin._version import __version__
from exacto_plugin.errors import ExactoError, SettingsError, StoreError, UnknownNameError

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.callback import ExactoCallback
    from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
    from exacto_plugin.litellm_hooks.sdk import Exacto

    callback: ExactoCallback

__all__ = [
    "Exacto",
    "ExactoError",
    "ExactoRefusedError",
    "SettingsError",
    "StoreError",
    "UnknownNameError",
    "__version__",
    "callback",
]


def __getattr__(name: str) -> Any:
    if name == "callback":
        from exacto_plugin.litellm_hooks.proxy import proxy_callback

        return proxy_callback()
    # Loaded on first use: importing LiteLLM takes seconds, and tools and settings work without it.
    if name == "Exacto":
        from exacto_plugin.litellm_hooks.sdk import Exacto

        return Exacto
    if name == "ExactoRefusedError":
        from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError

        return ExactoRefusedError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Without the callback: ``help()`` and other tools read every name that is listed, and reading it patches LiteLLM.
    names = {name for name in globals() if name.startswith("__")}
    return sorted((names | set(__all__)) - {"callback"})

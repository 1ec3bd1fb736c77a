"""ASGI entry: ``uvicorn exacto_plugin.asgi:app`` serves LiteLLM's proxy."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "app":
        from exacto_plugin.litellm_hooks.proxy import proxy_app

        return proxy_app()
    raise AttributeError(name)

"""The version of the LiteLLM that is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def litellm_version() -> str:
    """LiteLLM's version, or ``unknown``."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "unknown"

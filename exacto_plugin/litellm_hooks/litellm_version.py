"""The version of the installed LiteLLM."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def litellm_version() -> str:
    """Return LiteLLM's version, or ``unknown``."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "unknown"

"""Lines of the smoke whose feature is off with a version of LiteLLM, and says so.

The table only shrinks: a line that is off without being listed here fails the run.
"""

from __future__ import annotations

from typing import Final

KNOWN_OFF: Final[dict[str, frozenset[str]]] = {}
"""By minor release."""


def known_off(version: str) -> frozenset[str]:
    """The lines that may be off with a version."""
    return KNOWN_OFF.get(".".join(version.split(".")[:2]), frozenset())

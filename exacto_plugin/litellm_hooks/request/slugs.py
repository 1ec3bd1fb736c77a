"""The names that a client requested: slugs of the plugin, and fallbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exacto_plugin.core.routing.policy import Slug

Listed = Mapping[tuple[str, str | None], str]
"""Model and suffixes of an entry, to the entry as the client wrote it; suffixes are None where LiteLLM has the entry as
it was written."""


@dataclass(slots=True)
class Slugs:
    """The names in one request."""

    slug: Slug | None = None
    """Client's slug when it carried one of the plugin's suffixes."""
    requested: str = ""
    """Model as the client wrote it, when it carried one of the suffixes."""
    listed: Listed = field(default_factory=dict)
    """Entries of the client's own ``models`` and ``fallbacks``."""
    batch: Mapping[str, list[Slug]] | None = None
    """Slugs of each model in LiteLLM's comma-separated form.

    Each model gets a state of its own.
    """


@dataclass(slots=True)
class FallbackState:
    """The fallbacks of one request.

    The entries are used where LiteLLM does not pass their fields to the filter hook.
    """

    has_own: bool = False
    """True when the request carries fallbacks of its own."""
    entry: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the current fallback entry."""
    followed: list[Mapping[str, Any]] = field(default_factory=list)
    """Fallback entries followed so far."""
    first: str = ""
    """Model group of the first selection."""
    refusals: int = 0
    """Refusals before the newest selection."""

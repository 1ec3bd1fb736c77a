"""Lines of the smoke whose feature is off with a version of LiteLLM, and says so.

The table only shrinks: a line that is off without being listed here fails the run.
"""

from __future__ import annotations

from typing import Final

_WITH_RUST: Final = frozenset(
    {
        "proxy/headers",
        "proxy/floor",
        "proxy/sort-price",
        "proxy/sort-throughput",
        "proxy/models",
        "proxy/failover",
        "proxy/rescue-chat",
        "proxy/rescue-chat-stream",
        "proxy/rescue-responses",
        "proxy/rescue-responses-stream",
        "proxy/rescue-messages",
        "proxy/rescue-messages-stream",
        "proxy/tiers",
        "proxy/affinity",
        "proxy/aliases",
        "async/floor",
        "async/sort-price",
        "async/failover",
        "async/rescue-chat",
        "async/rescue-chat-stream",
        "async/tiers",
        "sync/exacto",
        "sync/floor",
        "sync/sort-price",
        "sync/only",
        "sync/malformed-400",
        "sync/failover",
        "sync/rescue-chat",
        "sync/rescue-chat-stream",
        "sync/tiers",
        "sync/evidence",
    }
)

KNOWN_OFF: Final[dict[str, frozenset[str]]] = {"1.110": _WITH_RUST}
"""By minor release."""


def known_off(version: str) -> frozenset[str]:
    """The lines that may be off with a version."""
    return KNOWN_OFF.get(".".join(version.split(".")[:2]), frozenset())

"""The model groups of the proxy that the tests of rescue share, and how their first and second deployment behave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.demo.behaviour import Act

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.support.proxy.openai_client import Reply

GROUPS = (
    "whole", "streamed", "responses", "messages", "vain", "left", "cooled", "slow", "counted", "limited", "tokens",
    "off", "observed", "pinned", "crowd", "untouched", "broken", "said", "talk", "budget",
)  # fmt: skip
STREAMED = {
    "native": "openai/native",
    "translated": "deepinfra/translated",
    "claude": "anthropic/claude-sonnet-4-5",
}
"""Groups whose providers LiteLLM asks in the client's own form, or in another, on one surface or the other."""
BAD = (Act.INVALID_JSON, Act.UNKNOWN_NAME, Act.SCHEMA_MISMATCH, Act.MISSING_CALL)
EXTRA_S = 2
"""The proxy's ``max_extra_seconds``."""


def behave(providers: SimulatedProviders, group: str, first: Any, second: Any = Act.VALID, **more: Any) -> None:
    """What the two deployments of a group always do."""
    for level, act in ((1, first), (2, second)):
        providers.control.behave(f"{group}-{level}", always=act, **more)


def rescued(reply: Reply) -> str | None:
    """Whose bad answer was replaced."""
    return reply.headers.get("x-exacto-rescued")

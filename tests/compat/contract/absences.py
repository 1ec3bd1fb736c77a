"""Names of LiteLLM that a version may lack: since when or until when, and the reason in LiteLLM's source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from packaging.version import Version

_RUST: Final = "the loop of attempts is in Rust (litellm/router_rust/core.py)"


@dataclass(frozen=True, slots=True)
class Absence:
    """A name that some versions lack.

    Args:
        reason: in LiteLLM's source.
        since: first version without it.
        until: first version with it.
    """

    reason: str
    since: str = ""
    until: str = ""

    def covers(self, version: Version) -> bool:
        """Whether a version is one of those; candidates for a release count as the release."""
        release = Version(version.base_version)
        if self.since and release < Version(self.since):
            return False
        return not self.until or release < Version(self.until)


_FACADE: Final = "only the facade of 1.109 has a core in Python behind it (litellm/router_python_core.py)"
_NO_SUCH: Final = "Router.factory_function makes no such method before 1.110"
_VIEWS: Final = "the entry points of a router came with its facade (litellm/router_api.py)"
_COMPILED: Final = "the loop of attempts is in Python before 1.110 (litellm/router.py)"

ABSENCES: Final[dict[str, tuple[Absence, ...]]] = {
    "litellm.router_python_core": (Absence(_FACADE, until="1.109"), Absence(_RUST, since="1.110")),
    "Router._core_public": (Absence(_FACADE, until="1.109"), Absence(_RUST, since="1.110")),
    **{f"Router.{name}": (Absence(_NO_SUCH, until="1.110"),) for name in ("rerank", "speech", "transcription")},
    **{
        name: (Absence(_RUST, since="1.110"),)
        for name in (
            "Router._aanthropic_messages_streaming_iterator (patched)",
            "Router._acompletion_streaming_iterator (patched)",
            "Router._aresponses_streaming_iterator (patched)",
            "Router._completion_streaming_iterator (patched)",
            "Router._filter_blocked_deployments (patched)",
            "Router._filter_by_routing_plugin_candidates (patched)",
            "Router._get_routing_context",
            "Router.async_function_with_fallbacks",
            "Router.function_with_fallbacks",
            "Router.get_available_deployment (patched)",
            "Router.make_call (patched)",
            "Router.should_retry_this_error (patched)",
            "litellm.router.increment_deployment_failures_for_current_minute",
            "litellm.router.set_cooldown_deployments",
        )
    },
    **{
        name: (Absence(_VIEWS, until="1.109"),)
        for name in (
            "Router.apply",
            "Router.health",
            "Router.registry",
            "Router.select",
            "Router.settings",
            "litellm.router_api.ChangeSet",
        )
    },
    "litellm.router_rust.core": (Absence(_COMPILED, until="1.110"),),
}


def absent_on(version: Version) -> dict[str, str]:
    """The names that a version may lack, each with the reason."""
    found = ((name, one) for name, every in ABSENCES.items() for one in every if one.covers(version))
    return {name: one.reason for name, one in found}

"""The words of alerts, and their links."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from exacto_plugin.core.model import Tier
from exacto_plugin.litellm_hooks.monitoring.alert_conditions import FLAPS, AlertKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Reason
    from exacto_plugin.litellm_hooks.monitoring.alert_conditions import Watched

_URGENT = frozenset({AlertKind.NO_VERIFIED, AlertKind.CURATED, AlertKind.STALE, AlertKind.FEATURE_OFF})
OF_DEPLOYMENTS = frozenset(
    {AlertKind.DERANK, AlertKind.READMISSION, AlertKind.TOKEN_BURN, AlertKind.FLAPPING},
)
"""The kinds whose name is a deployment."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. Holds names that an operator configured, and numbers."""

    kind: AlertKind
    model_group: str
    name: str
    """A deployment or a feature; empty for a whole model group."""
    message: str
    link: str
    """Of the plugin's page; empty where the proxy's address is not known."""

    @property
    def level(self) -> str:
        """LiteLLM's level: ``Medium``, or ``High`` where requests may suffer."""
        return "High" if self.kind in _URGENT else "Medium"


def sentence(kind: AlertKind, watched: Watched, off: Mapping[str, str], cause: Reason | None) -> str:
    """Return the sentence of an alert.

    Args:
        kind: of the alert.
        watched: the new state.
        off: feature -> reason why it is off.
        cause: the common cause of the model group.
    """
    name, group = watched.name, watched.model_group
    if kind is AlertKind.READMISSION:
        now = "verified good" if watched.state == Tier.VERIFIED_GOOD else "measured again"
        return f"{name} of {group} is no longer deranked, but {now}."
    if kind is AlertKind.COMMON_CAUSE:
        rise, many = (0.0, 0) if cause is None else (cause.value or 0.0, cause.peers or 0)
        return (
            f"The failure rate of {many} deployments of {group} rose by {rise:.1%} in the same minutes. Held against"
            " none of them: look for a change of a client, a template or a tool."
        )
    return {
        AlertKind.DERANK: f"{name} of {group} is deranked.",
        AlertKind.NO_VERIFIED: f"No deployment of {group} is verified good any more.",
        AlertKind.CURATED: f"The curated list of {group} no longer holds: no deployment that is not deranked"
        f" for {watched.detail}.",
        AlertKind.TOKEN_BURN: f"{name} of {group} takes {watched.detail}. No tier follows from it.",
        AlertKind.STALE: f"The verdicts on {group} are {watched.detail}.",
        AlertKind.FEATURE_OFF: f"The feature {name} of exacto_plugin is off: {off.get(name, 'unknown reason')}.",
        AlertKind.FLAPPING: f"{name} of {group} changed its tier more than {FLAPS} times within an hour.",
    }[kind]


def link_to(model_group: str, deployment: str) -> str:
    """Return the address of the plugin's page.

    Below LiteLLM's ``PROXY_BASE_URL``; empty without that variable.
    """
    base = os.environ.get("PROXY_BASE_URL", "")
    if urlsplit(base).scheme not in ("http", "https"):
        return ""
    place = ""
    if deployment:
        place = f"#deployment?{urlencode({'group': model_group, 'name': deployment})}"
    elif model_group:
        place = f"#group?{urlencode({'name': model_group})}"
    return f"{base.rstrip('/')}/exacto{place}"

"""Which of the plugin's features work with the LiteLLM that is installed, and why the others do not.

A feature is off when something of LiteLLM's that it needs is not there. Each gap is said in the start line, in
``/exacto/api/status``, and to programs by ``Exacto.features``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Feature(StrEnum):
    """What users know the plugin's parts by."""

    TIERS = "tiers"
    SORTS = "sorts"
    FILTERS = "filters"
    FAILOVER = "failover"
    RESCUE = "rescue"
    RESCUE_STREAMS = "rescue_streams"
    AFFINITY = "affinity"
    SYNC = "sync"
    ALIASES = "aliases"
    SCORING = "scoring"


@dataclass(frozen=True, slots=True)
class Gap:
    """Something of LiteLLM's that is not there, and what is off because of it."""

    missing: str
    """LiteLLM's name of it."""
    features: tuple[Feature, ...]
    """Off without it; empty when only a detail of one is lost."""
    effect: str
    """What happens instead, as a clause."""


class Features:
    """The state of every feature in this process.

    Args:
        litellm_version: as installed.
        remedy: what a user can do about a feature that is off.
    """

    def __init__(self, litellm_version: str, remedy: str) -> None:
        self._version = litellm_version
        self._remedy = remedy
        self._gaps: list[Gap] = []

    def lose(self, gaps: Iterable[Gap]) -> None:
        """Note what this LiteLLM lacks."""
        self._gaps += gaps

    @property
    def missing(self) -> list[str]:
        """LiteLLM's names of everything that is not there."""
        return [gap.missing for gap in self._gaps]

    @property
    def off(self) -> dict[Feature, str]:
        """The features that are off, each with the reason."""
        reasons: dict[Feature, str] = {}
        for gap in self._gaps:
            for feature in gap.features:
                reasons.setdefault(feature, f"LiteLLM {self._version} lacks {gap.missing}: {gap.effect}")
        return {feature: reasons[feature] for feature in Feature if feature in reasons}

    def has(self, feature: Feature) -> bool:
        """Whether a feature works."""
        return not any(feature in gap.features for gap in self._gaps)

    def view(self) -> dict[str, dict[str, Any]]:
        """Feature -> ``{on, reason, remedy}``; the last two are None for a feature that is on."""
        off = self.off
        return {
            feature.value: {
                "on": feature not in off,
                "reason": off.get(feature),
                "remedy": self._remedy if feature in off else None,
            }
            for feature in Feature
        }

    def line(self) -> str:
        """The features that are off in one clause; ``all features on`` when there are none."""
        off = self.off
        return f"OFF: {', '.join(off)} (/exacto/api/status tells why)" if off else "all features on"

    def warnings(self) -> list[str]:
        """One line for each gap, for the log."""
        return [
            f"LiteLLM {self._version} lacks {gap.missing}: {gap.effect}"
            + (f"; off: {', '.join(gap.features)}" if gap.features else "")
            for gap in self._gaps
        ]

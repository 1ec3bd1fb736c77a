"""The plugin's features: on or off with the installed LiteLLM, and the reason.

A feature is off when a part of LiteLLM that it needs is missing. Each gap is reported in the start line, in
``/exacto/api/status``, and to programs by ``Exacto.features``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

logger = logging.getLogger("exacto_plugin")

REMEDY = "use a LiteLLM version that the plugin was tried with (docs/compatibility.md), or a newer exacto-plugin"
"""The advice to a user about a feature that is off."""


UNSCORED_RUN: Final = 100
"""Answers in a row without a scored one after which a surface counts as not scored.
Log events follow their answers, so a burst of concurrent answers may leave before the first is scored."""


class Feature(StrEnum):
    """The parts of the plugin, under the names that users see."""

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
    """A missing part of LiteLLM, and the features that are off without it."""

    missing: str
    """LiteLLM's name of it."""
    features: tuple[Feature, ...]
    """The features that are off without it; empty if only a detail of one is lost."""
    effect: str
    """The behaviour without it, as a clause."""


class Features:
    """The state of every feature in this process.

    Args:
        litellm_version: of the installed LiteLLM.
        remedy: the advice to a user about a feature that is off.
    """

    def __init__(self, litellm_version: str, remedy: str) -> None:
        self.litellm_version = litellm_version
        self._remedy = remedy
        self._gaps: list[Gap] = []

    def lose(self, gaps: Iterable[Gap]) -> None:
        """Add parts that this LiteLLM lacks."""
        self._gaps += gaps

    def regain(self, gap: Gap) -> None:
        """Remove a part that is there again."""
        if gap in self._gaps:
            self._gaps.remove(gap)

    @property
    def missing(self) -> list[str]:
        """LiteLLM's names of every missing part."""
        return [gap.missing for gap in self._gaps]

    @property
    def off(self) -> dict[Feature, str]:
        """The features that are off, each with the reason."""
        reasons: dict[Feature, str] = {}
        for gap in self._gaps:
            for feature in gap.features:
                reasons.setdefault(feature, f"LiteLLM {self.litellm_version} lacks {gap.missing}: {gap.effect}")
        return {feature: reasons[feature] for feature in Feature if feature in reasons}

    def has(self, feature: Feature) -> bool:
        """Return whether a feature is on."""
        return not any(feature in gap.features for gap in self._gaps)

    def view(self) -> dict[str, dict[str, Any]]:
        """Return feature -> ``{on, reason, remedy}``.

        The last two are None for a feature that is on.
        """
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
        """Return the features that are off as one clause, or ``all features on``."""
        off = self.off
        return f"OFF: {', '.join(off)} (reasons: /exacto/api/status)" if off else "all features on"

    def warnings(self) -> list[str]:
        """Return one line for each gap, for the log."""
        return [
            f"LiteLLM {self.litellm_version} lacks {gap.missing}: {gap.effect}"
            + (f"; off: {', '.join(gap.features)}" if gap.features else "")
            for gap in self._gaps
        ]


class AnswerCoverage:
    """Answers with tools that left for clients, and those that were scored.

    LiteLLM moves its surfaces into compiled code one after the other. Where the log events of one no longer reach the
    plugin, its answers leave as before, but none is scored. One per process.

    Args:
        features: get a gap for a surface that is not scored, until an answer of it is.
        count: called with the surface, and whether an answer was scored (else it left).
    """

    def __init__(self, features: Features, count: Callable[[str, bool], None]) -> None:
        self._features = features
        self._count = count
        self._left: dict[str, int] = {}
        self._scored: dict[str, int] = {}
        self._run: dict[str, int] = {}
        self._gaps: dict[str, Gap] = {}

    def left(self, surface: str) -> None:
        """Count an answer with tools that LiteLLM gave to a client."""
        self._left[surface] = self._left.get(surface, 0) + 1
        self._run[surface] = self._run.get(surface, 0) + 1
        self._count(surface, False)
        if self._run[surface] == UNSCORED_RUN:
            self._lose(surface)

    def scored(self, surface: str) -> None:
        """Count an answer with tools whose log event arrived."""
        self._scored[surface] = self._scored.get(surface, 0) + 1
        self._run[surface] = 0
        self._count(surface, True)
        if (gap := self._gaps.pop(surface, None)) is not None:
            self._features.regain(gap)

    def view(self) -> dict[str, dict[str, int]]:
        """Return surface -> ``{left, scored}``."""
        return {name: {"left": number, "scored": self._scored.get(name, 0)} for name, number in self._left.items()}

    def _lose(self, surface: str) -> None:
        effect = f"none of {UNSCORED_RUN} answers with tools in a row was scored"
        gap = self._gaps[surface] = Gap(f"log events of the surface {surface!r}", (Feature.SCORING,), effect)
        self._features.lose([gap])
        logger.warning(self._features.warnings()[-1])


def litellm_version() -> str:
    """Return LiteLLM's version, or ``unknown``."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "unknown"

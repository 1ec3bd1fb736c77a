"""Answers with tools that left for clients, and those of them that were scored.

LiteLLM moves its surfaces into compiled code one after the other. Where a surface's log events no longer reach the
plugin, its answers leave as before, but none is scored.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from exacto_plugin.litellm_hooks.features import Feature, Gap

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.litellm_hooks.features import Features

logger = logging.getLogger("exacto_plugin")

UNSCORED_RUN: Final = 100
"""Answers in a row without a scored one after which a surface counts as not scored.
Log events follow their answers, so a burst of concurrent answers may leave before the first is scored."""

_ENDS: Final = (("/chat/completions", "chat"), ("/responses", "responses"), ("/messages", "messages"))


def surface_of(path: str) -> str:
    """Return the surface of a request's path; empty for one whose answers have no calls."""
    return next((name for end, name in _ENDS if path.rstrip("/").endswith(end)), "")


class AnswerCoverage:
    """The counts of one process, by surface.

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

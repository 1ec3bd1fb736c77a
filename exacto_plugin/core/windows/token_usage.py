"""How many tokens a request takes at each deployment: running averages, by which token limits become request limits.

Averages of the latest hours, in memory only. What a limit is and what follows from it is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from exacto_plugin.core.model import Sample

HALF_LIFE_S = 3600.0
"""Time after which an answer counts half: limits are per minute and demand is measured over an hour."""

KNOWN_FROM = 5.0
"""Answers, by their weight, from which an average is known; fewer limit nobody."""


class Tokens(NamedTuple):
    """Mean tokens of a request."""

    input: float
    output: float


class TokenUsage:
    """Average tokens by model group and deployment."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[float, float, float, float]] = {}
        """Time of the latest answer, then the decayed sums: answers, input tokens, output tokens."""

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, sample: Sample) -> None:
        """Count an answer; one that says nothing about tokens is left out."""
        if not sample.ok or sample.input_tokens + sample.output_tokens <= 0:
            return
        key = (sample.model_group, sample.deployment)
        at, answers, given, got = self._sums.get(key, (sample.at, 0.0, 0.0, 0.0))
        kept = 0.5 ** (max(0.0, sample.at - at) / HALF_LIFE_S)
        self._sums[key] = (
            max(at, sample.at),
            answers * kept + 1.0,
            given * kept + sample.input_tokens,
            got * kept + sample.output_tokens,
        )

    def average(self, model_group: str, deployment: str) -> Tokens | None:
        """Tokens of a request to a deployment; None while too few answers told."""
        _, answers, given, got = self._sums.get((model_group, deployment), (0.0, 0.0, 0.0, 0.0))
        return Tokens(given / answers, got / answers) if answers >= KNOWN_FROM else None

    def retain(self, served: Collection[tuple[str, str]]) -> None:
        """Forget all but these model groups' deployments."""
        self._sums = {key: sums for key, sums in self._sums.items() if key in served}

"""Running averages of tokens per request, by deployment.

Averages of the latest hours, in memory only. They convert limits of tokens into limits of requests; the limits
themselves are not part of this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from exacto_plugin.core.model import DeploymentKey, Sample

HALF_LIFE_S = 3600.0
"""Half-life of an answer's weight: limits are per minute, and demand is
measured over an hour."""

KNOWN_FROM = 5.0
"""Sum of the answers' weights from which an average is known; below it, no
limit applies."""


class Tokens(NamedTuple):
    """Mean tokens of a request."""

    input: float
    output: float


class TokenUsage:
    """Average tokens by model group and deployment."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[tuple[str, DeploymentKey], tuple[float, float, float, float]] = {}
        """Time of the latest answer, then decayed sums of answers, input and output
        tokens."""

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, sample: Sample) -> None:
        """Count an answer; answers without token counts are left out."""
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

    def average(self, model_group: str, deployment: DeploymentKey) -> Tokens | None:
        """Return the mean tokens of a request; None while there are too few answers."""
        _, answers, given, got = self._sums.get((model_group, deployment), (0.0, 0.0, 0.0, 0.0))
        return Tokens(given / answers, got / answers) if answers >= KNOWN_FROM else None

    def retain(self, served: Collection[tuple[str, DeploymentKey]]) -> None:
        """Drop all deployments except the ``served`` ones."""
        self._sums = {key: sums for key, sums in self._sums.items() if key in served}

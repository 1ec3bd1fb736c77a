"""Rate limits that providers report with their answers, by deployment.

The latest limit of each LiteLLM deployment (an account of its own) counts for an hour. In memory only, of the answers
of one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from exacto_plugin.core.model import Candidate, DeploymentKey

VALID_S = 3600.0
"""Seconds for which a reported limit counts; providers report it with every answer."""


class ReportedLimits:
    """Requests a minute by model group, deployment and LiteLLM deployment.

    >>> from exacto_plugin.core.model import Candidate
    >>> limits = ReportedLimits()
    >>> limits.note("g", Candidate("one account", "a"), 40.0, 0.0)
    >>> limits.note("g", Candidate("another", "a"), 20.0, 3000.0)
    >>> limits.total("g", "a", 3600.0), limits.total("g", "a", 3601.0), limits.total("g", "b", 0.0)
    (60.0, 20.0, None)
    """

    __slots__ = ("_limits",)

    def __init__(self) -> None:
        self._limits: dict[tuple[str, DeploymentKey], dict[str, tuple[float, float]]] = {}
        """Limit and time of the report, by LiteLLM id."""

    def __len__(self) -> int:
        return len(self._limits)

    def note(self, model_group: str, candidate: Candidate, limit: float, at: float) -> None:
        """Set the limit of a LiteLLM deployment as of a time in UTC seconds."""
        self._limits.setdefault((model_group, candidate.key), {})[candidate.id] = (limit, at)

    def total(self, model_group: str, deployment: DeploymentKey, now: float) -> float | None:
        """Return the sum over a deployment's accounts; None without a report."""
        found = self._limits.get((model_group, deployment), {}).values()
        valid = [limit for limit, at in found if now - at <= VALID_S]
        return sum(valid) if valid else None

    def retain(self, served: Collection[tuple[str, DeploymentKey]], now: float) -> None:
        """Drop all deployments except the ``served`` ones, and what is too old."""
        kept = {key: accounts for key, accounts in self._limits.items() if key in served}
        valid = {
            key: {account: told for account, told in accounts.items() if now - told[1] <= VALID_S}
            for key, accounts in kept.items()
        }
        self._limits = {key: accounts for key, accounts in valid.items() if accounts}

"""The providers of deployments, for metrics and records."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Candidate


class Providers:
    """The provider of each deployment that a router has or that answered lately.

    Metrics are read in threads of their own: the mapping is replaced, never emptied in place.
    """

    def __init__(self) -> None:
        self._by_deployment: dict[str, str] = {}

    @property
    def by_deployment(self) -> Mapping[str, str]:
        """Deployment key -> provider."""
        return self._by_deployment

    def note(self, candidate: Candidate) -> None:
        """Add the provider of a deployment that answered."""
        self._by_deployment[candidate.key] = candidate.provider

    def replace(self, by_deployment: dict[str, str]) -> None:
        """Keep these only: removed deployments are forgotten."""
        self._by_deployment = by_deployment

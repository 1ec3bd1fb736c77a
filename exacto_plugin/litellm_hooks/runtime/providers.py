"""The providers of deployments, for metrics and records."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Candidate


class Providers:
    """The provider of each deployment that a router has or that answered lately.

    Thread-safe. Metrics are read in threads of their own: the mapping is replaced, never emptied in place.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_deployment: dict[str, str] = {}
        self._noted = 0
        self._noted_at: dict[str, int] = {}

    @property
    def by_deployment(self) -> Mapping[str, str]:
        """Deployment key -> provider."""
        return self._by_deployment

    @property
    def noted(self) -> int:
        """Answers noted so far, for ``replace``."""
        return self._noted

    def note(self, candidate: Candidate) -> None:
        """Add the provider of a deployment that answered."""
        with self._lock:
            self._noted += 1
            self._noted_at[candidate.key] = self._noted
            self._by_deployment[candidate.key] = candidate.provider

    def replace(self, by_deployment: Mapping[str, str], noted: int) -> None:
        """Keep these and those that answered since: removed deployments are forgotten.

        Args:
            by_deployment: deployment key -> provider.
            noted: the value of ``noted`` before ``by_deployment`` was collected.
        """
        with self._lock:
            self._noted_at = {key: at for key, at in self._noted_at.items() if at > noted}
            self._by_deployment = {**by_deployment, **{key: self._by_deployment[key] for key in self._noted_at}}

"""Direct calls of a program without a router, such as ``litellm.completion``.

They are compared by model as a router's deployments are. They are not routed, and the proxy has none.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exacto_plugin.core.model import DeploymentKey

CAPACITY = 1_000
"""Most deployments that are remembered.

A program that calls more of them is not choosing among providers.
"""


class DirectCalls:
    """Deployments of direct calls by model, for their retention time. Thread-safe.

    Args:
        keep_s: seconds after its last call for which a deployment is remembered.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._called: dict[tuple[str, DeploymentKey], float] = {}

    def add(self, model: str, deployment: DeploymentKey, at: float) -> None:
        """Add one answer; beyond ``CAPACITY`` new deployments are ignored."""
        called = (model, deployment)
        with self._lock:
            if called in self._called or len(self._called) < CAPACITY:
                self._called[called] = at

    def of(self, model: str) -> tuple[DeploymentKey, ...]:
        """Return the deployments of a model."""
        with self._lock:
            return tuple(deployment for named, deployment in self._called if named == model)

    def drop_expired(self, now: float) -> None:
        """Remove deployments that were not called within the retention time."""
        with self._lock:
            self._called = {called: at for called, at in self._called.items() if now - at < self._keep_s}

"""What a program calls without a router: ``litellm.completion`` and the like, compared by model as a router's
deployments are. Nothing is routed there; on the proxy there is no such thing.
"""

from __future__ import annotations

import threading

CAPACITY = 1_000
"""Deployments that are remembered; a program that names more of them than that is not choosing among providers."""


class DirectCalls:
    """Deployments of direct calls by model, each until nobody has called it for a while. May be used from any thread.

    Args:
        keep_s: how long one that is not called is remembered.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._called: dict[tuple[str, str], float] = {}

    def add(self, model: str, deployment: str, at: float) -> None:
        """One answer; beyond ``CAPACITY`` new deployments are left out."""
        called = (model, deployment)
        with self._lock:
            if called in self._called or len(self._called) < CAPACITY:
                self._called[called] = at

    def of(self, model: str) -> tuple[str, ...]:
        """The deployments of a model."""
        with self._lock:
            return tuple(deployment for named, deployment in self._called if named == model)

    def drop_expired(self, now: float) -> None:
        """Leave out what was not called for too long."""
        with self._lock:
            self._called = {called: at for called, at in self._called.items() if now - at < self._keep_s}

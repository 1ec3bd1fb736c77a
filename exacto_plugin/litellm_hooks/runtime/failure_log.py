"""The latest bad answers of each deployment, in memory.

Of each its kind, schema path and request.

Holds no argument and no tool name. One per process; what other workers saw is not here.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.core.model import DeploymentKey

KEPT = 50
"""Bad answers that are kept of a deployment."""

DEPLOYMENTS = 2_000
"""Deployments with bad answers that are kept; about 10 kB each."""

_PLACED_EVERY_S = 1.0
"""Seconds between two answers of a deployment whose schema path is looked for, as that costs a second validation."""


class Failure(NamedTuple):
    """One bad answer."""

    at: float
    kind: str
    """A bad outcome, or ``lost``."""
    path: str
    """Place of a mismatch in the tool's schema, as ``/guests#minimum``; empty where it was not looked for."""
    request: str
    """Decision id; empty for a call without one."""


class FailureLog:
    """The bad answers of one process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[tuple[str, str], deque[Failure]] = LRUCache(DEPLOYMENTS)
        self._placed: LRUCache[tuple[str, str], float] = LRUCache(DEPLOYMENTS)

    def note(
        self, at: float, model_group: str, deployment: DeploymentKey, kind: str, request: str, locate: Callable[[], str]
    ) -> None:
        """Keep one bad answer.

        Args:
            at: UTC seconds.
            model_group: of the request.
            deployment: that answered.
            kind: a bad outcome, or ``lost``.
            request: decision id of the request.
            locate: returns the schema path; called at most once a second for a deployment.
        """
        key = (model_group, deployment)
        with self._lock:
            looks = abs(at - self._placed.get(key, -_PLACED_EVERY_S)) >= _PLACED_EVERY_S
            if looks:
                self._placed[key] = at
        path = locate() if looks else ""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = deque(maxlen=KEPT)
            self._kept[key].append(Failure(at, kind, path, request))

    def of(self, model_group: str, deployment: str) -> list[Failure]:
        """Return the bad answers of a deployment, newest first."""
        with self._lock:
            return list(self._kept.get((model_group, deployment), ()))[::-1]

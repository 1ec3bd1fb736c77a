"""Increments recorded since the last take, for storing or sharing.

A delta is an increment to the windows of one deployment for one minute. Increments commute, so they can be applied in
any order. The number of deltas is bounded: the oldest are dropped unless they are taken in time. Thread-safe.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.minute_buffer import CELLS, MINUTE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.windows.increments import Increments

CAPACITY = 100_000
"""Largest number of deltas: an hour of 1,600 busy deployments, about 100 MB."""

INVENTED = 10_000
"""Largest number of deltas of names that requests invented."""

Key = tuple[str, DeploymentKey, int]
"""Model group, deployment, minute."""


class Delta(NamedTuple):
    """Increments of one deployment in one minute."""

    model_group: str
    deployment: DeploymentKey
    minute: int
    """Minutes since the epoch."""
    counts: Mapping[int, int]
    """Increment by counter ``CounterKind``."""
    cells: Mapping[int, int]
    """Increment by cell ``kind * BINS + bin``."""

    @property
    def samples(self) -> int:
        """Number of answers and failed attempts."""
        return self.counts.get(CounterKind.ANSWERED, 0) + self.counts.get(CounterKind.FAILED, 0)

    def known(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the counts and cells that this version knows."""
        counts = {column: count for column, count in self.counts.items() if column < len(CounterKind)}
        return counts, {cell: count for cell, count in self.cells.items() if cell < CELLS}


class Deltas:
    """Deltas that were recorded and not taken yet.

    Args:
        capacity: largest number of deltas.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._pending: dict[Key, tuple[dict[int, int], dict[int, int]]] = {}
        self._invented: dict[Key, tuple[dict[int, int], dict[int, int]]] = {}
        self.dropped = 0
        """Samples that were dropped because they were not taken in time."""

    def __len__(self) -> int:
        """Return the number of pending deltas."""
        return len(self._pending) + len(self._invented)

    def add(
        self, model_group: str, deployment: DeploymentKey, at: float, tally: Increments, *, invented: bool = False
    ) -> None:
        """Add the increments of one sample at a time in UTC seconds.

        Invented names, those of requests, have a bound of their own, so that they push out no others.
        """
        key = (model_group, deployment, int(at // MINUTE_S))
        with self._lock:
            pending, capacity = (self._invented, INVENTED) if invented else (self._pending, self._capacity)
            found = pending.get(key)
            if found is None:
                found = pending[key] = ({}, {})
                self._drop_oldest(pending, capacity)
            counts, cells = found
            for column in tally.counts:
                counts[column] = counts.get(column, 0) + 1
            for cell in tally.cells:
                cells[cell] = cells.get(cell, 0) + 1

    def take(self) -> list[Delta]:
        """Remove and return all pending deltas, oldest first; invented names last."""
        with self._lock:
            held = [*self._pending.items(), *self._invented.items()]
            self._pending, self._invented = {}, {}
        return [Delta(*key, counts, cells) for key, (counts, cells) in held]

    def _drop_oldest(self, pending: dict[Key, tuple[dict[int, int], dict[int, int]]], capacity: int) -> None:
        while len(pending) > capacity:
            key = next(iter(pending))
            counts, cells = pending.pop(key)
            self.dropped += Delta(*key, counts, cells).samples

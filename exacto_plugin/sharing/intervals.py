"""The intervals of a replica's steps."""

from __future__ import annotations

from typing import NamedTuple

PUSH_S = 2.0
"""Seconds between two pushes.

A killed process loses at most the samples of this time, and the leader's data are at most this old."""

SAVE_S = 60.0
"""Least seconds between two saved states; unsaved batches stay in the exchange."""


class ReplicaIntervals(NamedTuple):
    """The intervals of a replica's steps."""

    recompute_s: float
    push_s: float = PUSH_S
    save_s: float = SAVE_S

    @property
    def overdue_after_s(self) -> float:
        """Seconds that a result may be overdue before a process recomputes alone."""
        return max(3 * self.push_s, 0.1 * self.recompute_s)


def replica_intervals(recompute_s: float) -> ReplicaIntervals:
    """Return the intervals for an interval of recomputes: at least one push in each."""
    return ReplicaIntervals(recompute_s, min(PUSH_S, recompute_s))

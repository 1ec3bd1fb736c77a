"""Leave-one-out statistics of the deployments of a model group.

The last axis of every array runs over the deployments of a group; a mask marks the peers, that is the deployments with
enough data. One sort and a shift by one rank keep the cost at n log n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.stats.peers import MAD_TO_SD

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LeaveOneOut(NamedTuple):
    """Statistics of the other deployments, per deployment."""

    members: NDArray[np.int64]
    median: NDArray[np.float64]
    """NaN without others, as is ``deviation``."""
    deviation: NDArray[np.float64]
    """Their MAD as a standard deviation (times 1.4826)."""


class _Ranks:
    """Sorted values, one of which can be left out at a time."""

    def __init__(self, values: NDArray[np.float64], mask: NDArray[np.bool_]) -> None:
        filled = np.where(mask, values, np.inf)
        order = np.argsort(filled, axis=-1, kind="stable")
        # Indexing with the rows at hand is twice as fast as ``numpy.take_along_axis``.
        self._rows = np.ix_(*(np.arange(length) for length in order.shape))[:-1]
        self._sorted = filled[(*self._rows, order)]
        rank = np.empty_like(order)
        rank[(*self._rows, order)] = np.arange(order.shape[-1])
        members = mask.sum(axis=-1)[..., np.newaxis]
        self.rank = np.where(mask, rank, mask.shape[-1])
        self.count = members - mask

    def at(self, place: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the value with rank ``place`` among the others.

        NaN where there are fewer others.
        """
        shifted = place + (place >= self.rank)
        found = self._sorted[(*self._rows, np.minimum(shifted, self.rank.shape[-1] - 1))]
        return np.where((place < self.count) & (place >= 0), found, np.nan)

    def median(self) -> NDArray[np.float64]:
        """Return the median of the others."""
        return (self.at((self.count - 1) // 2) + self.at(self.count // 2)) / 2


def leave_one_out_median(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> LeaveOneOut:
    """Compute count, median and deviation of the others, for each deployment.

    >>> others = leave_one_out_median(np.array([1.0, 2.0, 3.0, 10.0]), np.ones(4, np.bool_))
    >>> others.median.tolist(), np.round(others.deviation, 2).tolist()
    ([3.0, 3.0, 2.0, 2.0], [1.48, 2.97, 1.48, 1.48])
    """
    ranks = _Ranks(values, mask)
    median = ranks.median()
    spread = np.full(values.shape, np.nan)
    # Without one value the median has one of few values, so the spread needs few sorts: one per distinct median. The
    # smallest and the largest one are sorted at once, as they are all where the others are odd in number.
    todo, members = ~np.isnan(median), np.where(mask, values, 0.0)
    while todo.any():
        least, most = np.where(todo, median, np.inf).min(axis=-1), np.where(todo, median, -np.inf).max(axis=-1)
        pivots = np.where(todo.any(axis=-1), np.stack([least, most]), 0.0)[..., np.newaxis]
        distance = np.abs(members - pivots)
        spreads = _Ranks(distance, np.broadcast_to(mask, distance.shape)).median()
        for pivot, found in zip(pivots, spreads, strict=True):
            same = todo & (median == pivot)
            spread = np.where(same, found, spread)
            todo &= ~same
    return LeaveOneOut(ranks.count, median, MAD_TO_SD * spread)


def leave_one_out_middle(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the median of the others only; NaN without others.

    >>> leave_one_out_middle(np.array([1.0, 2.0, 3.0, 10.0]), np.ones(4, np.bool_)).tolist()
    [3.0, 3.0, 2.0, 2.0]
    """
    return _Ranks(values, mask).median()


def leave_one_out_near_best(values: NDArray[np.float64], mask: NDArray[np.bool_], few: int) -> NDArray[np.float64]:
    """Return the second-lowest value of the others.

    The lowest if there are at most ``few`` others; NaN without others.
    """
    ranks = _Ranks(values, mask)
    return ranks.at(np.where(ranks.count <= few, 0, 1))

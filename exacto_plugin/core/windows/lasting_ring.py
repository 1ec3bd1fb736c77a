"""Ring of the few counters that are needed for longer than the others.

Tool calls of quiet model groups are remembered for a week. Only the counters that tell calls and bad calls are kept
that long, in coarse periods, so that the memory per deployment hardly grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.windows.counter_ring import CounterRing, SparseCounts
from exacto_plugin.core.windows.increments import FAULTS, CounterKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LASTING = (CounterKind.CALLED, *FAULTS, CounterKind.LOST, CounterKind.PINNED_CALLED, CounterKind.PINNED_FAULTY)
"""The counters that this ring keeps, ascending."""

_KEPT = np.array(LASTING, np.int64)
_PLACES = {int(kind): place for place, kind in enumerate(LASTING)}


class LastingRing(CounterRing):
    """Ring of the counters ``LASTING`` alone.

    Its callers name counters by ``CounterKind``. A counter that is not kept cannot be read: KeyError.
    """

    __slots__ = ("_finer_s",)

    def __init__(self, periods: tuple[int, int], finer_s: int, rows: int) -> None:
        super().__init__(*periods, len(LASTING), rows)
        self._finer_s = finer_s

    def add(self, periods: Sequence[int], now_period: int, counts: NDArray[np.int64]) -> list[bool]:
        """Add counts of all counters, ``[counter, period, row]``; see ``CounterRing``."""
        return super().add(periods, now_period, counts[_KEPT])

    def read(self, rows: NDArray[np.intp]) -> SparseCounts:
        """Return the counts of some rows; the keys are ``counter * all rows + row``."""
        found = super().read(rows)
        places, at = np.divmod(found.keys, self._data.shape[2])
        return found._replace(keys=_KEPT[places] * self._data.shape[2] + at)

    def counts_of(self, rings: Mapping[int, SparseCounts]) -> SparseCounts | None:
        """Return the counts for this ring among those of all rings, by width.

        A version without this ring wrote shorter periods only.
        """
        if self.width_s in rings or self._finer_s not in rings:
            return rings.get(self.width_s)
        return in_periods_of(self.width_s, self._finer_s, rings[self._finer_s])

    def add_counts(self, cells: SparseCounts) -> None:
        """Add counts with the keys of ``read``; those of other counters are left out."""
        kinds, at = np.divmod(cells.keys, self._data.shape[2])
        kept = np.isin(kinds, _KEPT)
        keys = np.searchsorted(_KEPT, kinds[kept]) * self._data.shape[2] + at[kept]
        super().add_counts(SparseCounts(cells.periods[kept], keys, cells.counts[kept]))

    def series(
        self, columns: Sequence[int], now: float, window_s: float, rows: NDArray[np.intp] | None = None
    ) -> NDArray[np.int64]:
        """Return counts per period; see ``CounterRing.series``."""
        return super().series([_PLACES[column] for column in columns], now, window_s, rows)

    def occupied(self, column: int, now: float, window_s: float, but_s: float = 0.0) -> NDArray[np.int64]:
        """Count the periods with a count above 0; see ``CounterRing.occupied``."""
        return super().occupied(_PLACES[column], now, window_s, but_s)

    def sums(self, columns: Sequence[int], now: float, window_s: float) -> NDArray[np.int64]:
        """Return counts over the window; see ``CounterRing.sums``."""
        return super().sums([_PLACES[column] for column in columns], now, window_s)


def in_periods_of(width_s: int, finer_s: int, cells: SparseCounts) -> SparseCounts:
    """Add up counts of periods of ``finer_s`` seconds.

    >>> finer = SparseCounts(np.array([0, 11, 12]), np.array([3, 3, 3]), np.array([1, 2, 4]))
    >>> [column.tolist() for column in in_periods_of(21_600, 1800, finer)]
    [[0, 1], [3, 3], [3, 4]]
    """
    both, places = np.unique(np.stack([cells.periods * finer_s // width_s, cells.keys]), axis=1, return_inverse=True)
    counts = np.zeros(both.shape[1], np.int64)
    np.add.at(counts, places.reshape(-1), cells.counts)
    return SparseCounts(both[0], both[1], counts)

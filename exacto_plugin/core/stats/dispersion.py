"""Dispersion of failure rates between periods; the design effect follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_MAX_DISPERSION = 25.0
"""Largest contribution of a pair of half-hours to the dispersion.
It prevents a single step from counting as clusters."""


def dispersion(calls: NDArray[np.int64], bad: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Compute the dispersion of rates between periods, and its pairs.

    Input is ``[period, row]``. Each squared change is in units of the variance of independent calls, so the mean over
    many pairs is the design effect. Neighbours are compared, not each with the mean: a step or a daily rhythm, which
    is no clustering, then affects one pair. (Measured three hours after one of 14 deployments broke from 1 % to 25 %:
    1.02 instead of 3.36.)

    >>> calls, bad = np.full((3, 1), 100), np.array([[10], [10], [20]])
    >>> [column.round(2).tolist() for column in dispersion(calls, bad)]
    [[4.33], [2.0]]
    """
    total = calls.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = bad.sum(axis=0) / total
        rates = bad / calls
        squared_change = (rates[1:] - rates[:-1]) ** 2 / (rate * (1 - rate) * (1 / calls[1:] + 1 / calls[:-1]))
    known = np.isfinite(squared_change)
    return np.minimum(np.where(known, squared_change, 0.0), _MAX_DISPERSION).sum(axis=0), known.sum(axis=0).astype(
        np.float64
    )


class CommonPeriods:
    """Half-hours in which a common cause raised the rates, by window block.

    A rise at all deployments in the same minutes is no clustering of one's own errors. Counted as such, half an hour in
    which 8 deployments fail 15 % raises the design effect from 1.05 to 1.8 for a day, so that breaks are found later
    (measured). Kept beside the latest event, since that is forgotten when the next one begins; not saved.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[int, Bools]] = {}

    def touched(self, number: int, begins: NDArray[np.int64], width_s: int, cause: tuple[Floats, Floats]) -> Bools:
        """Return the periods that a common cause touches, ``[period, row]``.

        Args:
            number: of the window block.
            begins: UTC seconds of ended periods, oldest first.
            width_s: seconds of a period.
            cause: begin and end of each row's latest event, NaN without one and while it lasts.

        >>> kept, begins, at = CommonPeriods(), np.array([0, 1800]), np.array([np.nan, 2000.0])
        >>> kept.touched(0, begins, 1800, (at, at + 100)).tolist()
        [[False, False], [False, True]]
        >>> kept.touched(0, begins + 1800, 1800, (at * np.nan, at * np.nan)).tolist()
        [[False, True], [False, False]]
        """
        found = (begins[:, np.newaxis] + width_s > cause[0]) & ~(begins[:, np.newaxis] >= cause[1])
        newest = int(begins[-1]) // width_s
        last, before = self._kept.get(number, (newest, found))
        if 0 <= (moved := newest - last) < len(found):
            found[: len(found) - moved] |= before[moved:]
        self._kept.pop(number, None)
        if found.any():
            self._kept[number] = newest, found
        return found

    def forget(self, number: int, row: int) -> None:
        """Erase a row."""
        if number in self._kept:
            self._kept[number][1][:, row] = False


def limited_dispersion(total: Floats, pairs: Floats, weight: Floats) -> Floats:
    """Return the dispersion with every caller limited.

    The part of failures that does not count is as if independent.

    >>> limited_dispersion(np.array([250.0]), np.array([10.0]), np.array([0.1])).tolist()
    [34.0]
    """
    return np.minimum(total, weight * total + (1 - weight) * pairs)

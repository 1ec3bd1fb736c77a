"""Picks to which tiers were applied, apart from those that were only observed.

Only an applied pick was sent elsewhere; of an observed one the report says what tiers would have done. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEAST_PICKS = 0.5
"""Picks from which some are on record of an earlier version; fewer are rounding errors of sums."""


class Picks(NamedTuple):
    """Expected picks, ``[hour, deployment]``."""

    with_tiers: Floats
    without: Floats

    @property
    def gained(self) -> Floats:
        """Picks that tiers add to a deployment; negative where they take away."""
        return self.with_tiers - self.without


def applied_picks(every: Picks, told: Picks, picks: Floats, applied: Floats) -> tuple[Picks, Picks]:
    """Return the picks to which tiers were applied, and the others.

    Records of earlier versions tell how many picks of an hour were applied, and not which: each has the same part.

    Args:
        every: all picks.
        told: those of them on record as applied.
        picks: of the model group, by hour.
        applied: those of them to which tiers were applied.

    >>> all_of, none = Picks(np.array([[8.0, 0.0]]), np.array([[4.0, 4.0]])), Picks(np.zeros((1, 2)), np.zeros((1, 2)))
    >>> applied_picks(all_of, none, np.array([8.0]), np.array([2.0]))[0].gained.tolist()
    [[1.0, -1.0]]
    """
    known = told.without.sum(axis=1)
    rest, missing = picks - known, applied - known
    unnamed = (rest >= _LEAST_PICKS) & (missing >= _LEAST_PICKS)
    part = np.divide(missing, rest, out=np.zeros(len(rest)), where=unnamed)[:, None]
    found = Picks(*(own + part * (whole - own) for own, whole in zip(told, every, strict=True)))
    return found, Picks(*(whole - own for own, whole in zip(found, every, strict=True)))

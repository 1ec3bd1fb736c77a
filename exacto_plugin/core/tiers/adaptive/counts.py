"""Calls and bad calls of deployments over a span of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Counts(NamedTuple):
    """Calls and bad calls, before division by the design effect.

    Every caller is already limited.
    """

    calls: Floats
    bad: Floats

    def rate(self) -> Floats:
        """Return the share of bad calls; NaN without calls.

        >>> Counts(np.array([40.0, 0.0]), np.array([2.0, 0.0])).rate().tolist()
        [0.05, nan]
        """
        rate = np.full(np.shape(self.calls), np.nan)
        np.divide(self.bad, self.calls, out=rate, where=self.calls > 0)
        return rate

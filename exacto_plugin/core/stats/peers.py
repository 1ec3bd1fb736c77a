"""What peers say about a signal: median, median absolute deviation and the threshold of an outlier.

Works on arrays whose last axis runs over the deployments of one model group, many groups at once, with a mask of
those that have enough data to take part. Which signal, window or tier is at stake is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAD_TO_SD = 1.4826
"""Makes the MAD of a normal distribution its standard deviation, 1 / (quantile 0.75 of the standard normal)."""

ROUNDING = 1e-9
"""A MAD below this share of the median is a rounding error of equal values, that is 0."""


class Peers(NamedTuple):
    """The reference of one signal, per model group."""

    members: NDArray[np.int64]
    """How many took part."""
    median: NDArray[np.float64]
    """NaN without peers."""
    mad: NDArray[np.float64]
    """Unscaled; NaN without peers."""


def masked_median(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The median along the last axis of the values inside the mask; NaN where there are none."""
    count = mask.sum(axis=-1)
    ordered = np.sort(np.where(mask, values, np.inf), axis=-1)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, values.shape[-1] - 1)
    middle = np.take_along_axis(ordered, np.stack([low, high], axis=-1), -1)
    return np.where(count > 0, middle.mean(axis=-1), np.nan)


def peers(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> Peers:
    """Count, median and MAD of the values inside the mask."""
    median = masked_median(values, mask)
    mad = masked_median(np.abs(values - median[..., np.newaxis]), mask)
    return Peers(mask.sum(axis=-1), median, np.where(mad <= ROUNDING * np.abs(median), 0.0, mad))


def lower_threshold(
    of: Peers, deviations: float, zero_mad_margin: NDArray[np.float64] | float, min_peers: int
) -> NDArray[np.float64]:
    """Median minus ``deviations`` standard deviations (``MAD_TO_SD`` times MAD); NaN with fewer than ``min_peers``.

    With MAD = 0, that is when more than half of the peers are equal, every difference however small would be an
    infinite number of deviations; there the threshold is the median minus ``zero_mad_margin`` (same unit).
    """
    margin = np.where(of.mad > 0, deviations * MAD_TO_SD * of.mad, zero_mad_margin)
    return np.where(of.members >= min_peers, of.median - margin, np.nan)

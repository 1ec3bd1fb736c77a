"""Median, MAD and outlier threshold of a signal among peers.

The last axis of every array runs over the deployments of one model group, for many groups at once; a mask marks the
deployments with enough data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAD_TO_SD = 1.4826
"""Factor from MAD to standard deviation of a normal distribution, 1 / (quantile
0.75 of the standard normal)."""

ROUNDING = 1e-9
"""A MAD below this share of the median is a rounding error of equal values and
counts as 0."""


class Peers(NamedTuple):
    """The reference of one signal, per model group."""

    members: NDArray[np.int64]
    """Number of deployments with enough data."""
    median: NDArray[np.float64]
    """NaN without peers."""
    mad: NDArray[np.float64]
    """Unscaled; NaN without peers."""


def masked_median(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the median of the values in the mask along the last axis.

    NaN where the mask is empty.
    """
    count = mask.sum(axis=-1)
    ordered = np.sort(np.where(mask, values, np.inf), axis=-1)
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, values.shape[-1] - 1)
    middle = np.take_along_axis(ordered, np.stack([low, high], axis=-1), -1)
    return np.where(count > 0, middle.mean(axis=-1), np.nan)


def peers(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> Peers:
    """Compute count, median and MAD of the values in the mask.

    >>> found = peers(np.array([60.0, 55.0, 50.0, 10.0]), np.array([True, True, True, True]))
    >>> int(found.members), float(found.median), float(found.mad)
    (4, 52.5, 5.0)
    """
    median = masked_median(values, mask)
    mad = masked_median(np.abs(values - median[..., np.newaxis]), mask)
    return Peers(mask.sum(axis=-1), median, np.where(mad <= ROUNDING * np.abs(median), 0.0, mad))


def lower_threshold(
    of: Peers, deviations: float, zero_mad_margin: NDArray[np.float64] | float, min_peers: int
) -> NDArray[np.float64]:
    """Compute the median minus ``deviations`` standard deviations.

    NaN with fewer than ``min_peers`` peers; the standard deviation is ``MAD_TO_SD`` times the MAD. With MAD = 0 (more
    than half of the peers are equal) any difference is an infinite number of deviations; the threshold is then the
    median minus ``zero_mad_margin`` (same unit).
    """
    margin = np.where(of.mad > 0, deviations * MAD_TO_SD * of.mad, zero_mad_margin)
    return np.where(of.members >= min_peers, of.median - margin, np.nan)

"""Log-spaced bins: how a speed or a latency becomes a small integer, and how bins become quantiles again.

A histogram over these bins is a mergeable sketch: adding the bins of two replicas gives the sketch of the union.
This module knows no time, no deployment and no rule.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA = 0.05
"""Relative accuracy of a bin. Measured: 3.8 % rms on a median of 2,000 speeds, below the 4 % sampling error of a
median over 200 answers, and a fifth of the bins that 1 % would need."""

BINS = 128
"""Bins of one histogram; a power of two so that a bin number is a bit field of a cell key."""

LOWEST = 0.02
"""Lower edge of bin 0: 20 ms, or 0.02 tokens a second. With ``BINS`` bins the upper edge is about 7,300."""

_LOG_GAMMA = math.log((1 + ALPHA) / (1 - ALPHA))
_LOG_LOWEST = math.log(LOWEST)


def bin_of(value: float) -> int:
    """The bin of a positive number; numbers beyond the grid go to its first or last bin."""
    place = (math.log(value) - _LOG_LOWEST) / _LOG_GAMMA
    if place < 0:
        return 0
    return int(place) if place < BINS else BINS - 1


def bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """``bin_of`` for an array of positive numbers."""
    places = (np.log(values) - _LOG_LOWEST) / _LOG_GAMMA
    return np.clip(np.floor(places), 0, BINS - 1).astype(np.int64)


def edges(place: float) -> tuple[float, float]:
    """Lower and upper edge of bin ``place``."""
    return (
        math.exp(_LOG_LOWEST + place * _LOG_GAMMA),
        math.exp(_LOG_LOWEST + (place + 1) * _LOG_GAMMA),
    )


def medians(histograms: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Sample counts and medians of histograms with shape ``[..., BINS]``; the median of no samples is NaN.

    Inside its bin the median is interpolated on the log scale, so that equal providers do not jump a whole bin
    (10 %) apart; the result never leaves the bin that holds the true median.
    """
    shape = histograms.shape[:-1]
    flat = histograms.reshape(-1, BINS)
    used = np.flatnonzero(flat.max(axis=0, initial=0))
    first, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    counts = flat[:, first:end].astype(np.int32)
    cumulative = np.cumsum(counts, axis=1, dtype=np.int32)
    totals = cumulative[:, -1]
    before = cumulative < ((totals + 1) // 2)[:, np.newaxis]
    place = np.add.reduce(before.view(np.uint8), axis=1, dtype=np.uint8)
    there = np.arange(len(counts)), place
    inside = counts[there]
    with np.errstate(invalid="ignore", divide="ignore"):
        position = first + place + (totals / 2 - cumulative[there] + inside) / inside
    return totals.reshape(shape), np.exp(_LOG_LOWEST + position * _LOG_GAMMA).reshape(shape)

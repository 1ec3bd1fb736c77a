"""One caller cannot decide a verdict: how much of a deployment's evidence the largest caller may be.

Callers are counted under 32 numbers (a hash of the key's hash), so the memory is bounded however many there are; two
callers that share a number are limited together. Time, tiers and thresholds are not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def concentration(
    calls: NDArray[np.integer], bad: NDArray[np.integer], largest_share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors on calls and bad calls after which no caller has more than ``largest_share`` of the calls.

    Args:
        calls: of shape ``[window, caller number, row]``, as is ``bad``.
        largest_share: 0.5: the largest caller counts as much as all others together.

    Returns:
        Two factors per window and row, 1 where nobody is too large or nothing was counted. With a single caller they
        are 0.
    """
    total, largest = calls.sum(axis=1, dtype=np.int64), calls.max(axis=1)
    factor, factor_bad = np.ones(total.shape), np.ones(total.shape)
    others = total - largest
    allowed = np.inf if largest_share >= 1 else others * largest_share / (1 - largest_share)
    excess = np.maximum(0.0, largest - allowed)
    windows, rows = np.nonzero(excess)
    if len(rows):
        beyond, total, largest = excess[windows, rows], total[windows, rows], largest[windows, rows]
        theirs = bad[windows, :, rows]
        total_bad = theirs.sum(axis=-1)
        largest_bad = theirs[np.arange(len(rows)), calls[windows, :, rows].argmax(axis=-1)]
        kept = 1 - beyond / largest
        factor[windows, rows] = (total - beyond) / total
        with np.errstate(invalid="ignore", divide="ignore"):
            factor_bad[windows, rows] = np.where(total_bad > 0, (total_bad - largest_bad * (1 - kept)) / total_bad, 1.0)
    return factor, factor_bad

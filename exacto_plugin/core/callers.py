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
    calls: NDArray[np.float64], bad: NDArray[np.float64], largest_share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors on calls and bad calls after which no caller has more than ``largest_share`` of the calls.

    Args:
        calls: by row and caller number, as is ``bad``.
        largest_share: 0.5: the largest caller counts as much as all others together.

    Returns:
        Two factors per row, 1 where nobody is too large or nothing was counted. With a single caller they are 0.
    """
    total, total_bad = calls.sum(axis=-1), bad.sum(axis=-1)
    rows = np.arange(len(calls))
    top = calls.argmax(axis=-1)
    largest, largest_bad = calls[rows, top], bad[rows, top]
    others = total - largest
    allowed = np.inf if largest_share >= 1 else others * largest_share / (1 - largest_share)
    excess = np.maximum(0.0, largest - allowed)
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = np.where(excess > 0, 1 - excess / largest, 1.0)
        factor = np.where(excess > 0, (total - excess) / total, 1.0)
        factor_bad = np.where(total_bad > 0, (total_bad - largest_bad * (1 - kept)) / total_bad, 1.0)
    return factor, factor_bad

"""One caller cannot decide a verdict: how much of a deployment's evidence the largest caller may be.

Callers are counted under 32 numbers (a hash of the key's hash), so the memory is bounded however many there are; two
callers that share a number are limited together. Time, tiers and thresholds are not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


TOLERATED = 3.0
"""Failures of one caller that always count. So few convict nobody: 3 of 20 calls, the fewest that derank, are no proof
against the least threshold (2 %, at the shortest window's tail of 0.0001)."""


def caller_weight_cap(
    calls: NDArray[np.integer], bad: NDArray[np.integer], largest_share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors on calls and bad calls after which no caller has more than ``largest_share`` of either.

    The calls alone would not do: half of the evidence, all of it bad, convicts anybody. Where a deployment fails for
    everybody, nobody has half of the failures, and nothing changes.

    Args:
        calls: of shape ``[window, caller number, row]``, as is ``bad``.
        bad: those of the calls that were bad, of a type that holds the sum over all callers.
        largest_share: 0.5: the largest caller counts as much as all others together.

    Returns:
        Two factors per window and row, 1 where nobody is too large or nothing was counted. With a single caller they
        are 0.
    """
    factor, factor_bad = np.ones(calls[:, 0].shape), np.ones(calls[:, 0].shape)
    if largest_share >= 1:
        return factor, factor_bad
    ratio = largest_share / (1 - largest_share)
    total, largest = calls.sum(axis=1, dtype=np.int64), calls.max(axis=1)
    total_bad, largest_bad = bad.sum(axis=1, dtype=bad.dtype), bad.max(axis=1)
    too_bad = largest_bad > np.maximum(TOLERATED, (total_bad - largest_bad) * ratio)
    windows, rows = np.nonzero(too_bad | (largest > (total - largest) * ratio))
    if len(rows):
        found = _limited(calls[windows, :, rows], bad[windows, :, rows].astype(np.float64), ratio)
        factor[windows, rows], factor_bad[windows, rows] = found
    return factor, factor_bad


def _limited(
    calls: NDArray[np.integer], bad: NDArray[np.float64], ratio: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The factors where somebody is too large; input ``[case, caller number]``."""
    cases, top = np.arange(len(calls)), calls.argmax(axis=-1)
    total, largest, total_bad = calls.sum(axis=-1), calls[cases, top], bad.sum(axis=-1)
    counted = np.minimum(largest, (total - largest) * ratio)
    bad[cases, top] *= counted / largest
    left, most = bad.sum(axis=-1), bad.max(axis=-1)
    counted_bad = np.minimum(most, np.maximum(TOLERATED, (left - most) * ratio))
    with np.errstate(invalid="ignore"):
        factor_bad = np.where(total_bad > 0, (left - most + counted_bad) / total_bad, 1.0)
    return (total - largest + counted) / total, factor_bad

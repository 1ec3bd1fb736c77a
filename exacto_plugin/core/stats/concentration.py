"""Limit on the share of the largest caller in a deployment's evidence.

Callers are counted under 32 numbers (a hash of the key's hash), so memory is bounded for any number of callers; two
callers that share a number are limited together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


TOLERATED = 3.0
"""Failures of one caller that always count. Source: 3 of 20 calls, the fewest
that derank, are not significant against the least threshold (2 %, at the shortest window's tail of 0.0001)."""


def caller_weight_cap(
    calls: NDArray[np.integer], bad: NDArray[np.integer], largest_share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute factors that cap the largest caller at ``largest_share``.

    The cap holds for the calls and for the bad calls. A cap on calls alone is not sufficient: a caller with half of
    the calls, all bad, is enough to derank. Where a deployment fails for all callers, no caller has half of the
    failures and the factors are 1.

    Args:
        calls: of shape ``[window, caller number, row]``, as is ``bad``.
        bad: the bad ones of the calls, of a type that holds the sum over all callers.
        largest_share: 0.5: the largest caller counts as much as all others together.

    Returns:
        Two factors per window and row; 1 where no caller is too large or there are no calls, 0 with a single caller.

    >>> calls, bad = np.array([[[90], [10]]]), np.array([[[18], [0]]])
    >>> [np.round(factor, 3).tolist() for factor in caller_weight_cap(calls, bad, 0.5)]
    [[[0.2]], [[0.111]]]
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
    """Compute the factors of cases in which one caller is too large.

    Input is of shape ``[case, caller number]``.
    """
    cases, top = np.arange(len(calls)), calls.argmax(axis=-1)
    total, largest, total_bad = calls.sum(axis=-1), calls[cases, top], bad.sum(axis=-1)
    counted = np.minimum(largest, (total - largest) * ratio)
    bad[cases, top] *= counted / largest
    left, most = bad.sum(axis=-1), bad.max(axis=-1)
    counted_bad = np.minimum(most, np.maximum(TOLERATED, (left - most) * ratio))
    with np.errstate(invalid="ignore"):
        factor_bad = np.where(total_bad > 0, (left - most + counted_bad) / total_bad, 1.0)
    return (total - largest + counted) / total, factor_bad

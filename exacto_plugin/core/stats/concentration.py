"""Limits on each caller's part of a deployment's evidence.

What one caller saw counts as far as the other callers saw the same: its failures up to what their failures make
likely, its faultless calls up to what their failures leave possible, and its volume up to theirs together. For the
comparison a caller has at most the weight of the median one, and the one that matters most is left out, so that two
callers cannot vouch for each other. Callers that agree lose next to nothing, however different their sizes.

Callers are counted under a fixed number of numbers (a hash), so memory is bounded for any number of callers, no caller
can push out another one, and replicas add up. Two callers that share a number are limited together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERATED = 1.5
"""Failures of one caller that always count.
Two callers then have 3: of 20 calls, the fewest that derank, these are not significant against the least threshold
(2 %, at the shortest window's tail of 0.0001)."""

_AGREEING = 0.5
"""Share of the others that must have seen a rate of failures.
Measured with a third: two callers derank a good deployment as soon as two others have one failure each."""

_UPPER_Z = 2.0
"""Standard deviations above the others' failures that are likely.
Measured: with 1, callers that agree lose up to 13 % of their failures, with 2 up to 11 %."""

_LOWER_Z = 3**0.5
"""Standard deviations below the others' failures that are certain.
With it, up to 3 failures are no evidence that a deployment fails."""

_DILUTION = 0.5
"""Share of the others' rate of failures that a caller's own rate must reach.
Below it, its faultless calls are limited. Callers with easier tools fail less often, so 1 would limit honest ones."""


class CallerCounts(NamedTuple):
    """Calls and bad calls of cases, ``[case, caller number]``."""

    calls: Floats
    bad: Floats

    @property
    def rates(self) -> Floats:
        """Shares of bad calls; 0 without calls."""
        return np.divide(self.bad, self.calls, out=np.zeros(self.calls.shape), where=self.calls > 0)

    def weights_without(self, numbers: NDArray[np.intp]) -> Floats:
        """Return weights of all callers but one per case.

        They are their calls, and at most those of the median caller.

        >>> CallerCounts(np.array([[90.0, 7.0, 5.0, 0.0]]), np.zeros((1, 4))).weights_without(np.array([1])).tolist()
        [[7.0, 0.0, 5.0, 0.0]]
        """
        callers = (self.calls > 0).sum(axis=-1, keepdims=True)
        median = np.take_along_axis(np.sort(self.calls, axis=-1), self.calls.shape[-1] - (callers + 2) // 2, axis=-1)
        weights = np.minimum(self.calls, median)
        np.put_along_axis(weights, numbers[:, np.newaxis], 0.0, axis=-1)
        return weights


def caller_factors(calls: NDArray[np.integer], bad: NDArray[np.integer], largest_share: float) -> tuple[Floats, Floats]:
    """Compute factors that limit every caller, of all calls and of all bad ones.

    Args:
        calls: of shape ``[window, caller number, row]``, as is ``bad``.
        bad: the bad ones of the calls, of a type that holds the sum over all callers.
        largest_share: 0.5: the largest caller counts for as many calls as all others together; 1: no limits.

    Returns:
        Two factors per window and row; 1 where no caller is limited or there are no calls, 0 with a single caller.

    >>> calls, bad = np.array([[[90], [5], [5]]]), np.array([[[18], [0], [0]]])
    >>> [np.round(factor, 3).tolist() for factor in caller_factors(calls, bad, 0.5)]
    [[[0.195]], [[0.083]]]
    """
    factor, factor_bad = np.ones(calls[:, 0].shape), np.ones(calls[:, 0].shape)
    if largest_share >= 1:
        return factor, factor_bad
    ratio = largest_share / (1 - largest_share)
    total, largest = calls.sum(axis=1, dtype=np.int64), calls.max(axis=1)
    # No failure of a caller exceeds the tolerance, so nothing is limited but the largest caller's volume.
    suspicious = bad.max(axis=1) > TOLERATED
    windows, rows = np.nonzero(suspicious | (largest > (total - largest) * ratio))
    if len(rows):
        counts = CallerCounts(calls[windows, :, rows].astype(np.float64), bad[windows, :, rows].astype(np.float64))
        limited = _without_dilution(_without_framing(_within_volume(counts, ratio)))
        for into, before, after in zip((factor, factor_bad), counts, limited, strict=True):
            whole = before.sum(axis=-1)
            into[windows, rows] = np.divide(after.sum(axis=-1), whole, out=np.ones(len(rows)), where=whole > 0)
    return factor, factor_bad


def _within_volume(of: CallerCounts, ratio: float) -> CallerCounts:
    """Limit the calls of the largest caller to those of all others times ``ratio``."""
    cases, top = np.arange(len(of.calls)), of.calls.argmax(axis=-1)
    largest = of.calls[cases, top]
    counted = np.minimum(largest, (of.calls.sum(axis=-1) - largest) * ratio)
    scale = np.ones(of.calls.shape)
    scale[cases, top] = np.divide(counted, largest, out=np.ones(len(cases)), where=largest > 0)
    return CallerCounts(of.calls * scale, of.bad * scale)


def _without_framing(of: CallerCounts) -> CallerCounts:
    """Leave out failures beyond those that the other callers' failures make likely.

    That is their expectation and ``_UPPER_Z`` standard deviations; others with few calls exclude little.
    """
    weights = of.weights_without(of.bad.argmax(axis=-1))
    order = of.rates.argsort(axis=-1)
    reached = np.take_along_axis(weights, order, axis=-1).cumsum(axis=-1)
    whole = reached[:, -1:]
    place = (reached >= (1 - _AGREEING) * whole).argmax(axis=-1)[:, np.newaxis]
    believed = np.take_along_axis(np.take_along_axis(of.rates, order, axis=-1), place, axis=-1)
    expected = of.calls * believed
    unknown = of.calls * (believed * whole + TOLERATED) / (whole + TOLERATED)
    counted = np.minimum(of.bad, np.maximum(np.maximum(TOLERATED, unknown), expected + _UPPER_Z * np.sqrt(expected)))
    return CallerCounts(of.calls - (of.bad - counted), counted)


def _without_dilution(of: CallerCounts) -> CallerCounts:
    """Leave out faultless calls beyond those that the other callers' failures permit."""
    weights = of.weights_without((of.calls - of.bad).argmax(axis=-1))
    bad = (weights * of.rates).sum(axis=-1, keepdims=True)
    certain = np.maximum(bad - _LOWER_Z * np.sqrt(bad), 0.0) * _DILUTION
    faultless = (of.bad + TOLERATED) * weights.sum(axis=-1, keepdims=True)
    permitted = np.divide(faultless, certain, out=np.full(faultless.shape, np.inf), where=certain > 0)
    return CallerCounts(np.minimum(of.calls, np.maximum(permitted, of.bad)), of.bad)


def speed_weights(timed: NDArray[np.integer]) -> tuple[NDArray[np.intp], Floats]:
    """Compute weights of classes of speeds that limit every caller.

    A caller counts for at most a third of all others' answers without those of the largest other one, and for
    ``_FEW_ANSWERS`` more, so that two callers have less than half of the weight.

    Args:
        timed: answers with a speed, ``[caller number, class, row]``.

    Returns:
        Rows in which a caller is limited, and the weights of their classes, ``[class, row]``.
    """
    by_caller = timed.sum(axis=1, dtype=np.int64 if timed.itemsize > 2 else np.int32)
    total, first = by_caller.sum(axis=0), by_caller.argmax(axis=0)[np.newaxis]
    largest = np.take_along_axis(by_caller, first, axis=0)
    second = np.where(np.arange(len(by_caller))[:, np.newaxis] == first, 0, by_caller).max(axis=0)
    largest_other = np.where(np.arange(len(by_caller))[:, np.newaxis] == first, second, largest)
    most = (total - by_caller - largest_other) / 3 + _FEW_ANSWERS
    rows = np.flatnonzero((by_caller > most).any(axis=0) & (second > 0))
    here, factor = timed[:, :, rows], np.minimum(1.0, most[:, rows] / np.maximum(by_caller[:, rows], 1))
    whole = here.sum(axis=0, dtype=np.int64)
    counted = (here * factor[:, np.newaxis]).sum(axis=0)
    return rows, np.divide(counted, whole, out=np.ones(whole.shape), where=whole > 0)


_FEW_ANSWERS = 3.0
"""Answers of one caller that count with their speed whatever the others have."""

"""Limits on each caller's part of a deployment's evidence.

The callers that incriminate a deployment most count as far as all others together confirm it, faultless calls as far
as the others' failures leave them possible, and the volume of the largest caller up to that of all others. Callers that
agree lose next to nothing, however different their sizes, and neither do failures that come in clusters while more
callers see them than the suspects.

Callers are counted under a fixed number of numbers (a hash), so memory is bounded for any number of callers, no caller
can push out another one, and replicas add up. Two callers that share a number are limited together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERATED = 1.0
"""Failures of one caller that always count.
Two suspects then have 2: of 20 calls, the fewest that derank, these are not significant against the least threshold
(2 %). With none a single failure would count for nothing, so few calls would look better than they are (reasoned)."""

_ONE_SUSPECT = 4
"""Callers in all up to which one is suspected; with more, two are.
Beside three others one identity decides nothing, and two do not."""

_LOWER_Z = 3**0.5
"""Standard deviations below the others' failures that are certain.
With it, up to 3 failures are no evidence that a deployment fails."""

_CONFIRMED_Z = 1.0
"""Standard deviations below the others' failures at which they confirm a suspect's rate.
Measured without: one identity with as many calls as three others deranks a good deployment in 2 of 400 runs, with it
in 1 of 1,000."""

_DILUTION = 0.5
"""Share of the others' rate of failures that a caller's own rate must reach.
Below it, its faultless calls are limited. Callers with easier tools fail less often, so 1 would limit honest ones."""


class CallerCounts(NamedTuple):
    """Calls and bad calls of cases, ``[caller number, case]``."""

    calls: Floats
    bad: Floats


def caller_factors(calls: NDArray[np.integer], bad: NDArray[np.integer], largest_share: float) -> tuple[Floats, Floats]:
    """Compute factors that limit every caller, of all calls and of all bad ones.

    Args:
        calls: of shape ``[window, caller number, row]``, as is ``bad``; the last window is the longest.
        bad: the bad ones of the calls, as these of a type that holds the sum over all callers.
        largest_share: 0.5: the largest caller counts for as many calls as all others together; 1: no limits.

    Returns:
        Two factors per window and row; 1 where no caller is limited or there are no calls, 0 with a single caller.

    >>> calls, bad = np.array([[[90], [5], [5]]]), np.array([[[18], [0], [0]]])
    >>> [np.round(factor, 3).tolist() for factor in caller_factors(calls, bad, 0.5)]
    [[[0.19]], [[0.056]]]
    """
    factor, factor_bad = np.ones(calls[:, 0].shape), np.ones(calls[:, 0].shape)
    if largest_share >= 1:
        return factor, factor_bad
    ratio = largest_share / (1 - largest_share)
    # Added in their own type, which holds the sum: converting each call takes most of the time.
    total, largest = np.add.reduce(calls, axis=1, dtype=calls.dtype).astype(np.int64), calls.max(axis=1)
    # No failure of a caller exceeds the tolerance, so nothing is limited but the largest caller's volume.
    concerned = (bad.max(axis=1) > TOLERATED) | (largest > (total - largest) * ratio)
    if not concerned.any():
        return factor, factor_bad
    counts = CallerCounts(*(_cases(of, concerned) for of in (calls, bad)))
    two_suspects = np.broadcast_to((calls[-1] > 0).sum(axis=0) > _ONE_SUSPECT, concerned.shape)[concerned]
    limited = _without_dilution(_without_framing(_within_volume(counts, ratio), two_suspects))
    for into, before, after in zip((factor, factor_bad), counts, limited, strict=True):
        whole = before.sum(axis=0)
        into[concerned] = np.divide(after.sum(axis=0), whole, out=np.ones(len(whole)), where=whole > 0)
    return factor, factor_bad


def _cases(of: NDArray[np.integer], concerned: NDArray[np.bool_]) -> Floats:
    """Select windows and rows; returns ``[caller number, case]``."""
    chosen = [window[:, rows] for window, rows in zip(of, concerned, strict=True)]
    return np.concatenate(chosen, axis=1).astype(np.float64)


def _within_volume(of: CallerCounts, ratio: float) -> CallerCounts:
    """Limit the calls of the largest caller to those of all others times ``ratio``."""
    largest, total = of.calls.max(axis=0), of.calls.sum(axis=0)
    beyond = np.flatnonzero(largest > (total - largest) * ratio)
    if not len(beyond):
        return of
    top = of.calls[:, beyond].argmax(axis=0)
    counted = (total - largest)[beyond] * ratio
    calls, bad = of.calls.copy(), of.bad.copy()
    bad[top, beyond] *= counted / largest[beyond]
    calls[top, beyond] = counted
    return CallerCounts(calls, bad)


def _without_framing(of: CallerCounts, two_suspects: NDArray[np.bool_]) -> CallerCounts:
    """Leave out failures of suspects beyond those that the other callers confirm.

    Suspects are the callers with most failures above the common rate, one or two per case. Together they count for as
    many failures as all others, or each for the others' rate.
    """
    calls, total = of.calls.sum(axis=0), of.bad.sum(axis=0)
    excess = of.bad * calls
    excess -= of.calls * total
    cases = np.arange(len(calls))
    first = excess.argmax(axis=0)
    excess[first, cases] = -np.inf
    suspects = np.stack([first, excess.argmax(axis=0)])
    own_calls, own_bad = of.calls[suspects, cases], of.bad[suspects, cases]
    suspected = np.stack([np.ones(len(calls), np.bool_), two_suspects])
    others_calls = calls - (own_calls * suspected).sum(axis=0)
    others_bad = total - (own_bad * suspected).sum(axis=0)
    certain = np.maximum(others_bad - _CONFIRMED_Z * np.sqrt(np.maximum(others_bad, 0.0)), 0.0)
    rate = np.divide(certain, others_calls, out=np.zeros(len(calls)), where=others_calls > 0)
    confirmed = np.maximum(np.maximum(TOLERATED, others_bad / (1 + two_suspects)), own_calls * rate)
    kept = np.where(suspected, np.minimum(own_bad, confirmed), own_bad)
    limited = CallerCounts(of.calls.copy(), of.bad.copy())
    limited.calls[suspects, cases] = own_calls - (own_bad - kept)
    limited.bad[suspects, cases] = kept
    return limited


def _without_dilution(of: CallerCounts) -> CallerCounts:
    """Leave out faultless calls beyond those that the other callers' failures permit.

    For this comparison a caller has at most the weight of the median one, and the one with most faultless calls none.
    """
    telling = np.flatnonzero(of.bad.sum(axis=0) > _LOWER_Z**2)
    if not len(telling):
        return of
    # ``numpy.take``, because its result is contiguous; a division with a mask takes three times as long as one without.
    calls, bad = np.take(of.calls, telling, axis=1), np.take(of.bad, telling, axis=1)
    occurs = calls > 0
    place = len(calls) - (occurs.sum(axis=0) + 2) // 2
    cases = np.arange(len(telling))
    weights = np.minimum(calls, np.sort(calls, axis=0)[place, cases])
    weights[(calls - bad).argmax(axis=0), cases] = 0.0
    seen = np.where(occurs, weights * bad / np.where(occurs, calls, 1.0), 0.0).sum(axis=0)
    certain = np.maximum(seen - _LOWER_Z * np.sqrt(seen), 0.0) * _DILUTION
    # Added case by case: the last digits of a sum of floats depend on the order.
    faultless = (bad + TOLERATED) * np.asfortranarray(weights).sum(axis=0)
    permitted = np.where(certain > 0, faultless / np.where(certain > 0, certain, 1.0), np.inf)
    counted = of.calls.copy()
    counted[:, telling] = np.minimum(calls, np.maximum(permitted, bad))
    return CallerCounts(counted, of.bad)


def answer_weights(timed: NDArray[np.integer]) -> tuple[NDArray[np.intp], Floats]:
    """Compute weights of classes of speeds, or of latencies, that limit every caller.

    A caller counts for at most a third of all others' answers without those of the largest other one, and for
    ``_FEW_ANSWERS`` more, so that two callers have less than half of the weight.

    Args:
        timed: answers with a speed or a latency, ``[caller number, class, row]``.

    Returns:
        Rows in which a caller is limited, and the weights of their classes, ``[class, row]``.
    """
    by_caller = timed.sum(axis=1, dtype=np.int64 if timed.itemsize > 2 else np.int32)
    rows = _perhaps_limited(by_caller)
    by_caller, timed = np.take(by_caller, rows, axis=1), np.take(timed, rows, axis=2)
    total, first = by_caller.sum(axis=0), by_caller.argmax(axis=0)[np.newaxis]
    largest = np.take_along_axis(by_caller, first, axis=0)
    second = np.where(np.arange(len(by_caller))[:, np.newaxis] == first, 0, by_caller).max(axis=0)
    largest_other = np.where(np.arange(len(by_caller))[:, np.newaxis] == first, second, largest)
    most = (total - by_caller - largest_other) / 3 + _FEW_ANSWERS
    limited = np.flatnonzero((by_caller > most).any(axis=0) & (second > 0))
    here, factor = timed[:, :, limited], np.minimum(1.0, most[:, limited] / np.maximum(by_caller[:, limited], 1))
    whole = here.sum(axis=0, dtype=np.int64)
    counted = (here * factor[:, np.newaxis]).sum(axis=0)
    return rows[limited], np.divide(counted, whole, out=np.ones(whole.shape), where=whole > 0)


def _perhaps_limited(by_caller: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the rows in which ``answer_weights`` can limit a caller; few, as a rule.

    If it limits any caller it limits the largest one, whose answers are then more than a third of the others' without
    those of the second, and ``_FEW_ANSWERS``; the second has at most as many as the largest, and as all others.
    """
    total, largest = by_caller.sum(axis=0), by_caller.max(axis=0)
    return np.flatnonzero(4 * largest + np.minimum(largest, total - largest) > total + 3 * _FEW_ANSWERS)


_FEW_ANSWERS = 3.0
"""Answers of one caller that count with their speed whatever the others have."""

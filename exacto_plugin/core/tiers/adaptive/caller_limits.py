"""Limits on every caller in evidence that is not counted by caller.

That is dispersion, case mix and the calls after a derank. They follow from the factors of ``stats.concentration`` on
the same calls: failures that do not count do not count for their clusters, their kinds of requests or the end of a
derank either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from exacto_plugin.core.stats.concentration import caller_factors
from exacto_plugin.core.windows.increments import CALLERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters

    Floats = NDArray[np.float64]
    _Factors = tuple[Floats, Floats, NDArray[np.integer]]

LEAST_WEIGHT = 0.05
"""Least factor by which the number of fresh calls is raised: 20 times as many are read at most (chosen)."""

_SUM_TYPES = {1: np.int16, 2: np.int32}
"""Types that hold the sum over all callers of cells with so many bytes."""


class CallerFactors(Protocol):
    """Factors by window and row, and calls of a day by number and row."""

    weight_calls: Floats
    weight_bad: Floats
    by_caller: Floats
    account_calls: Floats
    account_bad: Floats
    by_account: Floats


class Weights(NamedTuple):
    """Factors on calls and on bad calls, by row."""

    calls: Floats
    bad: Floats


def window_weights(
    of: CallerFactors, rows: slice | NDArray[np.intp], place: int | NDArray[np.intp], rule: AdaptiveParameters
) -> Weights:
    """Return the factors of a window that limit every key and every account.

    Args:
        of: the factors.
        rows: the slots.
        place: index of the window, or one for each slot.
        rule: the parameters. Where one key has practically all calls of a row, nothing is limited.
    """
    lone_key, lone_account = (
        calls.max(axis=0) >= rule.lone_caller_share * calls.sum(axis=0)
        for calls in (of.by_caller[:, rows], of.by_account[:, rows])
    )

    def both(keys: Floats, accounts: Floats) -> Floats:
        key, account = keys[place, rows], accounts[place, rows]
        return np.where(lone_key, 1.0, np.where(lone_account, key, np.minimum(key, account)))

    return Weights(both(of.weight_calls, of.account_calls), both(of.weight_bad, of.account_bad))


def factors_of_cells(windows: Sequence[NDArray[np.integer]], share: float) -> tuple[_Factors, _Factors]:
    """Return the factors that limit every key, and those that limit every account.

    Each are the factors on calls and on bad calls by window, and the calls of the last window by number.

    Args:
        windows: cells of each window, ``[kind, bin, row]``; of the last kind, ``HistogramKind.CALLERS`` has the order.
        share: largest share of a caller.
    """
    # Sums over all callers take at most seven bits more than a cell: those of 8-bit cells stay below 2**15.
    kind = _SUM_TYPES.get(max(cells.itemsize for cells in windows), np.int64)

    def factors(first: int) -> _Factors:
        calls, bad = np.zeros((2, len(windows), CALLERS, windows[0].shape[-1]), kind)
        for place, cells in enumerate(windows):
            bad[place] = cells[-1, first + 1 : first + 2 * CALLERS : 2]
            np.add(cells[-1, first : first + 2 * CALLERS : 2], bad[place], out=calls[place])
        return *caller_factors(calls, bad, share), calls[-1]

    keys = factors(0)
    # Without accounts the keys are counted twice, and counting costs more than comparing.
    are_equal = all(np.array_equal(cells[-1, : 2 * CALLERS], cells[-1, 2 * CALLERS :]) for cells in windows)
    return keys, keys if are_equal else factors(2 * CALLERS)


def limited_mix(calls: NDArray[np.int64], bad: NDArray[np.int64], weight: Floats) -> Floats:
    """Return bad calls by complexity, with every caller limited.

    Those that do not count are spread as the calls are.

    Args:
        calls: of shape ``[complexity, row]``, as is ``bad``.
        bad: the bad ones of the calls.
        weight: the factor on the bad calls of each row.

    >>> limited_mix(np.array([[90], [10]]), np.array([[0], [10]]), np.array([0.5])).tolist()
    [[4.5], [5.5]]
    """
    total = calls.sum(axis=0)
    spread = calls * np.divide(bad.sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)
    return np.asarray(weight * bad + (1 - weight) * spread)


def fresh_weights(
    of: CallerFactors, slots: NDArray[np.intp], age_s: Floats, windows_s: Sequence[float], rule: AdaptiveParameters
) -> Weights:
    """Return the factors on the calls since a derank.

    They are the stricter ones of two windows: the longest that began after the derank, which has fresh calls only, and
    the next one, which has all of them.

    Args:
        of: the factors.
        slots: of the deranked deployments.
        age_s: seconds since the derank.
        windows_s: the windows with factors, ascending.
        rule: the parameters.
    """
    last = len(windows_s) - 1
    within = np.clip(np.searchsorted(np.array(windows_s), age_s, side="right") - 1, 0, last)
    pair = [window_weights(of, slots, place, rule) for place in (within, np.minimum(within + 1, last))]
    return Weights(*(np.minimum(*factors) for factors in zip(*pair, strict=True)))


def trial_weight(
    of: CallerFactors, slots: NDArray[np.intp], age_s: Floats, windows_s: Sequence[float], rule: AdaptiveParameters
) -> Floats:
    """Return the factor on the bad calls of a trial.

    1 where one caller has all of its calls. Arguments as of ``fresh_weights``; ``age_s`` is that of the trial.
    """
    place = np.minimum(np.searchsorted(np.array(windows_s), age_s), len(windows_s) - 1)
    weight = window_weights(of, slots, place, rule).bad
    return np.where(weight > 0, weight, 1.0)

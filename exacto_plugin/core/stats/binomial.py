"""Exact tails of the binomial distribution for arrays of effective counts.

``P(X >= x)`` among ``n`` calls that each fail with probability ``p`` is the regularised incomplete beta function
``I_p(x, n - x + 1)``. It also holds for counts that are no integers, such as counts divided by a design effect.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float64]

RATE_RANGE = (1e-4, 0.95)
"""Range of thresholds in which every test is defined."""

_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
"""Stirling's series of the logarithm of the gamma function."""

_SHIFT = 8
"""Arguments are raised by this much; the series is then exact to 1e-13."""

_ROUNDS = 3000
"""Largest number of steps of the continued fraction; about the square root of
the larger argument is needed."""

_TOGETHER = 8
"""Steps after which convergence is tested."""

_TINY = 1e-300
_PRECISION = 1e-13

UNREACHABLE = 1e-12
"""A tail that Chernoff's bound puts below this is reported as 0."""


def log_gamma(of: Floats) -> Floats:
    """Compute the natural logarithm of the gamma function of positive numbers."""
    product = np.ones_like(of)
    for step in range(_SHIFT):
        product = product * (of + step)
    high = of + _SHIFT
    inverse = 1 / high
    series = np.zeros_like(of)
    for factor in reversed(_SERIES):
        series = series * inverse * inverse + factor
    stirling = (high - 0.5) * np.log(high) - high + 0.5 * np.log(2 * np.pi) + series * inverse
    return np.asarray(stirling - np.log(product))


def beta_cdf(at: Floats, alpha: Floats, beta: Floats) -> Floats:
    """Compute the regularised incomplete beta function ``I_at(alpha, beta)``.

    Elementwise; ``alpha`` and ``beta`` are positive.

    >>> np.round(beta_cdf(np.array([0.1]), np.array([0.5]), np.array([4.5])), 3).tolist()
    [0.657]
    """
    at, alpha, beta = (np.asarray(each, np.float64) for each in np.broadcast_arrays(at, alpha, beta))
    result = np.where(at >= 1, 1.0, 0.0)
    inner = (at > 0) & (at < 1)
    if inner.any():
        result[inner] = _inner(at[inner], alpha[inner], beta[inner])
    return result


def _inner(at: Floats, alpha: Floats, beta: Floats) -> Floats:
    """Evaluate the fraction on the side of the mean where it converges.

    The other side is the mirror image.
    """
    mirrored = at > (alpha + 1) / (alpha + beta + 2)
    x = np.where(mirrored, 1 - at, at)
    a, b = np.where(mirrored, beta, alpha), np.where(mirrored, alpha, beta)
    front = a * np.log(x) + b * np.log1p(-x) + log_gamma(a + b) - log_gamma(a) - log_gamma(b)
    value = np.exp(front) * _fraction(x, a, b) / a
    return np.asarray(np.clip(np.where(mirrored, 1 - value, value), 0.0, 1.0))


def _fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    """Evaluate the continued fraction of the incomplete beta function (Lentz).

    Source: Press et al., section 6.4. Each number is iterated to convergence independently, so that a result does not
    depend on the other elements of the array. ``_TOGETHER`` steps are computed before those that converged are left
    out, and what need not be computed one after the other is computed for all of them: in two thirds of the time that
    one step at a time takes (measured, for 1 to 760 numbers).
    """
    result, places = np.empty_like(x), np.arange(len(x))
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for first in range(1, _ROUNDS, _TOGETHER):
        m = np.arange(first, min(first + _TOGETHER, _ROUNDS), dtype=np.float64)[:, np.newaxis]
        place = a + 2 * m
        even = m * (b - m) * x / ((place - 1) * place)
        odd = -(a + m) * (a + b + m) * x / (place * (place + 1))
        c, d, factors = _lentz_steps(c, d, np.stack([even, odd], axis=1).reshape(-1, len(x)))
        unfinished = np.logical_and.accumulate(np.abs(factors[1::2] - 1) >= _PRECISION, axis=0)
        # The first step always counts, and each later one as long as none before it converged.
        factors[2:] = np.where(np.repeat(unfinished[:-1], 2, axis=0), factors[2:], 1.0)
        value = np.multiply.reduce(np.concatenate([value[np.newaxis], factors]), axis=0)
        result[places] = value
        open_ = unfinished[-1]
        if not open_.any():
            break
        places, x, a, b, c, d, value = (of[open_] for of in (places, x, a, b, c, d, value))
    return result


def _lentz_steps(c: Floats, d: Floats, terms: Floats) -> tuple[Floats, Floats, Floats]:
    """Return ``c`` and ``d`` after some terms of the fraction, and their factors.

    Terms and factors are ``[term, number]``.
    """
    before, lows, highs, factors = (c, d), [], [], []
    with np.errstate(all="ignore"):
        for term in terms:
            lows.append(low := 1 + term * d)
            highs.append(c := 1 + term / c)
            d = 1 / low
            factors.append(d * c)
    if min(np.abs(lows).min(), np.abs(highs).min()) >= _TINY:
        return c, d, np.array(factors)
    # Hardly ever: once more, away from 0.
    (c, d), factors = before, []
    for term in terms:
        d, c = 1 / _away_from_zero(1 + term * d), _away_from_zero(1 + term / c)
        factors.append(d * c)
    return c, d, np.array(factors)


def _away_from_zero(of: Floats) -> Floats:
    return np.where(np.abs(of) < _TINY, _TINY, of)


def upper_tail(failed: Floats, calls: Floats, rate: Floats) -> Floats:
    """Compute ``P(X >= failed)`` where it is less than about one half, else 1.

    With at most the expected number of failures the result is 1, so no test rejects there.
    """
    return _tail(failed, calls, rate, above=True)


def lower_tail(failed: Floats, calls: Floats, rate: Floats) -> Floats:
    """Compute ``P(X <= failed)`` where it is less than about one half, else 1.

    With at least the expected number of failures the result is 1, so no test rejects there.
    """
    return _tail(failed, calls, rate, above=False)


def _tail(failed: Floats, calls: Floats, rate: Floats, *, above: bool) -> Floats:
    x, n, p = (np.asarray(each, np.float64) for each in np.broadcast_arrays(failed, calls, rate))
    result = np.ones(x.shape)
    with np.errstate(invalid="ignore"):
        telling = (n > 0) & (p > 0) & (p < 1) & ((x > n * p) if above else (x < n * p))
    if not telling.any():
        return result
    x, n, p = x[telling], n[telling], p[telling]
    share = np.clip(x / n, 1e-15, 1 - 1e-15)
    bound = -n * (share * np.log(share / p) + (1 - share) * np.log((1 - share) / (1 - p)))
    tail = np.zeros(x.shape)
    # For counts that are no integers Chernoff's bound may be off by up to one call, the distance between both tails.
    close = bound > np.log(UNREACHABLE) + np.log(p) if above else bound > np.log(UNREACHABLE) + np.log1p(-p)
    x, n, p = x[close], n[close], p[close]
    if above:
        tail[close] = beta_cdf(p, x, n - x + 1)
    else:
        tail[close] = beta_cdf(1 - p, np.maximum(n - x, 1e-9), x + 1)
    result[telling] = tail
    return result


def rate_exceeds(failed: Floats, calls: Floats, rate: Floats, level: Floats | float) -> NDArray[np.bool_]:
    """Test elementwise if ``upper_tail`` is below ``level`` (at most 1 %).

    The tail is computed only where bounds do not decide. In the example 8 and 3 of 20 calls failed against a rate of 5
    %: ``P(X >= 8)`` is 0.00003 and ``P(X >= 3)`` is 0.075.

    >>> rate_exceeds(np.array([8.0, 3.0]), np.array([20.0, 20.0]), np.array([0.05, 0.05]), 0.001).tolist()
    [True, False]
    """
    return _below(upper_tail, (failed, calls, rate, level), above=True, undecided_from=2.0)


def rate_below(failed: Floats, calls: Floats, rate: Floats, level: Floats | float) -> NDArray[np.bool_]:
    """Test elementwise if ``lower_tail`` is below ``level`` (at most 20 %).

    The tail is computed only where bounds do not decide.
    """
    return _below(lower_tail, (failed, calls, rate, level), above=False, undecided_from=0.25)


def _below(
    tail: Callable[[Floats, Floats, Floats], Floats],
    counts: tuple[Floats, Floats, Floats, Floats | float],
    *,
    above: bool,
    undecided_from: float,
) -> NDArray[np.bool_]:
    """Compare a tail with a level, using bounds before exact tails.

    Within ``undecided_from`` standard deviations of the expectation no tail is below the level. Else the tail is
    between the normal ones at the root of twice the divergence, of the count and of one call nearer to the expectation.
    Source: Zubkov and Serov, "A complete proof of universal inequalities for the distribution function of the binomial
    law" (2013), for whole calls; for effective counts it was compared with the tails (a million cases, and the tests).
    """
    x, n, p, least = (np.asarray(each, np.float64) for each in np.broadcast_arrays(*counts[:3], _deviances(counts[3])))
    sign = 1.0 if above else -1.0
    with np.errstate(invalid="ignore"):
        usual = (n > 0) & (p > 0) & (p < 1)
        result = np.asarray(usual & (sign * (x - n * p) > undecided_from * np.sqrt(n * p * (1 - p))))
    if not result.any():
        return result
    x, n, p, least = (each[result] for each in (x, n, p, least))
    nearer = x - sign
    decided = (sign * (nearer - n * p) > 0) & (_deviance(nearer, n, p) > least)
    open_ = np.flatnonzero(~decided & (_deviance(x, n, p) >= least))
    if len(open_):
        level = np.broadcast_to(counts[3], result.shape)[result]
        decided[open_] = tail(x[open_], n[open_], p[open_]) < level[open_]
    result[result] = decided
    return result


def _deviance(failed: Floats, calls: Floats, rate: Floats) -> Floats:
    """Return twice the divergence of a share from a rate, times the calls."""
    share = np.clip(failed / calls, 1e-15, 1 - 1e-15)
    return 2 * calls * (share * np.log(share / rate) + (1 - share) * np.log((1 - share) / (1 - rate)))


def _deviances(levels: Floats | float) -> Floats:
    """Return the deviances at which a normal tail has these probabilities."""
    levels = np.asarray(levels, np.float64)
    return np.reshape([_quantile_squared(level) for level in levels.ravel().tolist()], levels.shape)


@lru_cache(maxsize=256)
def _quantile_squared(level: float) -> float:
    if not 0 < level < 0.5:
        return -math.inf if level >= 0.5 else math.inf
    return NormalDist().inv_cdf(level) ** 2


def wilson_upper(failed: Floats, calls: Floats, z: float) -> Floats:
    """Compute the upper end of Wilson's interval for a rate; NaN without calls."""
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = failed / calls
        spread = z * np.sqrt(rate * (1 - rate) / calls + z * z / (4 * calls * calls))
        return np.asarray((rate + z * z / (2 * calls) + spread) / (1 + z * z / calls))


def wilson_lower(failed: Floats, calls: Floats, z: float) -> Floats:
    """Compute the lower end of Wilson's interval for a rate; NaN without calls."""
    return 1 - wilson_upper(calls - failed, calls, z)

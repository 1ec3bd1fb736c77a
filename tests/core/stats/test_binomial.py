"""The exact tails, against scipy and against what must hold of any distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.stats.binomial import (
    _lentz_steps,
    beta_cdf,
    log_gamma,
    lower_tail,
    rate_below,
    rate_exceeds,
    upper_tail,
    wilson_lower,
    wilson_upper,
)


def test_log_gamma_agrees_with_scipy() -> None:
    """Over twelve orders of magnitude."""
    special = pytest.importorskip("scipy.special")
    of = np.logspace(-6, 6, 500)
    assert np.allclose(log_gamma(of), special.gammaln(of), rtol=1e-11, atol=1e-11)


def test_beta_cdf_agrees_with_scipy() -> None:
    """For parameters from a tenth to a hundred thousand, near the mean and off it, integers or not."""
    special = pytest.importorskip("scipy.special")
    draw = np.random.default_rng(3)
    a, b = 10 ** draw.uniform(-1, 5, (2, 3000))
    at = np.clip(a / (a + b) * np.exp(draw.normal(0, 0.3, 3000)), 1e-6, 1 - 1e-6)
    assert np.allclose(beta_cdf(at, a, b), special.betainc(a, b, at), rtol=0, atol=1e-8)


def test_a_beta_cdf_is_the_same_beside_others() -> None:
    """To the last bit: numbers that need three steps beside ones that need hundreds."""
    draw = np.random.default_rng(5)
    alpha, beta = draw.choice([0.3, 4.0, 1e3, 1e5], (2, 300)) * draw.random((2, 300)) + 1e-9
    at = draw.random(300) ** draw.choice([0.3, 1.0, 6.0], 300)
    alone = [beta_cdf(at[[place]], alpha[[place]], beta[[place]])[0] for place in range(300)]
    assert beta_cdf(at, alpha, beta).tolist() == alone


def test_a_step_of_the_fraction_stays_away_from_zero() -> None:
    """Where a denominator is 0, Lentz puts a tiny number in its place."""
    ones = np.ones(2)
    c, d, factors = _lentz_steps(ones, ones, np.array([[-1.0, 0.5], [0.5, 0.5]]))
    assert np.isfinite([c, d, *factors]).all()
    alone = _lentz_steps(ones[:1], ones[:1], np.array([[0.5], [0.5]]))
    assert [c[1], d[1], *factors[:, 1]] == [alone[0][0], alone[1][0], *alone[2][:, 0]]


def test_tails_agree_with_scipy_on_the_telling_side() -> None:
    """Both tails are the binomial ones wherever the count lies on their side of the expectation."""
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(4)
    n, p = draw.integers(20, 3000, 3000).astype(float), draw.uniform(0.001, 0.3, 3000)
    x = np.clip(np.round(n * p + draw.normal(0, 3, 3000) * np.sqrt(n * p)), 0, n)
    above, below = x > n * p, x < n * p
    assert above.any()
    assert below.any()
    assert np.allclose(upper_tail(x, n, p)[above], stats.binom.sf(x - 1, n, p)[above], atol=1e-9)
    assert np.allclose(lower_tail(x, n, p)[below], stats.binom.cdf(x, n, p)[below], atol=1e-9)


@pytest.mark.parametrize(("x", "n", "p"), [(0.0, 50.0, 0.02), (1.0, 50.0, 0.02), (5.0, 0.0, 0.02), (3.0, 9.0, np.nan)])
def test_nobody_is_convicted_at_or_below_the_expectation(x: float, n: float, p: float) -> None:
    """Without calls, without a threshold, and with no more failures than expected, the tail is 1."""
    assert upper_tail(np.array(x), np.array(n), np.array(p)) == 1.0


def test_a_hundred_and_fifty_calls_without_failure_exclude_two_percent() -> None:
    """The number behind readmission: 0.98 to the power of 150 is below 5 %, and of 140 it is not."""
    assert lower_tail(np.array(0.0), np.array(150.0), np.array(0.02)) == pytest.approx(0.98**150)
    assert lower_tail(np.array(0.0), np.array(140.0), np.array(0.02)) > 0.05


@given(st.floats(0, 200), st.floats(0, 200), st.floats(0.001, 0.9), st.floats(0, 20))
def test_more_failures_are_never_less_suspicious(x: float, more: float, p: float, further: float) -> None:
    """The upper tail falls with every failure, also with fractions of one."""
    n = np.array(x + more + further + 1.0)
    tails = upper_tail(np.array([x, x + further]), np.array([n, n]), np.array([p, p]))
    assert 0.0 <= tails[1] <= tails[0] + 1e-9 <= 1.0 + 1e-9


def test_wilson_bounds_enclose_the_rate() -> None:
    """One standard error either way; with nothing failed the upper bound is still above 0."""
    assert wilson_lower(np.array(5.0), np.array(50.0), 1.0) < 0.1 < wilson_upper(np.array(5.0), np.array(50.0), 1.0)
    assert wilson_upper(np.array(0.0), np.array(50.0), 1.0) == pytest.approx(1 / 51)


@pytest.mark.parametrize("fewest", [0.3, 5.0])
@pytest.mark.parametrize("level", [0.0, 1e-5, 0.000233, 0.00135, 0.05, 0.1, 0.2, 0.7])
def test_bounds_decide_as_the_exact_tails_do(fewest: float, level: float) -> None:
    """The tests that skip most tails give the verdict of computing all of them, with effective counts too."""
    draw = np.random.default_rng(6)
    n, p = fewest * 10 ** draw.uniform(0, 3, 20_000), 10 ** draw.uniform(-4, -0.03, 20_000)
    x = np.clip(n * p + draw.normal(0, 4, 20_000) * np.sqrt(n * p), 0, n)
    if level < 0.02:
        assert (rate_exceeds(x, n, p, level) == (upper_tail(x, n, p) < level)).all()
    unsure = x > n * p - 0.25 * np.sqrt(n * p * (1 - p))
    assert (rate_below(x, n, p, level) == (lower_tail(x, n, p) < level) & ~unsure).all()


def test_levels_may_differ_by_case() -> None:
    """As those of the windows of a derank do."""
    x, n, p, level = np.full((2, 3), 8.0), np.full((2, 3), 40.0), np.full((2, 3), 0.05), np.array([[0.0001], [0.01]])
    assert rate_exceeds(x, n, p, level).tolist() == [[False] * 3, [True] * 3]


def test_few_tails_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of evenly spread counts up to six deviations from the expectation, those within a call of the level are."""
    asked: list[int] = []

    def counted(x: np.ndarray, n: np.ndarray, p: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return lower_tail(x, n, p)

    monkeypatch.setattr("exacto_plugin.core.stats.binomial.lower_tail", counted)
    n = np.full(6000, 5000.0)
    rate_below(np.linspace(160, 250, 6000), n, np.full(6000, 0.05), 0.05)
    assert sum(asked) <= 6000 / 90 * 1.5

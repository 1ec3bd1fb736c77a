"""Median, MAD and the threshold of an outlier."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.stats.peers import MAD_TO_SD, lower_threshold, masked_median, peers

rates = st.floats(0, 1).map(lambda rate: round(rate, 6))
rows = st.integers(1, 9).flatmap(
    lambda width: st.lists(
        st.lists(st.tuples(rates, st.booleans()), min_size=width, max_size=width), min_size=1, max_size=5
    )
)


@given(rows)
def test_masked_median_is_the_median_of_what_is_inside(table: list[list[tuple[float, bool]]]) -> None:
    """Every row's median is that of the unmasked values alone; without any it is NaN."""
    values = np.array([[value for value, _ in row] for row in table])
    mask = np.array([[inside for _, inside in row] for row in table])
    for row, found in zip(table, masked_median(values, mask), strict=True):
        inside = [value for value, taken in row if taken]
        if inside:
            assert found == pytest.approx(statistics.median(inside))
        else:
            assert np.isnan(found)


def test_peers_of_a_known_table() -> None:
    """Values 1, 2, 4, 8, 9 have median 4 and deviations 3, 2, 0, 4, 5, whose median is 3."""
    of = peers(np.array([[9.0, 2, 4, 8, 1, np.nan]]), np.array([[True] * 5 + [False]]))
    assert (of.members.tolist(), of.median.tolist(), of.mad.tolist()) == ([5], [4.0], [3.0])
    assert lower_threshold(of, 2.0, 0.1, 4).tolist() == [4 - 2 * MAD_TO_SD * 3]


def test_too_few_peers_have_no_threshold() -> None:
    """Three peers where four are asked for: a median, but nobody can be an outlier."""
    of = peers(np.array([[1.0, 2, 30]]), np.ones((1, 3), np.bool_))
    assert of.median.tolist() == [2.0]
    assert np.isnan(lower_threshold(of, 2.0, 0.1, 4)).all()


def test_no_peers_at_all() -> None:
    """A group without data has neither median nor threshold, and that is no error."""
    of = peers(np.full((1, 3), np.nan), np.zeros((1, 3), np.bool_))
    assert of.members.tolist() == [0]
    assert np.isnan([of.median, of.mad, lower_threshold(of, 2.0, 0.1, 0)]).all()


@pytest.mark.parametrize(("rate", "outlier"), [(0.999, False), (0.981, False), (0.979, True), (0.75, True)])
def test_zero_mad_uses_the_margin(rate: float, outlier: bool) -> None:
    """Where most peers never fail, 99.9 % is no outlier and 75 % is one: the margin decides, not the MAD of 0."""
    values = np.array([[1.0, 1.0, 1.0, 1.0, rate]])
    of = peers(values, np.ones((1, 5), np.bool_))
    assert of.mad.tolist() == [0.0]
    assert (values < lower_threshold(of, 2.0, 0.02, 4)[:, np.newaxis]).tolist() == [[False] * 4 + [outlier]]


def test_rounding_is_no_deviation() -> None:
    """Peers that are equal but for the last bits have a MAD of 0."""
    values = np.exp(np.log(np.array([[60.0, 60.0, 60.0, 60.0]])) + np.array([[0, 1e-15, -1e-15, 2e-15]]))
    assert peers(values, np.ones((1, 4), np.bool_)).mad.tolist() == [0.0]


@given(st.lists(rates, min_size=4, max_size=20), st.floats(0.1, 5))
def test_no_more_than_half_are_below(values: list[float], deviations: float) -> None:
    """Whatever the values, the median itself is never an outlier, so at least half of the peers stay."""
    table = np.array([values])
    threshold = lower_threshold(peers(table, np.ones(table.shape, np.bool_)), deviations, 0.02, 4)
    assert (table < threshold).sum() <= len(values) / 2

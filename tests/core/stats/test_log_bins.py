"""Log-spaced bins and their medians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.stats.log_bins import ALPHA, BINS, LOWEST, bin_of, bins_of, edges, medians

inside = st.floats(LOWEST * 1.01, 7000.0)


def histogram(values: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The bins of some values."""
    return np.bincount([bin_of(value) for value in values], minlength=BINS).astype(np.float64)


@given(inside)
def test_a_value_lies_between_the_edges_of_its_bin(value: float) -> None:
    """A bin's edges enclose every value of the grid that falls into it, and lie a factor of 1.105 apart."""
    low, high = edges(bin_of(value))
    assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
    assert high / low == pytest.approx((1 + ALPHA) / (1 - ALPHA))


@pytest.mark.parametrize(("value", "place"), [(1e-300, 0), (LOWEST / 2, 0), (1e9, BINS - 1), (float("inf"), BINS - 1)])
def test_values_off_the_grid_go_to_its_ends(value: float, place: int) -> None:
    """Nothing is lost and nothing overflows beyond the first and last bin."""
    assert bin_of(value) == place


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_the_array_form_agrees_with_the_scalar_form(values: list[float]) -> None:
    """``bins_of`` is ``bin_of`` for each element."""
    assert bins_of(np.array(values)).tolist() == [bin_of(value) for value in values]


@given(st.lists(inside, min_size=1, max_size=60))
def test_the_median_lies_in_the_bin_of_the_true_lower_median(values: list[float]) -> None:
    """The sketch's median is within one bin (10.5 %) of the true lower median, for any values."""
    totals, found = medians(histogram(values)[:, np.newaxis])
    low, high = edges(bin_of(sorted(values)[(len(values) - 1) // 2]))
    assert totals[0] == len(values)
    assert low * (1 - 1e-9) <= found[0] <= high * (1 + 1e-9)


def test_the_median_of_many_speeds_is_close() -> None:
    """On 2,000 log-normal speeds the interpolated median is within 5 % of the true one."""
    speeds = np.random.default_rng(1).lognormal(4, 0.35, 2000)
    _, found = medians(histogram(speeds.tolist())[:, np.newaxis])
    assert found[0] == pytest.approx(np.median(speeds), rel=0.05)


@pytest.mark.parametrize("samples", [255, 65_535, 2**31, 2**32 - 1, 2**32, 2**44])
def test_the_median_of_any_number_of_samples(samples: int) -> None:
    """Three bins with so many samples each, in the narrowest type and as floats: the middle one holds the median."""
    bins = np.zeros(BINS, np.min_scalar_type(samples))
    bins[[0, 60, BINS - 1]] = samples
    low, high = edges(60)
    for histograms in (bins, bins.astype(np.int64), bins.astype(np.float64)):
        totals, found = medians(histograms[:, np.newaxis])
        assert totals.tolist() == [3 * samples]
        assert low <= found[0] <= high


def test_no_samples_have_no_median() -> None:
    """An empty histogram beside a full one gives NaN and leaves the other alone."""
    totals, found = medians(np.stack([np.zeros(BINS), histogram([2.0, 2.0, 2.0])], axis=-1))
    assert totals.tolist() == [0, 3]
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(2.0, rel=ALPHA)


@given(st.lists(inside, max_size=30), st.lists(inside, max_size=30))
def test_adding_bins_is_the_sketch_of_the_union(ours: list[float], theirs: list[float]) -> None:
    """Two replicas' histograms add up to one replica's."""
    np.testing.assert_array_equal(histogram(ours) + histogram(theirs), histogram(ours + theirs))

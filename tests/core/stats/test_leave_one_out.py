"""Leave-one-out statistics, against taking the element out and computing afresh."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.stats.leave_one_out import leave_one_out_median, leave_one_out_near_best
from exacto_plugin.core.stats.peers import MAD_TO_SD

groups = st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.02, 0.1, 0.25, 0.5]), st.booleans()), min_size=1, max_size=9)


@given(groups)
def test_the_others_are_what_is_left_without_one(group: list[tuple[float, bool]]) -> None:
    """Count, median, spread and best of the others equal those of a list that one was taken out of."""
    values = np.array([[value for value, _ in group]])
    mask = np.array([[telling for _, telling in group]])
    found, best = leave_one_out_median(values, mask), leave_one_out_near_best(values, mask, 3)
    for place in range(len(group)):
        others = [value for other, (value, telling) in enumerate(group) if telling and other != place]
        assert found.members[0, place] == len(others)
        if not others:
            assert np.isnan([found.median[0, place], found.deviation[0, place], best[0, place]]).all()
            continue
        median = np.median(others)
        assert found.median[0, place] == pytest.approx(median)
        assert found.deviation[0, place] == pytest.approx(MAD_TO_SD * np.median(np.abs(np.array(others) - median)))
        assert best[0, place] == sorted(others)[0 if len(others) <= 3 else 1]

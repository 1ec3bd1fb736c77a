"""The bounds that the benchmark of verdicts compares with, where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from exacto_plugin.simulate.scenario import parse_scenario

frontiers = pytest.importorskip("benchmarks.frontiers", exc_type=ImportError)


def _hosts(bad: list[float], price: list[float], propensity: list[float] | None = None) -> Any:
    weight = np.array(price) ** -2.0
    return frontiers.Hosts(np.array(bad), np.array(propensity or [0.5] * len(bad)), np.array(price), weight, 1.0)


def test_lp50_by_hand() -> None:
    """Equal prices: the best two, half each; a budget below the best two mixes in cheaper ones."""
    equal = _hosts([0.0, 0.02, 0.2], [1.0, 1.0, 1.0])
    assert equal.lp50(1.0) == pytest.approx((0.01, 1.0))
    # The default pays (4 * 0.5 + 1 * 1 + 1 * 1) / 6 = 2/3. Half must go to the cheap one to stay within it.
    dear = _hosts([0.0, 0.02, 0.2], [1.0, 1.0, 0.5])
    assert dear.lp50(9.0) == pytest.approx((0.01, 1.5))
    assert dear.lp50(1.125) == pytest.approx((0.1, 1.125))
    assert dear.lp50(0.1) == pytest.approx((0.1, 1.125))
    # A budget between them: (1 - m) * 1.5 + m * 1.125 = 1.25 at m = 2/3; 0.5 - m/2 leaves the second best.
    assert dear.lp50(1.25) == pytest.approx((2 / 3 * 0.1 + 1 / 3 * 0.01, 1.25))


def test_lp50_counts_calls() -> None:
    """A host that attempts three times as many calls has three quarters of them, with half of the requests."""
    assert _hosts([0.0, 0.1], [1.0, 1.0], [0.9, 0.3]).lp50(1.0) == pytest.approx((0.025, 1.0))


def test_least_total_and_pool_by_hand() -> None:
    """J* weighs bad calls with 30 requests; the pool is the lottery among the k best."""
    hosts = _hosts([0.0, 0.0, 0.01], [2.0, 2.0, 1.0])
    usual = (0.25 * 2 + 0.25 * 2 + 1.0) / 1.5
    totals = [2.0 / usual, 1.5 / usual + 30 * 0.005]
    assert hosts.least_total() == pytest.approx(min(totals), abs=1e-3)
    assert hosts.pool() == pytest.approx((0.01 * 1.0 / 1.5, 1.0))
    assert _hosts([0.0, 0.5], [1.0, 1.0]).pool() == pytest.approx((0.0, 1.0))


def test_states_count_by_their_duration() -> None:
    """A host that is bad for a quarter of the measured hours: the bound knows when."""
    content = {
        "hours": 10.0,
        "measure_from_h": 2.0,
        "providers": [{"name": name, "price": 1.0} for name in "abc"],
        "events": [
            {"at_h": 1, "kind": "change", "provider": "a", "error_rate": 0.2},
            {"at_h": 1, "kind": "change", "provider": "b", "error_rate": 0.4},
            {"at_h": 4, "kind": "change", "provider": "b", "error_rate": 0.0},
        ],
    }
    (found,) = frontiers.frontiers(parse_scenario(content, "test"), 0, 1)
    # Two of eight hours: c with half, a with the other half.
    assert found.lp50(1.0) == pytest.approx(0.25 * 0.1)
    assert found.pool.bad == pytest.approx(0.0)

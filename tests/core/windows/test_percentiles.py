"""Percentiles of recent speed and latency: right, only for who asked, and gone when nobody asks any more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Sample
from exacto_plugin.core.stats.log_bins import ALPHA, BINS, bin_of, quantiles
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.windows.percentiles import KEPT_FOR_S, PercentileRequests
from tests.support.samples import START


def sample(latency_s: float, at: float = START - 10, *, streamed: bool = True, group: str = "g") -> Sample:
    """An answer of 200 tokens whose first one came after ``latency_s`` and the last one after twice that."""
    first = latency_s if streamed else None
    return Sample(
        group,
        DeploymentKey("a"),
        at,
        output_tokens=200,
        duration_s=2 * latency_s,
        first_token_s=first,
        streamed=streamed,
    )


def engine_with(samples: list[Sample], *watched: str) -> Engine:
    """An engine after one recompute."""
    engine = Engine(OpenRouterParameters())
    for group in ("g", "h"):
        engine.observe_peers(group, [DeploymentKey("a"), DeploymentKey("b")], START)
    for one in samples:
        engine.record(one)
    for group in watched:
        engine.watch(group, START - 1)
    engine.recompute(START)
    return engine


@given(st.lists(st.floats(0.05, 5000.0), min_size=1, max_size=60), st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9, 0.99]))
def test_a_quantile_lies_within_a_bin_of_the_true_one(values: list[float], share: float) -> None:
    """The result is at most a bin away from the value that this share of the samples does not exceed."""
    histogram = np.bincount([bin_of(value) for value in values], minlength=BINS).astype(np.float64)
    true = float(np.quantile(values, share, method="inverted_cdf"))
    width = (1 + ALPHA) / (1 - ALPHA)
    told = quantiles(np.column_stack([histogram, histogram * 3, np.zeros(BINS)]), [share])[0]
    assert true / width <= told[0] * (1 + 1e-9)
    assert told[0] <= true * width * (1 + 1e-9)
    assert told[1] == pytest.approx(told[0])
    assert np.isnan(told[2])


def test_percentiles_of_a_watched_group() -> None:
    """90 % of the answers are as good as the 90th percentile: at least as fast, at most as late."""
    engine = engine_with([sample(0.1)] * 89 + [sample(1.0)] * 11, "g")
    paces = engine.snapshot.groups["g"].paces
    assert set(paces) == {"a"}
    assert paces[DeploymentKey("a")].latency_s == pytest.approx((0.1, 0.1, 1.0, 1.0), rel=0.11)
    assert paces[DeploymentKey("a")].throughput == pytest.approx((1000.0, 1000.0, 100.0, 100.0), rel=0.11)


def test_only_who_asked_pays() -> None:
    """Groups that nobody asked about have none, and an hour after the last question nobody has."""
    engine = engine_with([sample(0.1, group=group) for group in "gh" for _ in range(9)], "h")
    assert not engine.snapshot.groups["g"].paces
    assert engine.snapshot.groups["h"].paces
    engine.recompute(START + KEPT_FOR_S)
    assert not engine.snapshot.groups["h"].paces


def test_whole_answers_say_little_about_the_first_token() -> None:
    """Where there are enough streams, only they tell the latency; both tell the speed."""
    engine = engine_with([sample(0.1)] * 6 + [sample(3.0, streamed=False)] * 60, "g")
    pace = engine.snapshot.groups["g"].paces[DeploymentKey("a")]
    assert pace.latency_s == pytest.approx((0.1,) * 4, rel=0.11)
    assert pace.throughput is not None
    assert pace.throughput[0] < 50.0


@pytest.mark.parametrize(("ago_s", "known"), [(100, True), (1000, True), (4000, False)])
def test_windows(ago_s: float, known: bool) -> None:
    """Five minutes, or half an hour where those hold too few answers; older ones say nothing."""
    engine = engine_with([sample(0.1, START - ago_s)] * 9 + [sample(5.0)] * 4, "g")
    assert bool(engine.snapshot.groups["g"].paces) is known


def test_what_is_watched_is_bounded() -> None:
    """Callers can make up model groups; the newest thousand are remembered."""
    watched = PercentileRequests()
    for number in range(1500):
        watched.request(f"g{number}", START)
    assert len(watched.current(START)) == 1000
    assert "g1499" in watched.current(START)
    assert watched.current(START + KEPT_FOR_S + 1) == ()

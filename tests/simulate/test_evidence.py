"""What a simulation hands to the engine is what the samples themselves would have left there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.windows.increments import CounterKind, HistogramKind, increments_of
from exacto_plugin.simulate.evidence import increments_of_answers, samples
from exacto_plugin.simulate.probing import Probing
from exacto_plugin.simulate.traffic import TrafficGenerator
from exacto_plugin.simulate.world import GroundTruth
from tests.support.scenarios import scenario

EVERYTHING: dict[str, Any] = {
    "providers": [
        {"name": "a", "error_rate": 0.2, "lost_rate": 0.1, "tokens_per_s": 40.0, "propensity": 0.7},
        {"name": "b", "error_rate": 0.3},
    ],
    "pinned": {"share": 0.3, "complexity": 3},
    "hostile": {"share": 0.1, "provider": "b"},
    "complexity": {"shares": [0.25, 0.25, 0.25, 0.25], "error_factors": [0.5, 1, 1, 2]},
    "session_requests": 3,
    "icc": 0.4,
    "callers": 7,
}


@pytest.mark.parametrize("seed", range(3))
def test_sums_are_tallies_added_up(seed: int) -> None:
    """Counters and cells by repetition and provider equal what the samples' tallies come to.

    Answers that can be broken are not counted apart: no simulated answer is.
    """
    content = scenario(**EVERYTHING)
    world, traffic = GroundTruth(content, seed, 2), TrafficGenerator(content, ("a", "b"))
    chance = np.random.default_rng(seed)
    requests = traffic.requests(chance, 2, 3.0, 240.0)
    answers = traffic.answers(
        chance, requests, world, world.default_shares(), Probing(["0", "1"], [DeploymentKey("a"), DeploymentKey("b")])
    )
    counts: Counter[tuple[str, str, int]] = Counter()
    cells: Counter[tuple[str, str, int]] = Counter()
    for sample in samples(answers, (DeploymentKey("a"), DeploymentKey("b")), traffic.callers, str, 600.0):
        raised, marked = increments_of(sample, 100)
        counts.update(
            (sample.model_group, sample.deployment, column) for column in raised if column != CounterKind.CHECKED
        )
        cells.update((sample.model_group, sample.deployment, cell) for cell in marked)
        assert 600.0 <= sample.at < 660.0
    summed: Counter[tuple[str, str, int]] = Counter()
    summed_cells: Counter[tuple[str, str, int]] = Counter()
    for repetition, place, raised_by, marked_by in increments_of_answers(answers, traffic.caller_numbers, 2):
        key = (str(repetition), "ab"[place])
        summed.update({(*key, int(column)): number for column, number in raised_by.items()})
        summed_cells.update({(*key, cell): number for cell, number in marked_by.items()})
    assert summed == counts
    assert summed_cells == cells
    seen = {column for _, _, column in counts}
    assert {CounterKind.LOST, CounterKind.PINNED_FAULTY, CounterKind.TIMED, CounterKind.SCHEMA_MISMATCH} <= seen
    assert {cell // BINS for _, _, cell in cells} == set(HistogramKind) - {HistogramKind.CHECKED_CALLERS}

"""Speeds and latencies, compared like with like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.core.stats.log_bins import ALPHA
from exacto_plugin.core.windows.speed import SpeedMedians, empty_medians, grow, merge_modes, recent_medians
from exacto_plugin.core.windows.windows import ROWS, Retention, Windows
from tests.support.samples import START, answer

if TYPE_CHECKING:
    from exacto_plugin.core.model import Sample

ROUGHLY = 2 * ALPHA


def two_modes(streamed: list[tuple[int, float]], whole: list[tuple[int, float]]) -> SpeedMedians:
    """One group of deployments, each given as samples and median per mode."""
    modes = (streamed, whole)
    return SpeedMedians(
        np.array([[[n for n, _ in mode]] for mode in modes], np.int32),
        np.array([[[median if n else np.nan for n, median in mode]] for mode in modes]),
    )


def test_one_mode_is_taken_as_it_is() -> None:
    """Without whole answers the levelled speed is the streamed one, and no samples give NaN."""
    level = merge_modes(two_modes([(50, 60.0), (0, 0.0)], [(0, 0.0), (0, 0.0)]), 1.0)
    assert level.samples.tolist() == [[50, 0]]
    assert level.medians[0, 0] == pytest.approx(60.0)
    assert np.isnan(level.medians[0, 1])


def test_modes_are_levelled_by_deployments_that_have_both() -> None:
    """Equal providers with different shares of whole answers, which look 0.8 times as fast, come out equal."""
    level = merge_modes(two_modes([(80, 60.0), (20, 60.0), (100, 60.0)], [(20, 48.0), (80, 48.0), (0, 0.0)]), 1.0)
    assert level.medians[0] == pytest.approx([60.0, 60.0, 60.0])
    assert level.samples.tolist() == [[100, 100, 100]]


def test_the_prevailing_mode_sets_the_terms() -> None:
    """Where most answers are whole, speeds are in terms of whole answers."""
    level = merge_modes(two_modes([(20, 60.0), (0, 0.0)], [(200, 48.0), (100, 24.0)]), 1.0)
    assert level.medians[0] == pytest.approx([48.0, 24.0])


def test_modes_that_cannot_be_levelled() -> None:
    """Nobody has both modes: with a ratio of 1 they are mixed as they are, with NaN the rarer one is left out."""
    apart = two_modes([(100, 60.0), (0, 0.0)], [(0, 0.0), (50, 30.0)])
    assert merge_modes(apart, 1.0).medians[0] == pytest.approx([60.0, 30.0])
    left_out = merge_modes(apart, np.nan)
    assert left_out.samples.tolist() == [[100, 0]]
    assert np.isnan(left_out.medians[0, 1])


def recent(samples: list[Sample]) -> tuple[SpeedMedians, SpeedMedians]:
    """Recent speed and latency of slot 1."""
    windows = Windows(Retention(), 100)
    windows.resize(ROWS)
    for sample in samples:
        windows.record(1, sample)
    windows.blocks[0].flush(START)
    return recent_medians(windows.blocks[0], START)


def test_recent_pace_prefers_the_last_minutes() -> None:
    """Five answers of the last 5 minutes outweigh many older ones."""
    now = [answer(at=START - 30, output_tokens=400, duration_s=4.0)] * 5
    before = [answer(at=START - 900, output_tokens=400, duration_s=40.0)] * 50
    speed, latency = recent(now + before)
    assert speed.medians[1, 1] == pytest.approx(100.0, rel=ROUGHLY)
    assert latency.medians[1, 1] == pytest.approx(4.0, rel=ROUGHLY)


def test_recent_pace_falls_back_when_thin() -> None:
    """Four answers of the last 5 minutes are too few: the last half-hour is taken, and else the last day."""
    now = [answer(at=START - 30, output_tokens=400, duration_s=4.0)] * 4
    half_hour = [answer(at=START - 1500, output_tokens=400, duration_s=40.0)] * 50
    day = [answer(at=START - 36_000, output_tokens=400, duration_s=400.0)] * 50
    assert recent(now + half_hour + day)[0].medians[1, 1] == pytest.approx(10.0, rel=ROUGHLY)
    assert recent(now + day)[0].medians[1, 1] == pytest.approx(1.0, rel=ROUGHLY)
    assert np.isnan(recent([])[0].medians[1, 1])


def test_one_caller_does_not_decide_a_sort() -> None:
    """However many slow answers it gets in these minutes; where it is the only one, there are no others."""
    honest = [
        answer(at=START - 30, output_tokens=400, duration_s=4.0, caller=f"honest-{number % 6}") for number in range(12)
    ]
    evil = [answer(at=START - 30, output_tokens=400, duration_s=40.0, caller="evil")] * 100
    speed, latency = recent(honest + evil)
    assert speed.medians[1, 1] == pytest.approx(100.0, rel=ROUGHLY)
    assert latency.medians[1, 1] == pytest.approx(4.0, rel=ROUGHLY)
    assert recent(evil)[0].medians[1, 1] == pytest.approx(10.0, rel=ROUGHLY)
    assert recent(evil)[1].medians[1, 1] == pytest.approx(40.0, rel=ROUGHLY)


def test_one_caller_does_not_decide_the_time_to_the_first_token() -> None:
    """With streams too, and a caller that nobody waits longer than."""
    honest = [
        answer(at=START - 30, duration_s=9.0, first_token_s=0.5, streamed=True, caller=f"honest-{number % 6}")
        for number in range(12)
    ]
    evil = [answer(at=START - 30, duration_s=90.0, first_token_s=60.0, streamed=True, caller="evil")] * 100
    assert recent(honest + evil)[1].medians[0, 1] == pytest.approx(0.5, rel=ROUGHLY)
    assert recent(evil)[1].medians[0, 1] == pytest.approx(60.0, rel=ROUGHLY)


def test_latency_of_streamed_answers_is_to_the_first_token() -> None:
    """A streamed answer's latency is its first token's, and failed attempts have none."""
    streamed = [answer(duration_s=9.0, first_token_s=0.5, streamed=True), answer(ok=False, duration_s=60.0)]
    _, latency = recent(streamed)
    assert latency.samples[:, 1].tolist() == [1, 0]
    assert latency.medians[0, 1] == pytest.approx(0.5, rel=ROUGHLY)


def test_growing_keeps_what_is_there() -> None:
    """Room for more slots adds empty ones at the end."""
    assert grow(empty_medians(), 3).samples.tolist() == [[0, 0, 0], [0, 0, 0]]
    grown = grow(SpeedMedians(np.array([[1], [2]], np.int32), np.array([[3.0], [4.0]])), 2)
    assert grown.samples.tolist() == [[1, 0], [2, 0]]
    assert grow(grown, 1).medians.tolist() == [[3.0, 0.0], [4.0, 0.0]]

"""The history of deranked deployments: what is read of it, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.tiers.adaptive.history import EvidenceSeries, evidence_series
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.windows import Retention, WindowBlock

NOW = 1_800_000_000.0
WEEK_S = 604_800.0
ROWS = np.arange(3)


def block_with(calls: list[tuple[int, int, float]], now: float) -> WindowBlock:
    """A window block with calls of some rows, each so many seconds ago, a third of them bad."""
    block = WindowBlock(Retention())
    for row, number, ago_s in calls:
        counts = {CounterKind.CALLED: number, CounterKind.SCHEMA_MISMATCH: number // 3}
        block.buffer(now - ago_s).add(row, counts, {})
    block.flush(now)
    return block


def told(series: EvidenceSeries, wanted: float, ages_s: list[float], now: float) -> list[list[int]]:
    """What the rule reads of a history."""
    sums = [part.tolist() for age_s in ages_s for part in series.sums(now - age_s)]
    return [*sums, *(part.tolist() for part in series.latest(np.full(len(ROWS), wanted)))]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50), st.floats(0, WEEK_S)), max_size=12),
    st.lists(st.floats(0, WEEK_S), min_size=3, max_size=3),
    st.floats(1, 200),
    st.floats(0, 22_000),
)
def test_what_is_not_read_is_not_missed(
    calls: list[tuple[int, int, float]], begun_s: list[float], wanted: float, later_s: float
) -> None:
    """Evidence since a time is the same whether the counts before the earliest of these times are read or not."""
    now = NOW + later_s
    block = block_with(calls, now)
    begun = now - np.array(begun_s)
    whole = evidence_series(block, ROWS, now, WEEK_S).since(begun)
    part = evidence_series(block, ROWS, now, WEEK_S, since=float(begun.min())).since(begun)
    ages_s = [0.0, 300.0, 3600.0, 86_400.0, WEEK_S]
    assert told(part, wanted, ages_s, now) == told(whole, wanted, ages_s, now)
    assert part.start.tolist() == whole.start.tolist()


@pytest.mark.parametrize(("age_s", "most"), [(0.0, 1), (3600.0, 62), (90_000.0, 210), (WEEK_S, 400)])
def test_no_more_is_read_than_asked(age_s: float, most: int) -> None:
    """Of a derank an hour ago the minutes of two hours are enough, and of a new one its minute."""
    block = block_with([(0, 3, 30.0)], NOW)
    assert 1 <= len(evidence_series(block, ROWS, NOW, WEEK_S, since=NOW - age_s).calls) <= most

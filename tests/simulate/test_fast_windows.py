"""The cumulated counts of a fast run: a rule reads the same from them as from the windows."""

from __future__ import annotations

import numpy as np
import pytest

from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.columns import DERANKED
from exacto_plugin.core.tiers.openrouter import OpenRouterPreset
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.windows import ROWS, Retention, Windows
from exacto_plugin.simulate.fast.traffic import Calls, CellTable
from exacto_plugin.simulate.fast.windows import COUNTED, IntervalWindows
from exacto_plugin.simulate.run import START

SLOTS = 300
HOURS = 160


def _both(interval_s: int, rows: int) -> tuple[Windows, IntervalWindows]:
    """The same answers of some rows in both, up to the last interval."""
    chance = np.random.default_rng(7)
    table = CellTable(5, 2)
    real, fast = Windows(Retention(), 100), IntervalWindows(SLOTS, interval_s, table.numbers)
    real.resize(SLOTS)
    for step in range(HOURS * 3600 // interval_s):
        count = int(chance.integers(0, 12))
        row = chance.choice([3, 17, 299][:rows], count)
        fate = chance.random(count)
        calls = Calls(row, chance.integers(0, 5, count), chance.integers(0, 2, count), fate < 0.1, fate > 0.7)
        picks = np.bincount(row, minlength=SLOTS) * 2
        columns = [
            picks,
            *(np.bincount(row[m], minlength=SLOTS) for m in (~calls.lost, calls.bad, calls.lost, fate < 0.2)),
        ]
        cells = table.count(calls, SLOTS)
        fast.add(np.stack(columns), cells)
        at = START + step * interval_s + interval_s // 2 // 60 * 60
        for slot in np.unique(row).tolist():
            counts = {kind: int(column[slot]) for kind, column in zip(COUNTED, columns, strict=True)}
            counts[CounterKind.OFFERED] = counts[CounterKind.CHECKED] = counts[CounterKind.ANSWERED]
            found = dict(zip(table.numbers.tolist(), cells[:, slot].tolist(), strict=True))
            real.add(slot, counts, {cell: number for cell, number in found.items() if number}, at)
        for block in real.blocks:
            block.flush(START + (step + 1) * interval_s)
    return real, fast


@pytest.mark.parametrize(
    "preset", [AdaptivePreset(), AdaptivePreset(broken_answers=True), OpenRouterPreset(counts_lost=True)]
)
def test_a_rule_reads_the_same(preset: AdaptivePreset | OpenRouterPreset) -> None:
    """Every measurement is equal, also those of a deranked deployment in a trial."""
    real, fast = _both(300, 3)
    now = START + HOURS * 3600.0
    readings = []
    for windows in (real, fast):
        rule = preset.judge()
        rule.resize(2 * ROWS)
        state = {"tier": "deranked", "cause": 1, "epoch": now - 50_000.0, "burst_from": now - 7000.0, "phi": 2.0}
        rule.load(17, state)
        for number, block in enumerate(windows.blocks):
            rule.measure(number, block, now)
            rule.measure_block(number, block, now)
        readings.append(rule.read(np.arange(2 * ROWS)))
    assert readings[0].times == readings[1].times
    for name, column in readings[0].columns.items():
        np.testing.assert_allclose(readings[1].columns[name], column, rtol=1e-12, err_msg=name)
    assert DERANKED in readings[1].columns.get("memory.tier", [DERANKED])

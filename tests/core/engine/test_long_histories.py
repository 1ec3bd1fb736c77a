"""Engines that have run for hours: what they counted is what was recorded, and verdicts follow from that."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Signal, Tier
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.openrouter import OpenRouterPreset
from exacto_plugin.core.windows.increments import CALLERS, CounterKind, HistogramKind
from exacto_plugin.sharing.codec import unpack_windows
from tests.support.samples import START, answer, tiers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.core.model import Sample
    from exacto_plugin.core.tiers.columns import Preset

WINDOWS_S = (300, 900, 3600, 21_600, 86_400)
STATES = Path(__file__).parents[2] / "data" / "states"


def engine_of(*deployments: str, preset: Preset | None = None) -> Engine:
    """An engine that knows the peers of group ``g``."""
    engine = Engine(preset or AdaptivePreset())
    engine.observe_peers("g", tuple(map(DeploymentKey, deployments)), START)
    return engine


def shifting(minutes: int = 240) -> Iterator[tuple[float, list[Sample]]]:
    """Traffic that moves: 3 requests a minute at ``a`` for two hours, then 6 at ``b``; one caller, every call good."""
    for minute in range(minutes):
        name, requests = ("a", 3) if minute < 120 else ("b", 6)
        at = START + 60 * minute
        yield at + 60, [answer(name, at + 5 * number, caller="k") for number in range(requests)]


def cells_of(engine: Engine, now: float) -> list[list[list[int]]]:
    """All cells over all windows, as the engine keeps them up to date."""
    (block,) = engine._state.windows.blocks
    return [
        block.cells(HistogramKind.SPEED_STREAMED, HistogramKind.SPEED_BY_CALLER, now, window_s).tolist()
        for window_s in WINDOWS_S
    ]


def first_cells_of(engine: Engine, now: float) -> list[list[list[int]]]:
    """Those cells that the first version marked: no accounts, and no speeds by account."""
    return [
        [*window[: HistogramKind.CALLERS], window[HistogramKind.CALLERS][: 2 * CALLERS]]
        for window in cells_of(engine, now)
    ]


def test_sums_hold_while_traffic_moves_from_one_deployment_to_another() -> None:
    """At every recompute they are those of an engine that counts the same entries anew."""
    engine = engine_of("a", "b")
    for now, recorded in shifting():
        for sample in recorded:
            engine.record(sample)
        if (now - START) % 900 == 0:
            engine.recompute(now)
            fresh = engine_of("a", "b")
            fresh.load_windows("g", engine.dump_windows("g"))
            assert cells_of(engine, now) == cells_of(fresh, now)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("before_min", [120, 180])
def test_one_key_that_always_fails_deranks_nobody(seed: int, before_min: int) -> None:
    """One key sends 10 bad calls a minute to a good deployment, one of 4 that serve 10 others with 10 a minute."""
    draw, engine = random.Random(seed), engine_of("a", "b", "c", "d")
    for minute in range(before_min + 60):
        at = START + 60 * minute
        for _ in range(10):
            outcome = Outcome.SCHEMA_MISMATCH if draw.random() < 0.003 else Outcome.VALID
            name, caller, duration_s = draw.choice("abcd"), f"key-{draw.randrange(10)}", draw.lognormvariate(1.0, 1.0)
            engine.record(answer(name, at, outcome, caller=caller, output_tokens=200, duration_s=duration_s))
        for _ in range(10 if minute >= before_min else 0):
            engine.record(answer("a", at, Outcome.SCHEMA_MISMATCH, caller="attacker"))
        if minute % 5 == 4:
            engine.recompute(at + 60)
            assert tiers_of(engine)["a"] is not Tier.DERANKED


def test_a_state_that_was_saved_while_sums_were_wrong_is_read_right() -> None:
    """The first version wrote it where traffic moves; entries are what is saved, so that sums are counted anew."""
    saved = json.loads((STATES / "wrapped-sums.json").read_text())
    now = START + 60 * saved["after_min"]
    loaded, recorded = engine_of("a", "b"), engine_of("a", "b")
    loaded.load_windows("g", unpack_windows(saved["windows"]))
    loaded.load(saved["remembered"])
    for at, samples in shifting():
        for sample in samples:
            for engine in (loaded, recorded) if at > now else (recorded,):
                engine.record(sample)
        if at >= now and at % 300 == 0:
            for engine in (loaded, recorded):
                engine.recompute(at)
            assert first_cells_of(loaded, at) == first_cells_of(recorded, at)
            assert tiers_of(loaded) == tiers_of(recorded)


@pytest.mark.parametrize("preset", [AdaptivePreset(), OpenRouterPreset()], ids=["adaptive", "openrouter"])
@pytest.mark.parametrize("calls", [2**15, 2**31, 2**32 - 1, 2**32, 2**33])
def test_no_number_is_too_large_for_a_verdict(preset: Preset, calls: int) -> None:
    """Nor for the way through bytes; so many calls of each of 3 callers in every minute."""
    engine, names = engine_of(*"abcde", preset=preset), "abcde"
    counts = {
        CounterKind.ANSWERED: calls,
        CounterKind.OFFERED: calls,
        CounterKind.CALLED: calls,
        CounterKind.TIMED: calls,
    }
    for minute in range(60):
        for place, name in enumerate(names):
            bad = calls // 5 if name == "e" else calls // 5000
            speed = int(HistogramKind.SPEED_WHOLE) * BINS + 60 + place
            for caller in range(3):
                first = int(HistogramKind.CALLERS) * BINS + 2 * caller
                mix = int(HistogramKind.CASE_MIX) * BINS
                cells = {first: calls - bad, first + 1: bad, mix: calls - bad, mix + 1: bad, speed: calls}
                engine.add(
                    "g", DeploymentKey(name), {**counts, CounterKind.SCHEMA_MISMATCH: bad}, cells, START + 60 * minute
                )
        if minute % 5 == 4:
            engine.recompute(START + 60 * minute)
    loaded = engine_of(*names, preset=preset)
    loaded.load_windows("g", engine.dump_windows("g"))
    loaded.recompute(START + 3540)
    for one in (engine, loaded):
        signals = one.snapshot.groups["g"].verdicts[DeploymentKey("a")].signals
        assert signals[Signal.TOOL_CALL_SUCCESS].value == pytest.approx(1 - calls // 5000 / calls)
        assert signals[Signal.TOOL_CALL_SUCCESS].samples == 180 * calls
        assert signals[Signal.THROUGHPUT].samples == 3 * calls * (60 if isinstance(preset, AdaptivePreset) else 35)
        assert [name for name, tier in tiers_of(one).items() if tier is Tier.DERANKED] == ["e"]

"""From what was put on record of a recompute, its verdicts follow again, bit for bit."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import BenchmarkScores, DeploymentKey, SignalValue, Tier
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.checkpoints import ChangeDetector, GroupChange, RecordCause, ScanResult
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters, OpenRouterPreset
from exacto_plugin.core.tiers.replay import (
    InputsError,
    decode,
    encode,
    preset_as_plain,
    preset_of_plain,
    read_block,
    replay,
)
from exacto_plugin.core.windows.increments import CounterKind, HistogramKind
from tests.support.samples import START

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import GroupSnapshot
    from exacto_plugin.core.tiers.columns import Block, Preset, TierAssignments, TierRule

ADAPTIVE = AdaptivePreset(AdaptiveParameters(propensity_deranks=True), 0.03)
PUBLISHED = OpenRouterPreset(
    OpenRouterParameters(min_peers=3, tool_call_requests=40, throughput_requests=20), counts_lost=True
)


class WholeLedger(ChangeDetector):
    """Accounts for every group at every recompute."""

    def scan(
        self,
        judge: TierRule,
        block: Block,
        judgement: TierAssignments,
        scores: Mapping[str, BenchmarkScores],
        now: float,
    ) -> ScanResult:
        """All of the block."""
        inputs = read_block(judge, block, scores)
        names = enumerate(block.groups)
        return ScanResult(
            [GroupChange(group, RecordCause.CHECKPOINT, (), inputs, number) for number, group in names], {}
        )


def said(group: GroupSnapshot) -> object:
    """Tiers, reasons and references, every bit of every float included."""
    return (
        {
            name: (verdict.tier, repr(verdict.reasons), repr(verdict.signals))
            for name, verdict in group.verdicts.items()
        },
        {signal: repr(reference) for signal, reference in group.references.items()},
    )


def fleet(preset: Preset, sizes: list[int], seed: int) -> Engine:
    """Model groups of these sizes, whose deployments have limits and weights of any kind."""
    engine = Engine(preset)
    engine.change_detector = WholeLedger()
    draw = np.random.default_rng(seed)
    for number, size in enumerate(sizes):
        names = [f"d{place}" for place in range(size)]
        chosen = [name for name in names if draw.random() < 0.3]
        engine.observe_peers(
            f"g{number}",
            tuple(map(DeploymentKey, names)),
            START,
            weights={DeploymentKey(name): float(draw.lognormal()) for name in names},
            capacities={DeploymentKey(name): float(draw.lognormal(1.0)) for name in chosen},
        )
        if draw.random() < 0.3:
            scores = {
                DeploymentKey(name): SignalValue(float(draw.random()), int(draw.integers(100))) for name in chosen
            }
            engine.observe_scores(f"g{number}", BenchmarkScores(scores, 0.7, 0.7 - draw.random() / 3, 45))
    return engine


def serve(engine: Engine, draw: np.random.Generator, now: float) -> None:
    """A while's traffic, of all kinds that judges look at; some deployments break and heal."""
    for group in engine.groups():
        for place, name in enumerate(engine.snapshot.groups[group].verdicts if engine.snapshot.groups else ()):
            calls = int(draw.poisson(25))
            failing = math.sin(place + now / 9000 + len(group)) > 0.6
            bad, lost = draw.binomial(calls, 0.3 if failing else 0.01), draw.binomial(3, 0.1)
            counts = {
                CounterKind.ANSWERED: calls + lost + 5,
                CounterKind.OFFERED: calls + lost + int(draw.integers(5)),
                CounterKind.CALLED: calls,
                CounterKind.SCHEMA_MISMATCH: int(bad),
                CounterKind.LOST: int(lost),
                CounterKind.TIMED: calls,
            }
            cells: dict[int, int] = {}
            for number in range(calls):
                wrong = int(number < bad)
                mode = HistogramKind.SPEED_WHOLE if draw.random() < 0.4 else HistogramKind.SPEED_STREAMED
                for cell in (
                    int(HistogramKind.CALLERS) * BINS + int(draw.integers(32)) * 2 + wrong,
                    int(HistogramKind.CASE_MIX) * BINS + int(draw.integers(4)) * 4 + wrong,
                    int(mode) * BINS + int(np.clip(draw.normal(20 - 2 * place, 3), 0, BINS - 1)),
                ):
                    cells[cell] = cells.get(cell, 0) + 1
            engine.add(group, name, counts, cells, now - float(draw.random()) * 250)


@pytest.mark.parametrize("preset", [ADAPTIVE, PUBLISHED], ids=["adaptive", "openrouter"])
@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(1, 21), min_size=1, max_size=9), st.integers(0, 2**32 - 1))
def test_every_verdict_follows_from_what_is_kept(preset: Preset, sizes: list[int], seed: int) -> None:
    """Of every group at every recompute: same tiers, reasons and references, whoever else was judged beside it."""
    engine = fleet(preset, sizes, seed)
    draw = np.random.default_rng(seed)
    rule = preset_of_plain(preset_as_plain(preset))
    now = START
    for _ in range(14):
        serve(engine, draw, now)
        now += float(draw.choice([60.0, 300.0, 300.0, 7000.0]))
        engine.recompute(now)
        assert engine.change_detector is not None
        assert {account.model_group for account in engine.change_detector.changes} == set(engine.snapshot.groups)
        for account in engine.change_detector.changes:
            again = replay(decode(encode(account.inputs()), rule), rule, now)
            assert said(again) == said(engine.snapshot.groups[account.model_group])


def test_the_traffic_of_that_test_moves_tiers() -> None:
    """All tiers occur in it and change, under both presets; otherwise it would show little."""
    for preset in (ADAPTIVE, PUBLISHED):
        engine, draw, now = fleet(preset, [5, 12], 7), np.random.default_rng(7), START
        tiers: set[Tier] = set()
        moved = 0
        for _ in range(14):
            serve(engine, draw, now)
            now += 300.0
            engine.recompute(now)
            moved += len(engine.transitions)
            tiers |= {one.tier for group in engine.snapshot.groups.values() for one in group.verdicts.values()}
        assert tiers == set(Tier)
        assert moved > 17


EDGES = [
    sign * 2.0**bits + beside for bits in (7, 8, 15, 16, 31, 32, 53, 63) for sign in (1, -1) for beside in (-1, 0, 1)
]
"""Integers around the ends of every type, as far as there are such floats."""


@given(st.lists(st.sampled_from(EDGES) | st.floats() | st.sampled_from([0.0, 1.0]), min_size=8, max_size=8))
@example([-0.0, math.nan, 5e-324, math.inf, 0.0, 2.0**53, -1.0, 2.0**40])
def test_numbers_come_back_bit_for_bit(numbers: list[float]) -> None:
    """Infinities, NaN, negative zeros, subnormals and large integers survive, in whatever type a column is written."""
    engine = fleet(ADAPTIVE, [4], 1)
    engine.recompute(START)
    assert engine.change_detector is not None
    inputs = engine.change_detector.changes[0].inputs()
    odd, big = np.array(numbers[:4]), np.array(numbers[4:])
    inputs.reading.columns["memory.frozen"][:], inputs.reading.columns["evidence.load"][:] = odd, big
    again = decode(encode(inputs), ADAPTIVE)
    assert again.reading.columns["memory.frozen"].tobytes() == odd.tobytes()
    assert again.reading.columns["evidence.load"].tobytes() == big.tobytes()
    assert again.reading.times == inputs.reading.times
    assert again.deployments == inputs.deployments


@pytest.mark.parametrize("damage", [b"", b"\x02rest", b"\x01rest"])
def test_what_cannot_be_read_is_said(damage: bytes) -> None:
    """Damaged bytes, those of another format and those of another preset are told as such."""
    engine = fleet(PUBLISHED, [3], 1)
    engine.recompute(START)
    assert engine.change_detector is not None
    good = encode(engine.change_detector.changes[0].inputs())
    for data in (damage, good[:-9]):
        with pytest.raises(InputsError):
            decode(data, PUBLISHED)
    with pytest.raises(InputsError, match="another preset"):
        decode(good, ADAPTIVE)


def test_a_rule_of_another_version_is_not_guessed() -> None:
    """A number that is missing or unknown stops the replay instead of falling back to a default."""
    plain = preset_as_plain(ADAPTIVE)
    for changed in ({**plain, "rule": {**plain["rule"], "colour": 1}}, {"preset": "adaptive", "rule": {}}, {}):
        with pytest.raises(InputsError):
            preset_of_plain(changed)


def test_a_rule_written_before_a_number_was_added_is_read_as_it_judged() -> None:
    """A record without the number has its neutral value, not the default of today."""
    plain = preset_as_plain(PUBLISHED)
    del plain["rule"]["verify_peers"]
    read = preset_of_plain(plain)
    assert isinstance(read, OpenRouterPreset)
    assert (read.rule.verify_peers, read.rule.min_peers, read.counts_lost) == (1, 3, True)


def test_changes_and_hours_are_accounted_for() -> None:
    """A group is put on record first, then when a tier or reason changes or somebody comes or goes, and every hour."""
    engine = fleet(ADAPTIVE, [4, 3], 3)
    ledger = engine.change_detector = ChangeDetector()
    draw = np.random.default_rng(3)
    before: dict[str, object] = {}
    occasions = set()
    checkpoints: dict[str, list[float]] = {"g0": [], "g1": []}
    for step in range(40):
        now = START + 300 * step
        serve(engine, draw, now)
        engine.recompute(now)
        on_record = {account.model_group: account for account in ledger.changes}
        for group, snapshot in engine.snapshot.groups.items():
            for name, verdict in snapshot.verdicts.items():
                codes = (verdict.tier, [(reason.signal, reason.code) for reason in verdict.reasons])
                noted = group in on_record and name in on_record[group].deployments
                assert noted or before.get(f"{group}/{name}") == codes
                before[f"{group}/{name}"] = codes
        for group, account in on_record.items():
            occasions.add(account.cause)
            if account.cause is RecordCause.CHECKPOINT:
                assert account.deployments == tuple(engine.snapshot.groups[group].verdicts)
                checkpoints[group].append(now)
    assert occasions == set(RecordCause)
    for times in checkpoints.values():
        assert max(later - earlier for earlier, later in pairwise(times[1:])) == 3600.0
    engine.observe_peers("g1", [DeploymentKey("d0"), DeploymentKey("new")], now)
    engine.recompute(now + 300)
    (account,) = (one for one in ledger.changes if one.model_group == "g1")
    assert "new" in account.deployments

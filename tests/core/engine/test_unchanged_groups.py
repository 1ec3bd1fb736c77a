"""A recompute judges only what can have changed: its snapshot equals the one of judging everything, bit for bit."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Sample, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.windows.increments import CounterKind
from tests.core.engine.courses import GROUPS, PRESETS, TIMED, calls, courses, findings, scores
from tests.core.engine.judged_twice import assert_equals_judging_everything, engine_of, idle
from tests.support.samples import START, answer

if TYPE_CHECKING:
    from tests.core.engine.courses import Course


@settings(max_examples=25, deadline=None)
@given(preset=st.integers(0, len(PRESETS) - 1), course=courses, recorded=st.booleans())
def test_equals_judging_everything(preset: int, course: Course, recorded: bool) -> None:
    """Traffic, idle time, settings, overrides, runs, clocks: what is kept is what would be judged."""
    assert_equals_judging_everything(preset, course, recorded=recorded)


def test_a_later_run_takes_the_place_of_the_one_before() -> None:
    """Without traffic, the runs alone are compared."""
    course: Course = [([findings("g", 3, 30, 0.0)], 300.0), *idle(5), ([findings("g", 3, 0, -1.0)], 300.0), *idle(3)]
    engine = assert_equals_judging_everything(TIMED, course[:6])
    assert engine.snapshot.groups["g"].verdicts[GROUPS["g"][3]].tier is Tier.DERANKED
    engine = assert_equals_judging_everything(TIMED, course)
    assert engine.snapshot.groups["g"].verdicts[GROUPS["g"][3]].tier is Tier.VERIFIED_GOOD


def test_a_derank_by_scores_ends_with_the_scores() -> None:
    """Also where the scores of one group are gone and others are known, but not while none is (the store failed)."""
    name = GROUPS["g"][0]
    poor: Course = [([scores("g", 0.2)], 300.0), *idle(2), ([scores("g", None)], 300.0), *idle(3)]
    engine = assert_equals_judging_everything(TIMED, poor)
    assert engine.snapshot.groups["g"].verdicts[name].tier is Tier.DERANKED
    engine = assert_equals_judging_everything(TIMED, [*poor, ([scores("h", 0.7)], 300.0), *idle(3)])
    assert engine.snapshot.groups["g"].verdicts[name].tier is Tier.INSUFFICIENT_DATA


def test_the_run_behind_a_verdict_stays_in_a_copied_block() -> None:
    """The results of a block of which most groups were judged again are copied."""
    engine = engine_of(TIMED)
    for group in GROUPS:
        scores(group, 0.7)(engine, START)
    for number in range(3):
        engine.recompute(START + 300 * number)
    for number, group in enumerate(("g", "h", "i")):
        calls(group, 0, 100, 1, 60.0)(engine, START + 900 + 300 * number)
        engine.recompute(START + 900 + 300 * number)
    found = {group: engine.snapshot.groups[group].verdicts[GROUPS[group][0]] for group in GROUPS}
    assert {group: {reason.run for reason in verdict.reasons} - {None} for group, verdict in found.items()} == {
        group: {f"run of {group}"} for group in GROUPS
    }


def test_unchanged_groups_keep_their_verdicts() -> None:
    """Of two groups the one without anything new keeps the objects; only the time of its snapshot moves on."""
    engine = engine_of(1)
    for name in GROUPS["g"]:
        for group in ("g", "h"):
            engine.add(group, name, {CounterKind.ANSWERED: 600, CounterKind.CALLED: 600}, {}, START)
    engine.recompute(START)
    later = START + 2 * 86_400.0
    for number in range(4):
        engine.recompute(later + number * 300)
    before = {group: dict(part.verdicts) for group, part in engine.snapshot.groups.items()}
    assert before["g"][DeploymentKey("a")].tier is Tier.VERIFIED_GOOD
    engine.record(answer("a", later + 1100))
    engine.recompute(later + 1200)
    after = engine.snapshot.groups
    assert after["h"].at == after["g"].at == later + 1200
    assert all(after["h"].verdicts[name] is verdict for name, verdict in before["h"].items())
    assert after["g"].verdicts[DeploymentKey("a")] is not before["g"][DeploymentKey("a")]


def test_an_unchanged_group_keeps_all_that_its_snapshot_has() -> None:
    """Only the time moves on: every other field is that of the group that was judged."""
    engine = engine_of(TIMED)
    for name in GROUPS["g"]:
        engine.add("g", name, {CounterKind.ANSWERED: 600, CounterKind.CALLED: 600}, {}, START)
    for number in range(3):
        calls("g", 0, 200, 0 if number < 2 else 90, 60.0)(engine, START + 300 * number)
        engine.recompute(START + 300 * number)
    for number in range(3):
        engine.recompute(START + 4 * 86_400 + 300 * number)
    before = engine.snapshot.groups["g"]
    engine.recompute(START + 4 * 86_400 + 900)
    after = engine.snapshot.groups["g"]
    assert after.at == before.at + 300
    for field in fields(after):
        if field.name != "at":
            assert getattr(after, field.name) is getattr(before, field.name), field.name


@pytest.mark.parametrize("judged_again", [1, 9])
def test_keeps_little_of_blocks_that_are_mostly_replaced(judged_again: int) -> None:
    """Results of one block are copied once most of its groups were judged again; verdicts that were read stay."""
    engine = Engine(AdaptivePreset())
    names = [f"g{number}" for number in range(12)]
    for group in names:
        engine.observe_peers(group, GROUPS["g"], START)
    engine.recompute(START)
    engine.recompute(START + 300)
    last = engine.snapshot.groups[names[-1]].verdicts[DeploymentKey("a")]
    for group in names[:judged_again]:
        engine.record(Sample(group, DeploymentKey("a"), START + 590))
    engine.recompute(START + 600)
    results = engine._results  # memory is what is tested
    blocks = {id(found.verdicts): found.verdicts for name in names if (found := results.get(name)) is not None}
    assert sum(len(block.block.groups) for block in blocks.values()) <= 2 * len(names)
    assert engine.snapshot.groups[names[-1]].verdicts[DeploymentKey("a")] is last


def test_a_timer_need_not_be_exact() -> None:
    """Undecided deployments, whose probes depend on the interval of recomputes, are kept when it varies a little."""
    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", GROUPS["g"], START)
    for seconds in (0.0, 300.0, 600.4):
        engine.recompute(START + seconds)
    before = engine.snapshot.groups["g"].verdicts[DeploymentKey("a")]
    assert before.tier is Tier.INSUFFICIENT_DATA
    engine.recompute(START + 901.7)
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("a")] is before
    engine.recompute(START + 901.7 + 60)
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("a")] is not before

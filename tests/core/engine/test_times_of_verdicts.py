"""Verdicts that time alone changes, without a record's hourly look at every group that would find them late."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Tier
from exacto_plugin.core.routing.overrides import OverrideAction
from exacto_plugin.core.tiers.adaptive.common_cause import KEPT_S
from exacto_plugin.core.windows.increments import CounterKind
from tests.core.engine.courses import (
    BROKEN_DERANKS,
    DEFAULT,
    GROUPS,
    PRESETS,
    PUBLISHED,
    QUICK_RULE,
    TIMED,
    adopted,
    answers,
    calls,
    change_rule,
    cut_off,
    findings,
    imported,
    override,
    peers,
    replaced,
    restored,
    scores,
    traffic,
)
from tests.core.engine.judged_twice import assert_equals_judging_everything, idle

if TYPE_CHECKING:
    from exacto_plugin.core.model import DeploymentKey
    from tests.core.engine.courses import Course, Step

LAST = GROUPS["g"][-1]
_WINDOWS = (
    (300, 60),
    (900, 60),
    (1800, 300),
    (3600, 300),
    (7200, 60),
    (21_600, 300),
    (86_400, 1800),
    (93_600, 2400),
    (259_200, 1800),
    (604_800, 21_600),
)
"""Seconds after which counts leave a window or a ring, and a period in which that happens."""


def looks(times_s: list[float]) -> Course:
    """Recomputes at some times after the one before, in seconds."""
    ordered = sorted(set(times_s))
    return [([], later - before) for before, later in pairwise([0.0, *ordered])]


def around(at_s: float, steps: int = 4, width_s: float = 60.0) -> list[float]:
    """Times before and after one."""
    return [at_s + number * width_s for number in range(-steps, steps + 1)]


def tier_is(tier: Tier, name: DeploymentKey = LAST) -> Step:
    """The tier of a deployment of the first group so far, which the test is about."""

    def step(engine: Engine, now: float) -> None:
        assert engine.snapshot.groups["g"].verdicts[name].tier is tier

    return step


def state_has(field: str, *values: object) -> Step:
    """A field of the last deployment's state so far; without values any but None."""

    def step(engine: Engine, now: float) -> None:
        found = engine.dump()["g"][LAST][field]
        assert found in values if values else found is not None

    return step


@pytest.mark.parametrize("preset", [PUBLISHED, BROKEN_DERANKS])
def test_counts_leave_every_window(preset: int) -> None:
    """One burst of traffic, and looks while its minutes leave each window and each ring."""
    calm: list[Step] = [calls("g", 0, 300, 1, 200.0), answers("g", 5, 100, 0, 200.0), replaced("h")]
    burst: list[Step] = [traffic("g", 20, 2, 100.0, broken=1), calls("h", 0, 100, 1, 30.0)]
    times_s = [time_s for age_s, width_s in _WINDOWS for time_s in around(age_s + width_s / 3, 2, width_s / 2)]
    assert_equals_judging_everything(preset, [(calm, 307.0), (burst, 100_000.0), *looks(times_s)])


def test_trials_begin_fail_and_grow_old() -> None:
    """A deranked deployment is tried after a pause, which doubles; calls of a trial age with its windows."""
    calm: Course = [([calls("g", 0, 300, 1, 60.0)], 300.0), *idle(2), ([calls("g", 4, 100, 30, 60.0)], 300.0)]
    waiting: Course = [([], 60.0), ([tier_is(Tier.DERANKED)], 60.0), *looks(around(1680.0, 3))]
    trial: Course = [([state_has("rule.burst_from"), traffic("g", 12, 1, 50.0)], 60.0), *idle(2, 60.0)]
    ages_s = [time_s for age_s in (300, 900, 3600, 21_600, 86_400) for time_s in around(age_s - 240.0, 5)]
    assert_equals_judging_everything(QUICK_RULE, [*calm, *waiting, *trial, *looks(ages_s[4:])])
    failed: Course = [([traffic("g", 5, 5, 50.0)], 60.0), ([state_has("rule.level", 1)], 60.0)]
    failed += [*idle(1, 60.0), *looks(around(3480.0, 3)), ([state_has("rule.burst_from")], 60.0)]
    assert_equals_judging_everything(QUICK_RULE, [*calm, *waiting, *trial, *failed])


def test_a_derank_for_speed_lasts_an_hour() -> None:
    """It ends by its age alone when the latest answers are fast."""
    course: Course = [([traffic("g", 20, age_s=280.0)], 300.0), *idle(10)]
    course += [([tier_is(Tier.DERANKED), traffic("g", 40, age_s=280.0, last_s=3.0)], 300.0)]
    course += [([tier_is(Tier.DERANKED)], 100.0), *looks(around(200.0, 3, 45.0))]
    engine = assert_equals_judging_everything(QUICK_RULE, course)
    assert engine.snapshot.groups["g"].verdicts[LAST].tier is not Tier.DERANKED


def test_a_derank_for_speed_lasts_a_day_without_answers() -> None:
    """The deployment is compared long after its answers, which are forgotten before a day is over."""
    everybody, others = peers("g", 5, 1.0, 1000.0, 50.0, "x"), peers("g", 4, 1.0, 1000.0, 50.0, "x")
    course: Course = [*[([others, traffic("g", 20, age_s=280.0)], 1800.0)] * 4, ([everybody], 36_000.0), *idle(2)]
    going_on = traffic("g", 20, age_s=280.0, members=4)
    course += [([tier_is(Tier.DERANKED), going_on], wait_s) for wait_s in (40_000.0, 15_000.0, 15_000.0)]
    course += [([tier_is(Tier.DERANKED)], 15_500.0)]
    engine = assert_equals_judging_everything(QUICK_RULE, [*course, *idle(9, 60.0)])
    assert engine.snapshot.groups["g"].verdicts[LAST].tier is not Tier.DERANKED


@pytest.mark.parametrize("wait_s", [60.0, 2000.0])
def test_a_learned_limit_rises_and_is_forgotten(wait_s: float) -> None:
    """Nothing but the time tells how much a deployment may be given again."""
    course: Course = [([traffic("g", 40, refused=5)], 300.0), ([state_has("rule.limit")], wait_s), *idle(20, wait_s)]
    assert_equals_judging_everything(QUICK_RULE, course)


@pytest.mark.parametrize(
    "steps",
    [
        [peers("g", 4, 1.0, 1000.0, 50.0, "x")],
        [peers("g", 5, 0.0, 1000.0, 50.0, "x")],
        [peers("g", 5, 1.0, 1.0, 50.0, "x")],
        [peers("g", 5, 1.0, 1000.0, 1.0, "x")],
        [peers("g", 5, 1.0, 1000.0, 50.0, "y")],
        [peers("h", 2, 1.0, 1000.0, 50.0, "x")],
        [peers("h", 0, 1.0, 1000.0, 50.0, "x")],
        [peers("w", 0, 1.0, 1000.0, 50.0, "x")],
        [scores("g", 0.2)],
        [scores("h", 0.7)],
        [findings("g", 4, 30, 0.0)],
        [override("g", OverrideAction.DERANKED, 400.0)],
        [imported("h", 20, as_state=True)],
        [imported("h", 20, as_state=False)],
        [adopted("g", 40)],
        [restored("g", add=False)],
        [restored("g", add=True)],
        [cut_off(1, closed=True), change_rule(1)],
        [cut_off(2, closed=False)],
        *[[change_rule(number)] for number in (0, 1, 2, 3)],
        [lambda engine, now: engine.restart("g", LAST, now)],
        [lambda engine, now: engine.watch("g", now)],
    ],
)
def test_each_input_by_itself(steps: list[Step]) -> None:
    """Of groups in which nothing has happened for a while, and for which nothing is due, one thing changes."""
    start: list[Step] = [peers("g", 5, 1.0, 1000.0, 50.0, "x"), calls("g", 1, 300, 1, 60.0), traffic("g", 7)]
    settled: Course = [(start, 300.0), *idle(1), ([calls("g", 4, 100, 40, 60.0)], 300.0), ([], 23_900.0)]
    assert_equals_judging_everything(BROKEN_DERANKS, [*settled, *idle(3, 50.0), (steps, 50.0), *idle(2, 50.0)])


def test_a_restart_at_the_time_of_a_recompute() -> None:
    """It counts although the evidence is no younger than the measurements."""
    course: Course = [([calls("g", 0, 300, 1, 60.0)], 300.0), *idle(2), ([replaced("g")], 0.0), *idle(2, 50.0)]
    assert_equals_judging_everything(QUICK_RULE, course)


def test_the_widest_group_is_an_input_of_the_others() -> None:
    """Sums over the deployments of a narrower group have other last digits without it."""
    weights = dict(zip(GROUPS["g"], (0.1, 0.2, 0.3, 0.4, 0.7), strict=True))

    def weighted(engine: Engine, now: float) -> None:
        engine.observe_peers("g", GROUPS["g"], now, weights=weights)

    course: Course = [([weighted, traffic("g", 3)], 300.0), *idle(4), *idle(2, 50.0)]
    course += [([peers("w", 0, 1.0, 1000.0, 50.0, "x")], 50.0), *idle(1, 50.0)]
    assert_equals_judging_everything(QUICK_RULE, course)


def test_counts_of_a_replica_take_the_place_of_old_ones() -> None:
    """After days without a recompute its counts displace those of a group that has none since."""
    periods = ((60, 125), (300, 75), (1800, 147))

    def took_over(engine: Engine, now: float) -> None:
        replica = Engine(PRESETS[QUICK_RULE])
        replica.observe_peers("g", GROUPS["g"], now)
        for ago_s in {width_s * number for width_s, many in periods for number in range(many)}:
            replica.add("g", LAST, {CounterKind.ANSWERED: 1}, {}, now - ago_s)
        replica.recompute(now)
        engine.restore_windows("g", replica.copy_windows("g"), add=True)

    old: Step = answers("h", 3, 20, 0, 60.0)
    course: Course = [([old], 300.0), *idle(3), ([took_over], 4 * 86_400.0), *idle(2)]
    assert_equals_judging_everything(QUICK_RULE, course)


@pytest.mark.parametrize("bad", [0, 30])
def test_a_finding_counts_from_its_end_and_as_long_as_it_holds(bad: int) -> None:
    """Without traffic, nothing but the time changes when it begins and when it ends to count."""
    newcomer = GROUPS["g"][3]
    course: Course = [([], 300.0), ([], 300.0), ([findings("g", 3, bad, -950.0)], 300.0), *idle(3)]
    engine = assert_equals_judging_everything(TIMED, course)
    assert engine.snapshot.groups["g"].verdicts[newcomer].tier is Tier.INSUFFICIENT_DATA
    engine = assert_equals_judging_everything(TIMED, [*course, *idle(3)])
    counted = Tier.DERANKED if bad else Tier.VERIFIED_GOOD
    assert engine.snapshot.groups["g"].verdicts[newcomer].tier is counted
    engine = assert_equals_judging_everything(TIMED, [*course, *idle(3), *idle(2, 129_000.0), *idle(8)])
    assert engine.snapshot.groups["g"].verdicts[newcomer].tier is Tier.INSUFFICIENT_DATA


@pytest.mark.parametrize("wait_s", [300.0, 1700.0, 3600.0, 20_000.0, 86_000.0])
def test_a_derank_by_broken_answers_grows_old(wait_s: float) -> None:
    """Answers without tool calls: the windows of a derank, its trials and its memory change by time alone."""
    trouble: Course = [([answers("g", 5, 200, 0, 60.0)], 300.0), ([answers("g", 1, 100, 40, 60.0)], 300.0)]
    # Between the last two recomputes of the trial nothing leaves a window, and the trial becomes older than one.
    trial: Course = [*idle(5), ([], 250.0), ([], 200.0), ([answers("g", 1, 12, 1, 90.0)], 300.0)]
    trial += [([], 300.0), ([], 200.0), ([], 150.0)]
    course: Course = [*trouble, *trial, *idle(20, wait_s)]
    course[6] = ([tier_is(Tier.DERANKED, GROUPS["g"][0]), *course[6][0]], course[6][1])
    assert_equals_judging_everything(BROKEN_DERANKS, course)


def test_the_dispersion_of_broken_answers_is_an_input() -> None:
    """It changes the answers that are read of a deranked deployment, and another one's late answers can change it."""
    calm, trouble = ([answers("g", 5, 200, 0, 60.0)], 300.0), ([answers("g", 1, 100, 40, 60.0)], 300.0)
    fresh = ([answers("g", 1, 12, 0, 60.0)], 100.0)
    late = ([answers("h", 1, 10, 0, 5000.0)], 50.0)
    course: Course = [*idle(4), calm, *idle(2), trouble, *[fresh] * 3, ([], 1000.0), ([], 50.0)]
    course += [([answers("g", 1, 40, 20, 60.0)], 50.0), late, *idle(8)]
    engine = assert_equals_judging_everything(BROKEN_DERANKS, course)
    assert engine.snapshot.groups["g"].verdicts[GROUPS["g"][0]].tier is Tier.DERANKED
    assert float(engine.dump()["g"]["a"]["rule.answers.phi"] or 0.0) > 2.5


@pytest.mark.parametrize("preset", [QUICK_RULE, DEFAULT])
def test_a_rise_at_all_hosts_is_told_until_a_day_after_its_end(preset: int) -> None:
    """Its record ends in a minute in which nothing else changes."""
    calm: Course = [([], 10_800.0), ([calls("g", 0, 1000, 10, 60.0)], 300.0), *idle(1, 2100.0)]
    course: Course = [*calm, ([calls("g", 0, 100, 20, 840.0)], 1200.0), *idle(2), ([], 2400.0), *idle(3)]
    engine = assert_equals_judging_everything(preset, course)
    told = engine.snapshot.groups["g"].common_cause
    assert told is not None
    assert told.end is not None
    left_s = told.end + KEPT_S - engine.measured.at
    engine = assert_equals_judging_everything(preset, [*course, *looks([left_s - 7000.0, *around(left_s + 20.0)])])
    assert engine.snapshot.groups["g"].common_cause is None


@pytest.mark.parametrize("wait_s", [300.0, 3600.0])
@pytest.mark.parametrize("preset", [DEFAULT, BROKEN_DERANKS])
def test_a_rise_at_all_hosts_counts_for_a_day(preset: int, wait_s: float) -> None:
    """The half-hours that it touches leave the dispersion and return, and its record ends, without a sample."""
    calm: Course = [([], 10_800.0), ([calls("g", 0, 1000, 10, 60.0), calls("h", 0, 1000, 10, 60.0)], 300.0)]
    # It is found as its half-hour ends. When the next one ends, nothing but the dispersion changes.
    storm: Course = [*idle(7), ([calls("g", 0, 100, 20, 840.0)], 1200.0)]
    course: Course = [*calm, *storm, *idle(math.ceil(100_000 / wait_s) if wait_s > 300 else 30, wait_s)]
    engine = assert_equals_judging_everything(preset, course[: len(calm) + len(storm)])
    assert engine.snapshot.groups["g"].common_cause is not None
    assert_equals_judging_everything(preset, course)

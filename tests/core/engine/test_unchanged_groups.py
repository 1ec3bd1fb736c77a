"""A recompute judges only what can have changed: its snapshot equals the one of judging everything, bit for bit."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import BenchmarkScores, DeploymentKey, Outcome, Sample, SignalValue, Tier
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.checkpoints import ChangeDetector
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.tiers.replay import encode
from exacto_plugin.core.windows.increments import CounterKind
from tests.support.samples import START, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exacto_plugin.core.model import GroupSnapshot, Snapshot

    Step = Callable[[Engine, float], None]

GROUPS = {
    "g": tuple(map(DeploymentKey, "abcde")),
    "h": tuple(map(DeploymentKey, "abc")),
    "i": (DeploymentKey("a"),),
}
QUICK = AdaptiveParameters(
    derank_calls=5,
    peer_calls=5,
    good_calls=10,
    fresh_calls=10,
    burst_calls=5,
    burst_pause_s=1800.0,
    speed_minutes=3,
    refusal_hold_s=600.0,
)
"""The rule with so few calls that a short test sees every state."""
PRESETS = (
    AdaptivePreset(QUICK),
    AdaptivePreset(),
    AdaptivePreset(AdaptiveParameters(quiet_ttl_s=259_200.0, bad_call_price=0.0, common_cause=0.0)),
    OpenRouterParameters(tool_call_requests=5, throughput_requests=3),
)


def told(group: GroupSnapshot) -> tuple[object, ...]:
    """Everything that a snapshot tells of a group, digit by digit."""
    verdicts = sorted((name, repr(verdict)) for name, verdict in group.verdicts.items())
    references = sorted((signal, repr(reference)) for signal, reference in group.references.items())
    return group.at, group.merge_tiers, repr(group.common_cause), verdicts, references, repr(group.paces)


def outcome(engine: Engine) -> dict[str, object]:
    """Everything that a recompute leaves behind: both snapshots, changes, records with their inputs, and state."""

    def whole(snapshot: Snapshot) -> dict[str, object]:
        return {name: told(group) for name, group in snapshot.groups.items()}

    detector = engine.change_detector
    assert detector is not None
    records = [(one.model_group, one.cause, one.deployments, encode(one.inputs())) for one in detector.changes]
    return {
        "snapshot": whole(engine.snapshot),
        "measured": whole(engine.measured),
        "order": list(engine.measured.groups),
        "transitions": repr(engine.transitions),
        "records": records,
        "state": repr(engine.dump()),
    }


def traffic(group: str, rate: int, bad: int, age_s: float, refused: int, streamed: bool) -> Step:
    """Answers of every deployment of a group; only the last one breaks calls, or refuses attempts."""

    def step(engine: Engine, now: float) -> None:
        for name in GROUPS[group]:
            is_last = name == GROUPS[group][-1]
            for number in range(rate):
                engine.record(
                    Sample(
                        group,
                        name,
                        now - age_s * number / rate,
                        ok=not (is_last and number < refused),
                        refused=is_last and number < refused,
                        tools_offered=True,
                        outcome=Outcome.INVALID_JSON if is_last and number < bad else Outcome.VALID,
                        output_tokens=300,
                        duration_s=9.0 if is_last else 3.0,
                        first_token_s=0.3,
                        streamed=streamed and number % 2 == 0,
                        routed=number % 9 != 8,
                        caller=f"k{number % 3}",
                        account=f"u{number % 2}" if streamed else "",
                        complexity=number % 4,
                    )
                )

    return step


def peers(group: str, members: int, weight: float, capacity: float, reported: float, fingerprint: str) -> Step:
    """Other deployments, weights, capacities, limits and configurations."""

    def step(engine: Engine, now: float) -> None:
        names = GROUPS[group][:members]
        first = names[:1]
        engine.observe_peers(
            group,
            names,
            now,
            weights=dict.fromkeys(first, weight),
            capacities=dict.fromkeys(first, capacity),
            prices=dict.fromkeys(first, weight),
            reported=dict.fromkeys(first, reported),
            fingerprints=dict.fromkeys(first, fingerprint),
        )

    return step


def scores(group: str, value: float | None) -> Step:
    """Benchmark scores, or none any more."""
    values = {name: SignalValue(value, 100) for name in GROUPS[group][:2]}
    given_scores = None if value is None else BenchmarkScores(values, 0.6, 0.4, 45)
    return lambda engine, now: engine.observe_scores(group, given_scores)


def override(group: str, action: OverrideAction, seconds: float) -> Step:
    """An operator's tier for a while."""

    def step(engine: Engine, now: float) -> None:
        word = Override(group, GROUPS[group][0], action, "a reason", "an author", now, now + seconds)
        engine.overrides.merge([word], now)

    return step


def cut_off(slices: int, closed: bool) -> Step:
    """A recompute that is left after some slices, closed or not."""
    left: list[Iterator[None]] = []

    def step(engine: Engine, now: float) -> None:
        run = engine.recompute_slices(now)
        for _ in range(slices):
            next(run, None)
        left.append(run)
        if closed and isinstance(run, Generator):
            run.close()

    return step


def restored(group: str, add: bool) -> Step:
    """A group's windows and state, saved and loaded."""

    def step(engine: Engine, now: float) -> None:
        engine.restore_windows(group, engine.copy_windows(group), add=add)
        engine.load(engine.dump(group))

    return step


def aged(engine: Engine, now: float) -> None:
    """Samples that expire without a recompute."""
    for _ in engine.age(now):
        pass


def _change_rule(number: int) -> Step:
    def step(engine: Engine, now: float) -> None:
        engine.rule = PRESETS[number]

    return step


some_group = st.sampled_from(sorted(GROUPS))
busy = st.builds(
    traffic,
    some_group,
    st.sampled_from([1, 7, 20, 40]),
    st.sampled_from([0, 0, 3, 20]),
    st.sampled_from([60.0, 280.0, 5000.0, 90_000.0]),
    st.sampled_from([0, 0, 0, 5]),
    st.booleans(),
)
odd = st.one_of(
    st.builds(
        peers,
        some_group,
        st.integers(0, 5),
        st.sampled_from([0.0, 1.0, 2.0]),
        st.sampled_from([1.0, 1000.0]),
        st.sampled_from([1.0, 50.0]),
        st.sampled_from(["x", "y"]),
    ),
    st.builds(scores, some_group, st.sampled_from([None, 0.2, 0.7])),
    st.builds(override, some_group, st.sampled_from(OverrideAction), st.sampled_from([100.0, 9000.0])),
    st.builds(cut_off, st.integers(0, 2), st.booleans()),
    st.builds(restored, some_group, st.booleans()),
    st.builds(_change_rule, st.integers(0, len(PRESETS) - 1)),
    st.builds(lambda group: lambda engine, now: engine.restart(group, GROUPS[group][0], now), some_group),
    st.builds(lambda group: lambda engine, now: engine.watch(group, now), some_group),
    st.just(aged),
)
waits = st.one_of(
    st.just(300.0),
    st.sampled_from([0.0, 1.0, 17.5, 60.0, 600.0, 1800.0, 3600.0, 7200.0, 10_800.25]),
    st.sampled_from([86_400.0, 259_200.0, 561_600.0, 8 * 86_400.0, 40 * 86_400.0]),
    st.sampled_from([-60.0, -4000.0]),
)
courses = st.lists(st.tuples(st.lists(st.one_of(busy, busy, odd), max_size=3), waits), min_size=4, max_size=25)


def engine_of(preset: int) -> Engine:
    """An engine that records its recomputes."""
    engine = Engine(PRESETS[preset])
    engine.change_detector = ChangeDetector()
    for group, names in GROUPS.items():
        engine.observe_peers(group, names, START)
    return engine


@settings(max_examples=25, deadline=None)
@given(preset=st.integers(0, len(PRESETS) - 1), course=courses)
def test_equals_judging_everything(preset: int, course: list[tuple[list[Step], float]]) -> None:
    """Traffic, idle time, settings, overrides, benchmarks, clocks: what is kept is what would be judged."""
    kept, whole = engine_of(preset), engine_of(preset)
    now = START
    for steps, wait_s in course:
        now += wait_s
        for engine in (kept, whole):
            for step in steps:
                step(engine, now)
            engine.overrides.expire(now)
        whole._state.measure_again()  # everything is marked as changed, so everything is judged
        kept.recompute(now)
        whole.recompute(now)
        assert outcome(kept) == outcome(whole)


def test_unchanged_groups_keep_their_verdicts() -> None:
    """Of two groups the one without anything new keeps the objects; only the time of its snapshot moves on."""
    engine = engine_of(1)
    engine.change_detector = None
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

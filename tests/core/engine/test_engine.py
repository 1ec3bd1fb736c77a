"""The engine: samples in, immutable snapshots out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, ReasonCode, Sample, Signal, Snapshot, Tier
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.windows import ROWS
from tests.support.samples import START, answer, samples, tiers_of

if TYPE_CHECKING:
    import random

PEERS = ("a", "b", "c", "d", "e")
SMALL = OpenRouterParameters(tool_call_requests=5, throughput_requests=3)
"""The rule with so few samples that generated ones can decide."""


def engine_of(**options: object) -> Engine:
    """An engine that knows the peers of group ``g``."""
    engine = Engine(SMALL, **options)  # type: ignore[arg-type]
    engine.observe_peers("g", tuple(map(DeploymentKey, PEERS)), START)
    return engine


def calls(engine: Engine, deployment: str, called: int, bad: int, at: float = START, group: str = "g") -> None:
    """Tool-call answers of a deployment."""
    engine.add(
        group,
        DeploymentKey(deployment),
        {CounterKind.ANSWERED: called, CounterKind.CALLED: called, CounterKind.INVALID_JSON: bad},
        {},
        at,
    )


def changed(engine: Engine) -> dict[str, tuple[Tier, Tier]]:
    """The last recompute's changes of tier."""
    return {change.deployment: (change.previous, change.tier) for change in engine.transitions}


def plain(snapshot: Snapshot) -> dict[str, object]:
    """A snapshot's contents without its id."""
    return {name: (dict(group.verdicts), dict(group.references)) for name, group in snapshot.groups.items()}


def test_starts_empty() -> None:
    """Before the first recompute there is a snapshot that knows nothing, and recording changes none."""
    engine = engine_of(instance="x1")
    engine.record(answer())
    assert engine.snapshot == Snapshot("0-x1", 0.0, {})
    assert engine.snapshot.verdict("g", DeploymentKey("a")) is None
    assert engine.transitions == ()


def test_new_deployments_have_insufficient_data() -> None:
    """Without samples everybody is in the middle tier since the time they were observed, for stated reasons."""
    engine = engine_of()
    engine.recompute(START + 100)
    verdict = engine.snapshot.groups["g"].verdicts[DeploymentKey("a")]
    assert (verdict.tier, verdict.since, verdict.throughput, verdict.latency_s) == (
        Tier.INSUFFICIENT_DATA,
        START,
        None,
        None,
    )
    assert [(reason.code, reason.samples, reason.needed) for reason in verdict.reasons] == [
        (ReasonCode.TOO_FEW_SAMPLES, 0, 3),
        (ReasonCode.TOO_FEW_SAMPLES, 0, 5),
    ]


def test_a_break_and_its_end() -> None:
    """A deployment that breaks is deranked with a transition, stays so while it lasts, and recovers with the window."""
    engine = engine_of()
    for name in PEERS:
        calls(engine, name, 100, 60 if name == "e" else 0)
    engine.recompute(START)
    assert tiers_of(engine) == {**dict.fromkeys("abcd", Tier.VERIFIED_GOOD), "e": Tier.DERANKED}
    assert changed(engine)["e"] == (Tier.INSUFFICIENT_DATA, Tier.DERANKED)
    assert set(changed(engine)) == set(PEERS)
    (change,) = (change for change in engine.transitions if change.deployment == "e")
    assert change.reasons == engine.snapshot.groups["g"].verdicts[DeploymentKey("e")].reasons
    assert (change.model_group, change.at) == ("g", START)

    engine.recompute(START + 300)
    assert not changed(engine)
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("e")].since == START

    later = START + 3 * 3600
    for name in PEERS:
        calls(engine, name, 100, 0, later)
    engine.recompute(later)
    assert changed(engine) == {"e": (Tier.DERANKED, Tier.VERIFIED_GOOD)}
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("e")].since == later
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("a")].since == START


def test_only_who_serves_the_group_is_a_peer() -> None:
    """A deployment that is taken away leaves the snapshot and the reference, and finds its history on return."""
    engine = engine_of()
    for name in PEERS:
        calls(engine, name, 100, 60 if name == "e" else 0)
    engine.recompute(START)
    engine.observe_peers("g", (*map(DeploymentKey, ("a", "b", "c", "d")),), START + 10)
    engine.recompute(START + 10)
    assert set(tiers_of(engine)) == set("abcd")
    assert engine.snapshot.groups["g"].references[Signal.TOOL_CALL_SUCCESS].peers == 4
    engine.observe_peers("g", tuple(map(DeploymentKey, PEERS)), START + 20)
    engine.recompute(START + 20)
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("e")].tier is Tier.DERANKED
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("e")].since == START
    engine.observe_peers("g", (), START + 30)
    assert engine.recompute(START + 30).groups == {}


def test_groups_are_judged_apart() -> None:
    """A deployment can be the worst of one model group and the best of another; a group of another width is no harm."""
    engine = engine_of()
    engine.observe_peers("h", (*map(DeploymentKey, ("a", "x", "y", "z")),), START)
    engine.observe_peers("lonely", (DeploymentKey("a"),), START)
    for name in PEERS:
        calls(engine, name, 100, 60 if name == "a" else 0)
    for name in "xyz":
        calls(engine, name, 100, 50, group="h")
    calls(engine, "a", 100, 48, group="h")
    calls(engine, "a", 100, 100, group="lonely")
    engine.recompute(START)
    assert tiers_of(engine)["a"] is Tier.DERANKED
    assert tiers_of(engine, "h")["a"] is Tier.VERIFIED_GOOD
    assert tiers_of(engine, "lonely") == {"a": Tier.INSUFFICIENT_DATA}
    assert engine.groups() == ("g", "h", "lonely")


def test_groups_are_known_from_samples_alone() -> None:
    """A group that nobody has observed is named, so that its peers can be, but has no verdicts."""
    engine = Engine(SMALL)
    engine.record(Sample("unseen", DeploymentKey("a"), START))
    assert engine.groups() == ("unseen",)
    assert engine.recompute(START).groups == {}


def test_speed_and_latency_are_told() -> None:
    """A verdict carries the recent median speed and latency that sorts go by."""
    engine = engine_of()
    for _ in range(6):
        engine.record(answer(at=START - 5, output_tokens=300, duration_s=5.0, first_token_s=0.8, streamed=True))
    engine.recompute(START)
    verdict = engine.snapshot.groups["g"].verdicts[DeploymentKey("a")]
    assert verdict.throughput == pytest.approx(60.0, rel=0.1)
    assert verdict.latency_s == pytest.approx(0.8, rel=0.1)
    assert verdict.signals[Signal.THROUGHPUT].samples == 6


def test_old_snapshots_do_not_change() -> None:
    """What a reader got stays as it was, even if it is read only after the next recompute."""
    engine = engine_of()
    for name in PEERS:
        calls(engine, name, 100, 60 if name == "e" else 0)
    old = engine.recompute(START)
    calls(engine, "e", 10_000, 0, START + 60)
    engine.observe_peers("g", (DeploymentKey("e"), DeploymentKey("f")), START + 60)
    new = engine.recompute(START + 60)
    assert old.groups["g"].verdicts[DeploymentKey("e")].tier is Tier.DERANKED
    assert old.groups["g"].verdicts[DeploymentKey("e")].signals[Signal.TOOL_CALL_SUCCESS].samples == 100
    assert list(new.groups["g"].verdicts) == ["e", "f"]
    with pytest.raises(TypeError):
        old.groups["g"] = new.groups["g"]  # type: ignore[index]


def test_verdicts_are_a_mapping() -> None:
    """Verdicts read like a dictionary: same object each time, KeyError and None for the unknown, contents in repr."""
    engine = engine_of()
    engine.recompute(START)
    verdicts = engine.snapshot.groups["g"].verdicts
    assert verdicts[DeploymentKey("a")] is verdicts[DeploymentKey("a")]
    assert verdicts.get(DeploymentKey("nobody")) is None
    assert "nobody" not in verdicts
    with pytest.raises(KeyError):
        verdicts[DeploymentKey("nobody")]
    assert len(verdicts) == 5
    assert repr(verdicts) == repr(dict(verdicts))


def test_ids_are_unique_and_told_apart_by_instance() -> None:
    """Recomputes at one time, or after the clock went back, have different ids that sort by when they were made."""
    engine = engine_of(instance="k7")
    ids = [engine.recompute(at).id for at in (START, START, START - 1000, START + 5)]
    assert ids[0].endswith("-k7")
    assert int(ids[0][:-3], 36) == START * 1000
    assert len(set(ids)) == 4
    assert ids == sorted(ids)


def test_slices_publish_only_at_the_end() -> None:
    """While a sliced recompute is under way the old snapshot is in force."""
    engine = engine_of()
    for number in range(3 * ROWS):
        engine.observe_peers(f"g{number // 20}", [DeploymentKey(f"d{n}") for n in range(20)], START)
        calls(engine, f"d{number % 20}", 50, 0, group=f"g{number // 20}")
    engine.recompute(START)
    before = engine.snapshot
    steps = 0
    for _ in engine.recompute_slices(START + 300):
        steps += 1
        assert engine.snapshot is before
    assert steps >= 3
    assert engine.snapshot.at == START + 300


def test_a_newer_recompute_ends_an_older_one() -> None:
    """The older one stops without a result, and the changes are reported once, by the newer one."""
    engine = engine_of()
    for name in PEERS:
        calls(engine, name, 100, 60 if name == "e" else 0)
    older = engine.recompute_slices(START)
    next(older)
    next(older)
    newer = engine.recompute(START + 1)
    assert list(older) == []
    assert engine.snapshot is newer
    assert {change.deployment for change in engine.transitions} == set(PEERS)


def test_peers_may_change_between_slices() -> None:
    """Groups that come and go while a recompute is under way are taken in or left out, and nothing breaks."""
    engine = engine_of()
    engine.observe_peers("h", (DeploymentKey("x"),), START)
    calls(engine, "x", 50, 0, group="h")
    for step, _ in enumerate(engine.recompute_slices(START)):
        engine.observe_peers("h", (), START)
        engine.observe_peers(f"new{step}", [DeploymentKey(f"n{number}") for number in range(2 * ROWS)], START)
    assert "h" not in engine.snapshot.groups
    assert "g" in engine.snapshot.groups


def test_forgotten_deployments_leave_nothing_behind() -> None:
    """After the retention time a slot is erased, and who gets it next starts from nothing."""
    now = START
    engine = Engine(SMALL, timer=lambda: now)
    for name in PEERS:
        calls(engine, name, 100, 60 if name == "e" else 0)
    engine.observe_peers("g", tuple(map(DeploymentKey, PEERS)), now)
    engine.recompute(now)
    engine.observe_peers("g", (), now)
    now += 8 * 86_400
    engine.recompute(START)
    assert engine.groups() == ()
    engine.observe_peers("g", [DeploymentKey(f"new{number}") for number in range(5)], START)
    engine.recompute(START)
    verdicts = engine.snapshot.groups["g"].verdicts.values()
    assert {(verdict.tier, verdict.since) for verdict in verdicts} == {(Tier.INSUFFICIENT_DATA, START)}
    assert {verdict.signals[Signal.TOOL_CALL_SUCCESS].samples for verdict in verdicts} == {0}


def test_served_deployments_are_kept_alive() -> None:
    """A deployment without traffic keeps its standing as long as it is served."""
    now = START
    engine = Engine(SMALL, timer=lambda: now)
    engine.observe_peers("g", tuple(map(DeploymentKey, PEERS)), now)
    for _ in range(400):
        now += 1800
        engine.recompute(now)
    assert engine.snapshot.groups["g"].verdicts[DeploymentKey("a")].since == START


def test_capacity_bounds_what_is_remembered() -> None:
    """Names beyond the capacity push out the oldest; recording and recomputing go on."""
    engine = Engine(SMALL, capacity=10)
    for number in range(50):
        engine.record(Sample(f"g{number}", DeploymentKey("a"), START))
        engine.observe_peers(f"g{number}", (DeploymentKey("a"),), START)
    engine.recompute(START)
    assert len(engine.groups()) == 10
    assert len(engine.snapshot.groups) == 50


def test_a_changed_rule_decides_from_the_same_windows() -> None:
    """Replacing the rule needs no new samples."""
    engine = engine_of()
    for name in PEERS:
        calls(engine, name, 100, 60 if name == "e" else 0)
    engine.recompute(START)
    engine.rule = OpenRouterParameters(tool_call_requests=101)
    assert engine.rule == OpenRouterParameters(tool_call_requests=101)
    engine.recompute(START + 1)
    assert set(tiers_of(engine).values()) == {Tier.INSUFFICIENT_DATA}
    assert len(engine.transitions) == 5


def test_late_samples_are_counted_as_dropped() -> None:
    """A sample that is older than anything retained is dropped, and the engine says how many were."""
    engine = engine_of()
    engine.record(answer(at=START - 10 * 86_400))
    engine.recompute(START)
    assert engine.dropped == 1


@given(st.lists(samples(PEERS, within_s=1500), max_size=80), st.randoms(use_true_random=False))
def test_tiers_are_a_function_of_windows_and_state(recorded: list[Sample], chance: random.Random) -> None:
    """Same samples in any order, same recompute times: same snapshot; and once more at one time changes nothing."""
    shuffled = list(recorded)
    chance.shuffle(shuffled)
    first, second = engine_of(), engine_of()
    for engine, feed in ((first, recorded), (second, shuffled)):
        for sample in feed:
            engine.record(sample)
        engine.recompute(START)
    assert plain(first.snapshot) == plain(second.snapshot)
    assert first.transitions == second.transitions
    before = plain(first.snapshot)
    first.recompute(START)
    assert plain(first.snapshot) == before
    assert first.transitions == ()


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.lists(samples(PEERS), max_size=4)), max_size=12))
def test_no_clock_breaks_the_engine(steps: list[tuple[float, list[Sample]]]) -> None:
    """Whatever the clock does, every recompute gives a verdict with reasons for every peer, and unique ids."""
    engine = engine_of()
    seen: list[Snapshot] = []
    for offset, batch in steps:
        for sample in batch:
            engine.record(sample)
        seen.append(engine.recompute(START + offset))
        verdicts = engine.snapshot.groups["g"].verdicts
        assert set(verdicts) == set(PEERS)
        assert all(len(verdict.reasons) == 2 for verdict in verdicts.values())
    assert all(earlier.id != later.id for earlier, later in pairwise(seen))


@given(st.lists(samples(PEERS, within_s=1500), min_size=30, max_size=120))
def test_bad_calls_never_raise_the_rate(recorded: list[Sample]) -> None:
    """Turning valid calls into bad ones leaves the evidence as large and never raises the success rate."""
    worse = [
        Sample("g", DeploymentKey("a"), sample.at, tools_offered=True, outcome=Outcome.INVALID_JSON)
        if sample.deployment == "a" and sample.outcome is Outcome.VALID and sample.ok and sample.tools_offered
        else sample
        for sample in recorded
    ]
    rule = OpenRouterParameters(tool_call_requests=3)
    engines = Engine(rule), Engine(rule)
    for engine, feed in zip(engines, (recorded, worse), strict=True):
        engine.observe_peers("g", tuple(map(DeploymentKey, PEERS)), START)
        for sample in feed:
            engine.record(sample)
        engine.recompute(START)
    reasons = [engine.snapshot.groups["g"].verdicts[DeploymentKey("a")].reasons[1] for engine in engines]
    assert reasons[0].samples == reasons[1].samples
    assert (reasons[0].value or 0.0) >= (reasons[1].value or 0.0)

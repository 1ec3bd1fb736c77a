"""Courses of events for an engine: traffic, findings, settings, overrides, cut-off recomputes and idle time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from exacto_plugin.benchmark_scores.signal import NO_SCORES
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import (
    BenchmarkScores,
    DeploymentKey,
    Flaw,
    Outcome,
    Sample,
    SignalValue,
    VerifierFinding,
)
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.windows.deltas import Deltas
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.windows import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Step = Callable[[Engine, float], None]
    """Is called with the time."""
    Course = list[tuple[list[Step], float]]
    """Steps after so many seconds, one recompute each."""

GROUPS = {
    "g": tuple(map(DeploymentKey, "abcde")),
    "h": tuple(map(DeploymentKey, "abc")),
    "i": (DeploymentKey("a"),),
    "w": tuple(map(DeploymentKey, "abcdefghi")),
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
    AdaptivePreset(QUICK, broken_answers=True),
)
QUICK_RULE, DEFAULT, TIMED, PUBLISHED, BROKEN_DERANKS = range(5)
"""Indices of ``PRESETS``: in ``TIMED`` findings count for three days, in the last one broken answers derank."""

OTHERS = ROWS - 4
"""Deployments that are nobody's peers, so that the first group is part of two window blocks."""


def traffic(
    group: str,
    rate: int,
    bad: int = 0,
    age_s: float = 60.0,
    refused: int = 0,
    broken: int = 0,
    streamed: bool = False,
    last_s: float = 9.0,
    members: int = 5,
) -> Step:
    """Answers of the first deployments of a group; only its last one has bad calls, refuses, or breaks answers.

    It takes ``last_s`` seconds for an answer, the others three.
    """

    def step(engine: Engine, now: float) -> None:
        for name in GROUPS[group][:members]:
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
                        flaws=(Flaw.EMPTY,) if is_last and number < broken else (),
                        output_tokens=300,
                        duration_s=last_s if is_last else 3.0,
                        first_token_s=0.3,
                        streamed=streamed and number % 2 == 0,
                        routed=number % 9 != 8,
                        caller=f"k{number % 3}",
                        account=f"u{number % 2}" if streamed else "",
                        complexity=number % 4,
                    )
                )

    return step


def answers(group: str, members: int, total: int, bad: int, age_s: float) -> Step:
    """Answers without tool calls of some deployments; those of three callers break first."""

    def step(engine: Engine, now: float) -> None:
        for name in GROUPS[group][:members]:
            for number in range(total):
                broken = number < bad
                caller = f"k{number % (3 if broken else 5)}"
                flaws = (Flaw.EMPTY,) if broken else ()
                engine.record(Sample(group, name, now - age_s, flaws=flaws, caller=caller))

    return step


def calls(group: str, first: int, total: int, bad: int, age_s: float) -> Step:
    """Calls of the deployments from ``first`` on; with 0 and many bad ones a cause is common to all."""
    counts = {CounterKind.ANSWERED: total, CounterKind.CALLED: total, CounterKind.SCHEMA_MISMATCH: bad}

    def step(engine: Engine, now: float) -> None:
        for name in GROUPS[group][first:]:
            engine.add(group, name, counts, {}, now - age_s)

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
    runs = {GROUPS[group][0]: f"run of {group}"}
    given_scores = None if value is None else BenchmarkScores(values, 0.6, 0.4, 45, runs=runs)
    return lambda engine, now: engine.observe_scores(group, given_scores)


def findings(group: str, place: int, bad: int, ago_s: float) -> Step:
    """A run of the verifier, which may end later; beside it the scores left their window."""

    def step(engine: Engine, now: float) -> None:
        at = now - ago_s
        found = VerifierFinding(f"{group} {at}", at - 200, at, 60, bad, 0.03, flagged=bad > 10, cleared=bad < 1)
        name = GROUPS[group][min(place, len(GROUPS[group]) - 1)]
        engine.observe_scores(group, replace(NO_SCORES, findings={name: found}))

    return step


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


def imported(group: str, total: int, as_state: bool) -> Step:
    """Counts of half an hour ago, from a replica, as a saved state or as deltas."""

    def step(engine: Engine, now: float) -> None:
        replica = Engine(PRESETS[0])
        replica.deltas = Deltas()
        replica.observe_peers(group, GROUPS[group], now)
        traffic(group, total, 3)(replica, now - 2000.0)
        replica.recompute(now)
        if as_state:
            engine.restore_windows(group, replica.copy_windows(group), add=True)
        else:
            engine.add_deltas(replica.deltas.take())

    return step


def replaced(group: str) -> Step:
    """Other models behind all deployments of a group, whose evidence begins anew."""

    def step(engine: Engine, now: float) -> None:
        for name in GROUPS[group]:
            engine.restart(group, name, now)

    return step


def adopted(group: str, bad: int) -> Step:
    """A result of another process, which saw other calls."""

    def step(engine: Engine, now: float) -> None:
        leader = Engine(PRESETS[0])
        leader.observe_peers(group, GROUPS[group], now - 900)
        calls(group, 0, 100, 1, 600.0)(leader, now)
        calls(group, len(GROUPS[group]) - 1, 100, bad, 600.0)(leader, now)
        for ago_s in (600, 300, 0):
            leader.recompute(now - ago_s)
        engine.adopt(leader.measured, leader.dump())

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


def change_rule(number: int) -> Step:
    """Other settings of the rule."""

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
    st.sampled_from([0, 0, 3, 20]),
    st.booleans(),
)
bulk = st.one_of(
    st.builds(calls, some_group, st.integers(0, 4), st.just(100), st.sampled_from([0, 1, 1, 30]), st.just(60.0)),
    st.builds(answers, some_group, st.integers(0, 5), st.just(100), st.sampled_from([0, 1, 30]), st.just(60.0)),
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
    st.builds(
        findings,
        some_group,
        st.integers(0, 4),
        st.sampled_from([0, 3, 30]),
        st.sampled_from([-9000.0, -450.0, 0.0, 250_000.0]),
    ),
    st.builds(override, some_group, st.sampled_from(OverrideAction), st.sampled_from([100.0, 9000.0])),
    st.builds(cut_off, st.integers(0, 2), st.booleans()),
    st.builds(restored, some_group, st.booleans()),
    st.builds(imported, some_group, st.sampled_from([1, 20]), st.booleans()),
    st.builds(adopted, some_group, st.sampled_from([0, 40])),
    st.builds(change_rule, st.integers(0, len(PRESETS) - 1)),
    st.builds(lambda group: lambda engine, now: engine.restart(group, GROUPS[group][0], now), some_group),
    st.builds(replaced, some_group),
    st.builds(lambda group: lambda engine, now: engine.watch(group, now), some_group),
    st.just(aged),
)
waits = st.one_of(
    st.just(300.0),
    st.sampled_from([0.0, 1.0, 17.5, 60.0, 600.0, 1800.0, 3600.0, 7200.0, 10_800.25]),
    st.sampled_from([86_400.0, 259_200.0, 561_600.0, 8 * 86_400.0, 40 * 86_400.0]),
    st.sampled_from([-60.0, -4000.0]),
)
courses = st.lists(st.tuples(st.lists(st.one_of(busy, bulk, bulk, odd), max_size=3), waits), min_size=4, max_size=25)

"""Observed numbers: compared with comparable requests, known from enough answers on, and never a reason for a tier."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Signal, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.windows.observed import ANSWERS, BURN_ANSWERS, HOUR_S, HOURS, Observed, ObservedMetrics
from tests.support.samples import START

PEERS = ("a", "b", "c", "d", "e")
ANSWER = Sample(
    "g", DeploymentKey("a"), START, tools_offered=True, outcome=Outcome.VALID, input_tokens=500, output_tokens=200
)


def fed(*answers: tuple[Sample, int]) -> ObservedMetrics:
    """Samples, each so many times."""
    observing = ObservedMetrics()
    for sample, times in answers:
        for _ in range(times):
            observing.add(sample)
    return observing


def seen(observing: ObservedMetrics, now: float = START) -> dict[str, Observed]:
    """The numbers of everybody."""
    return {str(key): one for key, one in observing.of("g", map(DeploymentKey, PEERS), now).items()}


def burning(**tokens: int) -> list[tuple[Sample, int]]:
    """Enough answers of these lengths."""
    return [
        (replace(ANSWER, deployment=DeploymentKey(name), output_tokens=length), BURN_ANSWERS)
        for name, length in tokens.items()
    ]


# --- token burn -------------------------------------------------------------------------------------------------------


def test_token_burn_is_against_the_median_of_the_others() -> None:
    """A third more is flagged, a quarter more is told, and one that burns much does not make the others look frugal."""
    found = seen(fed(*burning(a=200, b=200, c=200, d=250, e=2000)))
    assert {name: one.token_burn for name, one in found.items()} == pytest.approx(
        {"a": 200 / 225 - 1, "b": 200 / 225 - 1, "c": 200 / 225 - 1, "d": 0.25, "e": 9.0}
    )
    assert [name for name, one in found.items() if one.burns] == ["e"]


def test_token_burn_is_about_comparable_requests() -> None:
    """Longer prompts and more tools ask for longer answers: who gets more of them does not burn more."""
    small = {"input_tokens": 500, "output_tokens": 100, "complexity": 0}
    large = {"input_tokens": 20_000, "output_tokens": 1000, "complexity": 3}
    answers = [
        (replace(ANSWER, deployment=name, **kind), times)  # type: ignore[arg-type]
        for name, few, many in (("a", 50, 250), ("b", 250, 50), ("c", 150, 150))
        for kind, times in ((small, few), (large, many))
    ]
    found = seen(fed(*answers))
    assert [found[name].token_burn for name in "abc"] == pytest.approx([0.0, 0.0, 0.0])


def test_token_burn_needs_answers_and_somebody_to_compare_with() -> None:
    """Below 200 answers, alone, and from pinned requests nothing is known."""
    pinned = (replace(ANSWER, routed=False), BURN_ANSWERS)
    failed = (replace(ANSWER, ok=False), BURN_ANSWERS)
    few = (ANSWER, BURN_ANSWERS - 1)
    assert seen(fed(*burning(b=200), few))["a"] == Observed(None, BURN_ANSWERS - 1)
    assert seen(fed(*burning(b=200), pinned, failed))["a"].burn_answers == 0
    assert seen(fed(*burning(a=900)))["a"] == Observed()


# --- queue time -------------------------------------------------------------------------------------------------------


def waiting(at: float, seconds: float, times: int = 50, tokens: int = 500) -> tuple[Sample, int]:
    """Streamed answers whose first token came after so long."""
    return replace(ANSWER, at=at, streamed=True, first_token_s=seconds, input_tokens=tokens), times


def test_queue_time_is_beyond_the_quiet_hours() -> None:
    """What a deployment needs for such prompts when nobody waits is its own; the rest is its queue."""
    busy = START + 5 * HOUR_S
    answers = [
        waiting(START, 0.5),
        waiting(START, 3.0, tokens=30_000),
        waiting(busy, 2.5),
        waiting(busy, 3.0, 5, 30_000),
    ]
    found = seen(fed(*answers), busy)["a"]
    assert found.queue_s == pytest.approx(2.0, rel=0.06)
    assert found.queue_answers == 55
    assert found.queue_p90_s == found.queue_s
    quiet = seen(fed(waiting(START, 0.5)))["a"]
    assert (quiet.queue_s, quiet.queue_p90_s) == (0.0, 0.0)


def test_the_slowest_tenth() -> None:
    """Most do not wait, some do: the median is nothing, the last tenth is something."""
    found = seen(fed(waiting(START, 0.5, 88), waiting(START, 4.5, 12)))["a"]
    assert found.queue_s == 0.0
    assert found.queue_p90_s == pytest.approx(4.0, rel=0.06)


def test_queue_time_needs_answers() -> None:
    """Of few answers, and of whole ones, nothing is known."""
    found = seen(fed(waiting(START, 0.5, ANSWERS - 1), (ANSWER, 99)))["a"]
    assert (found.queue_s, found.queue_p90_s, found.queue_answers) == (None, None, ANSWERS - 1)


# --- spread of the throughput -----------------------------------------------------------------------------------------


def test_the_spread_of_the_throughput() -> None:
    """A steady deployment has none; streamed and whole answers may differ without being a spread."""
    rng = random.Random(1)
    steady = [(replace(ANSWER, duration_s=2.0), 50), (replace(ANSWER, duration_s=8.0, streamed=True), 50)]
    unsteady = [
        (replace(ANSWER, deployment=DeploymentKey("b"), duration_s=rng.lognormvariate(1, 0.5)), 1) for _ in range(500)
    ]
    found = seen(fed(*steady, *unsteady))
    assert found["a"].throughput_spread == pytest.approx(0.0, abs=1e-6)
    assert found["a"].throughput_answers == 100
    assert found["b"].throughput_spread == pytest.approx(0.5, rel=0.1)
    short = seen(fed((replace(ANSWER, duration_s=2.0, output_tokens=99), 50)))["a"]
    assert (short.throughput_spread, short.throughput_answers) == (None, 0)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_what_is_forgotten() -> None:
    """A day is remembered, of older hours the shortest waits only; then deployments are forgotten whole."""
    observing = ObservedMetrics()
    for hour in range(100):
        observing.add(waiting(START + hour * HOUR_S, 0.5)[0])
    (hours,) = observing._hours.values()
    assert len(hours) == HOURS
    assert [bool(one.queue_times) for one in hours] == [False] * (HOURS - 2) + [True] * 2
    observing.forget(START + (98 + HOURS) * HOUR_S)
    assert observing.groups() == {"g": ["a"]}
    observing.forget(START + (99 + HOURS) * HOUR_S)
    assert observing.groups() == {}


def test_no_more_deployments_than_there_is_room_for() -> None:
    """Names that callers invent cannot fill the memory; those that are known go on."""
    observing = ObservedMetrics(most=2)
    for name in ("a", "b", "c", "a"):
        observing.add(replace(ANSWER, deployment=DeploymentKey(name)))
    assert observing.groups() == {"g": ["a", "b"]}


# --- never a reason ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "preset", [OpenRouterParameters(), AdaptivePreset(AdaptiveParameters())], ids=["openrouter", "adaptive"]
)
def test_never_a_reason(preset: OpenRouterParameters | AdaptivePreset) -> None:
    """One that burns ten times the tokens, queues and swings like nobody else keeps the tier of its equals."""
    engine, observing, rng = Engine(preset), ObservedMetrics(), random.Random(2)
    engine.observe_peers("g", tuple(map(DeploymentKey, PEERS)), START)
    for name in PEERS:
        for number in range(400):
            odd = name == "e"
            tokens, swing = (2000, rng.lognormvariate(0, 1.0)) if odd else (200, 1.0)
            first_s = 0.1 if number < 50 else 5.0 if odd else 0.5
            sample = replace(
                ANSWER, deployment=DeploymentKey(name), at=START, streamed=True, first_token_s=first_s,
                output_tokens=tokens, duration_s=tokens / 50 * swing,
            )  # fmt: skip
            engine.record(sample)
            observing.add(sample)
    found = seen(observing)[DeploymentKey("e")]
    assert found.burns
    assert found.queue_s is not None
    assert found.queue_s > 4
    assert found.throughput_spread is not None
    assert found.throughput_spread > 0.8
    verdicts = engine.recompute(START + 1).groups["g"].verdicts
    assert {verdict.tier for verdict in verdicts.values()} == {Tier.VERIFIED_GOOD}
    spoken = {reason.signal for verdict in verdicts.values() for reason in verdict.reasons}
    assert spoken <= {Signal.THROUGHPUT, Signal.TOOL_CALL_SUCCESS, Signal.PROPENSITY}

"""Paces of deployments that refuse requests for a rate limit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.lazy import LazyMapping
from exacto_plugin.core.model import (
    Candidate,
    DeploymentKey,
    GroupSnapshot,
    LiteLLMId,
    Reason,
    ReasonCode,
    Sample,
    Signal,
    Snapshot,
    Tier,
    Verdict,
)
from exacto_plugin.core.routing.ordering import RoutingRequest, decide
from exacto_plugin.core.routing.pacing import FIRST_PACE, HOLD_S, PAUSE_S, Pacing, RecentCount
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.steps import NextStep, StepChoice
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterPreset

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_800_000_000.0
A, B = DeploymentKey("a"), DeploymentKey("b")


class Limited:
    """A provider that answers at most ``limit`` requests in any 60 seconds, or in each minute of the clock."""

    def __init__(self, limit: int, *, by_clock: bool = False) -> None:
        self.limit, self.by_clock = limit, by_clock
        self.answered: list[float] = []

    def refuses(self, now: float) -> bool:
        """Take one request."""
        since = now // 60.0 * 60.0 if self.by_clock else now - 60.0
        refused = sum(at >= since for at in self.answered[-self.limit :]) >= self.limit
        if not refused:
            self.answered.append(now)
        return refused


def driven(provider: Limited, minutes: float, per_minute: float = 100.0, seed: int = 1) -> list[tuple[float, bool]]:
    """Send requests that arrive at random to one deployment while it is not busy; whether each was refused."""
    draw, pacing, now, sent = np.random.default_rng(seed), Pacing(), NOW, []
    while now < NOW + 60.0 * minutes:
        now += float(draw.exponential(60.0 / per_minute))
        if A in pacing.busy("g", now):
            continue
        pacing.note_attempt("g", A, now)
        refused = provider.refuses(now)
        if refused:
            pacing.note_refusal("g", A, now)
        sent.append((now - NOW, refused))
    return sent


@pytest.mark.parametrize("by_clock", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_few_requests_are_refused_and_most_of_the_limit_is_used(by_clock: bool, seed: int) -> None:
    """At most 6 of 12 minutes' 1,200 requests are refused; four fifths of the limit are used from then on."""
    sent = driven(Limited(80, by_clock=by_clock), 12.0, seed=seed)
    assert sum(refused for _, refused in sent) <= 6
    later = [at for at, refused in sent if at > 120.0 and not refused]
    assert len(later) >= 0.8 * 0.9 * 80 * 10
    assert max(np.bincount(np.array(later, np.int64) // 60)) <= 80


def test_without_paces_many_are_refused() -> None:
    """A fifth of the requests, which shows that the provider of the test above does refuse."""
    provider, draw, now, refused = Limited(80), np.random.default_rng(1), NOW, 0
    for _ in range(1200):
        now += float(draw.exponential(0.6))
        refused += provider.refuses(now)
    assert refused > 150


def test_a_pace_rises_and_is_forgotten() -> None:
    """Nothing for the pause, then what it answered less a tenth, from ``HOLD_S`` on more, and no limit in the end."""
    pacing = Pacing()
    for number in range(60):
        pacing.note_attempt("g", A, NOW + number)
    at = NOW + 59.0
    pacing.note_refusal("g", A, at)
    assert pacing.busy("g", at + PAUSE_S) == {A}

    def allowed(since: float, seconds: int = 60) -> int:
        """How many of two requests a second it may have."""
        count = 0
        for half in range(2 * seconds):
            now = since + half / 2.0
            if A not in pacing.busy("g", now):
                pacing.note_attempt("g", A, now)
                count += 1
        return count

    assert allowed(at + 120.0) == pytest.approx(0.9 * 59 + 5, abs=4)
    assert allowed(at + 2 * HOLD_S) == pytest.approx(2 * 0.9 * 59 + 9, abs=8)
    assert pacing.busy("g", at + 6 * HOLD_S + 1.0) == frozenset()
    assert allowed(at + 6 * HOLD_S + 2.0) == 120
    assert pacing.busy("another", NOW) == frozenset()


def test_a_deployment_that_refuses_everything_is_tried_once_a_minute() -> None:
    """Its pace is halved every minute, down to one request."""
    sent = [at for at, _ in driven(Limited(0), 40.0)]
    assert sum(at > 1200.0 for at in sent) <= 40
    assert sum(at > 1200.0 for at in sent) >= 10


def test_a_refusal_after_a_pause_tells_of_little_demand() -> None:
    """Not of a limit of nothing: the pace is that of LiteLLM's cooldown, and halved by each further refusal."""
    pacing = Pacing()
    pacing.note_attempt("g", A, NOW)
    pacing.note_refusal("g", A, NOW)
    assert pacing.busy("g", NOW + PAUSE_S) == {A}
    sent = 0
    for second in range(60, 120):
        if A not in pacing.busy("g", NOW + second):
            pacing.note_attempt("g", A, NOW + second)
            sent += 1
    assert sent == pytest.approx(FIRST_PACE, abs=1)
    pacing.note_refusal("g", A, NOW + 120.0)
    pacing.note_refusal("g", A, NOW + 181.0)
    assert pacing._paces["g"][A].rate < FIRST_PACE


def test_the_count_of_a_minute() -> None:
    """Of the minute before, the part that lies within 60 seconds counts."""
    count, start = RecentCount(), NOW // 60.0 * 60.0
    for second in range(60):
        count.add(start + second)
    assert count.read(start + 59.0) == 60
    assert count.read(start + 90.0) == 30
    count.add(start + 90.0)
    assert count.read(start + 90.0) == 31
    count.add(start + 90.0, -1)
    assert count.read(start + 90.0) == 30
    assert count.read(start + 400.0) == 0


def candidates(*names: DeploymentKey) -> list[Candidate]:
    """Candidates of these names."""
    return [Candidate(LiteLLMId(name), name) for name in names]


def refusing(engine: Engine) -> Engine:
    """The engine after ``a`` refused."""
    engine.observe_peers("g", [A, B], NOW)
    engine.recompute(NOW)
    for _ in range(10):
        engine.note_attempt("g", A, NOW + 1.0)
    engine.record(Sample("g", A, NOW + 1.0, ok=False, refused=True))
    return engine


def asked(engine: Engine, *names: DeploymentKey, draw: Callable[[], float] = lambda: 0.5, **more: object) -> list[str]:
    """The pool of a request a second later, and the reason."""
    busy = engine.busy("g", NOW + 2.0)
    ask = RoutingRequest("g", candidates(*names), Policy(), tools=True, busy=busy, **more)  # type: ignore[arg-type]
    decision = engine.decide(ask, draw)
    return [*decision.pool, decision.reason]


def test_a_busy_deployment_is_left_out_while_another_is_left() -> None:
    """Alone, or when the other has been tried, it is chosen all the same: LiteLLM decides about cooldowns."""
    engine = refusing(Engine(AdaptivePreset()))
    assert asked(engine, A, B) == ["b", "rate_limited"]
    assert asked(engine, A) == ["a", "one_tier"]
    assert asked(engine, A, B, tried=("b",))[0] == "a"
    engine.recompute(NOW + 3.0)
    assert engine.busy("g", NOW + 4.0) == {A}
    engine.observe_peers("g", [], NOW + 5.0)
    engine.recompute(NOW + 5.0)
    assert engine.busy("g", NOW + 6.0) == frozenset()


def out(*reasons: Reason) -> Verdict:
    """A deranked deployment."""
    return Verdict(B, Tier.DERANKED, reasons)


BY_PRICE = Reason(
    ReasonCode.BELOW_THRESHOLD,
    Signal.TOOL_CALL_SUCCESS,
    strictness=StepChoice(0.005, 0.03, 0.04, NextStep(0.0025, 0.0, 0.0), by_price=True),
)


@pytest.mark.parametrize(
    ("verdict", "pool"),
    [
        (Verdict(B, Tier.INSUFFICIENT_DATA), ("b",)),
        (out(BY_PRICE), ("b",)),
        (out(replace(BY_PRICE, strictness=None)), ("a",)),
        (out(Reason(ReasonCode.OVERRIDE), BY_PRICE), ("a",)),
        (out(), ("a",)),
    ],
)
def test_a_clear_outlier_takes_nothing_from_a_busy_deployment(verdict: Verdict, pool: tuple[str, ...]) -> None:
    """A refusal costs less than a bad call; what only the price of bad calls deranked comes back."""
    known = {A: Verdict(A, Tier.VERIFIED_GOOD), B: verdict}
    snapshot = Snapshot("s", 0.0, {"g": GroupSnapshot("g", known)})
    ask = RoutingRequest("g", candidates(A, B), Policy(), tools=True, busy=(A,))
    assert decide(ask, snapshot, lambda: 0.5).pool == pool


@pytest.mark.parametrize("preset", [OpenRouterPreset(), AdaptivePreset(AdaptiveParameters(refusal_hold_s=0.0))])
def test_rules_that_learn_no_capacity_pace_nothing(preset: AdaptivePreset | OpenRouterPreset) -> None:
    """The published rule does not consider it, and ``refusal_hold_s: 0`` switches it off."""
    assert refusing(Engine(preset)).busy("g", NOW + 2.0) == frozenset()


def test_a_new_snapshot_computes_no_verdict() -> None:
    """Verdicts are computed when they are read, which takes long for thousands of deployments at once."""
    read: list[DeploymentKey] = []

    def verdict(name: DeploymentKey) -> Verdict:
        read.append(name)
        return Verdict(name, Tier.VERIFIED_GOOD)

    pacing = Pacing()
    for group in ("g", "h"):
        pacing.note_attempt(group, A, NOW)
        pacing.note_refusal(group, A, NOW)
    pacing.reset(Snapshot("s", NOW, {"g": GroupSnapshot("g", LazyMapping((A,), verdict))}))
    assert read == []
    assert pacing.busy("g", NOW) == {A}
    assert pacing.busy("h", NOW) == frozenset()

"""Broken answers as a signal: observed by default, and a reason to derank where the operator says so."""

from __future__ import annotations

import numpy as np
import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import (
    Blame,
    DeploymentKey,
    Flaw,
    Outcome,
    ReasonCode,
    Sample,
    Signal,
    Tier,
)
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.openrouter import OpenRouterPreset

START = 1_800_000_000.0
NAMES = tuple(DeploymentKey(name) for name in "abcd")
BAD = NAMES[0]
OBSERVE, DERANK = AdaptivePreset(), AdaptivePreset(broken_answers=True)


class Traffic:
    """A group of four whose answers are drawn.

    Args:
        preset: of the engine.
        callers: keys, which ask in turn.
        tools: whether requests offer tools, and answers call one.
    """

    def __init__(self, preset: AdaptivePreset | OpenRouterPreset, callers: int = 12, *, tools: bool = False) -> None:
        self.engine = Engine(preset)
        self.now = START
        self._callers = callers
        self._tools = tools
        self._draws = np.random.default_rng(3)

    def run(self, minutes: int, rate: float, *, blame: Blame = Blame.PROVIDER, breaker: int | None = None) -> None:
        """Ask each deployment 10 times a minute; ``BAD`` breaks so many of its answers.

        Args:
            minutes: of traffic, with a recompute every 5 of them.
            rate: share of its answers that ``BAD`` breaks.
            blame: the party to blame.
            breaker: the only caller whose answers break; None for all.
        """
        for minute in range(minutes):
            for name in NAMES:
                for number in range(10):
                    caller = (minute * 10 + number) % self._callers
                    broken = name == BAD and breaker in (None, caller) and self._draws.random() < rate
                    sample = Sample(
                        "kimi",
                        name,
                        self.now,
                        tools_offered=self._tools,
                        outcome=Outcome.VALID if self._tools and not broken else None,
                        flaws=(Flaw.EMPTY,) if broken else (),
                        blame=blame if broken else None,
                        caller=f"caller-{caller}",
                    )
                    self.engine.record(sample)
            self.now += 60.0
            if not (minute + 1) % 5:
                self.recompute()

    def recompute(self) -> None:
        """Judge now."""
        self.engine.observe_peers("kimi", NAMES, self.now)
        self.engine.recompute(self.now)

    def tier(self, name: DeploymentKey = BAD) -> Tier:
        """The tier of a deployment."""
        return self.engine.snapshot.groups["kimi"].verdicts[name].tier


@pytest.mark.parametrize("tools", [False, True])
def test_a_deployment_that_breaks_answers_is_deranked_and_comes_back(tools: bool) -> None:
    """With the numbers as its reason; the others stay, and observed nothing happens."""
    traffic, observed = Traffic(DERANK, tools=tools), Traffic(OBSERVE, tools=tools)
    for one in (traffic, observed):
        one.run(60, 0.0)
        one.run(15, 0.4)
    assert (traffic.tier(), observed.tier()) == (Tier.DERANKED, Tier.VERIFIED_GOOD if tools else observed.tier())
    assert observed.tier() is not Tier.DERANKED
    assert all(traffic.tier(name) is not Tier.DERANKED for name in NAMES[1:])
    verdict = traffic.engine.snapshot.groups["kimi"].verdicts[BAD]
    (reason,) = [one for one in verdict.reasons if one.signal is Signal.ANSWER_SUCCESS]
    assert reason.code is ReasonCode.BELOW_THRESHOLD
    assert reason.value is not None
    assert reason.threshold is not None
    assert reason.value < reason.threshold < 1
    assert Signal.ANSWER_SUCCESS not in observed.engine.snapshot.groups["kimi"].verdicts[BAD].signals
    traffic.run(60, 0.0)
    assert traffic.tier() is not Tier.DERANKED


def test_others_faults_and_one_caller_decide_nothing() -> None:
    """An answer that a limit spoiled is none, and one of twelve callers does not convict."""
    limited = Traffic(DERANK)
    limited.run(90, 0.5, blame=Blame.LIMIT)
    assert limited.tier() is not Tier.DERANKED
    framed = Traffic(DERANK)
    framed.run(90, 1.0, breaker=0)
    assert framed.tier() is not Tier.DERANKED


def test_observed_is_as_if_there_were_no_flaws() -> None:
    """Without the setting every number of every verdict is that of answers without a flaw."""
    for preset in (OBSERVE, OpenRouterPreset()):
        flawed, faultless = Traffic(preset), Traffic(preset)
        flawed.run(60, 0.5)
        faultless.run(60, 0.0)
        told, wanted = (one.engine.snapshot.groups["kimi"].verdicts for one in (flawed, faultless))
        assert {name: told[name] for name in NAMES} == {name: wanted[name] for name in NAMES}


def test_the_signal_can_be_taken_back_and_outlives_a_restart() -> None:
    """A restart keeps the derank and its numbers; without the signal nothing keeps it."""
    traffic = Traffic(DERANK)
    traffic.run(60, 0.0)
    traffic.run(15, 0.4)
    saved, windows = traffic.engine.dump(), traffic.engine.dump_windows("kimi")
    for preset, tier in ((DERANK, Tier.DERANKED), (OBSERVE, Tier.INSUFFICIENT_DATA)):
        restarted = Traffic(preset)
        restarted.now = traffic.now
        restarted.engine.observe_peers("kimi", NAMES, restarted.now)
        restarted.engine.load(saved)
        restarted.engine.load_windows("kimi", windows)
        restarted.recompute()
        assert restarted.tier() is tier
        if preset is DERANK:
            assert restarted.engine.dump() == saved
    traffic.engine.rule = OBSERVE
    traffic.recompute()
    assert traffic.tier() is not Tier.DERANKED


def test_old_answers_count_once_it_is_switched_on() -> None:
    """What was counted before convicts at the next recompute."""
    traffic = Traffic(OBSERVE)
    traffic.run(60, 0.4)
    traffic.engine.rule = AdaptivePreset(AdaptiveParameters(), broken_answers=True)
    traffic.recompute()
    assert traffic.tier() is Tier.DERANKED

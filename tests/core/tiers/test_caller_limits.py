"""What one caller can do to the evidence beside failures: design effect, case mix, and the end of a derank."""

from __future__ import annotations

import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from tests.support.samples import START, tiers_of

NAMES = tuple(map(DeploymentKey, "abcd"))
EVIL = "evil"
HALF_HOUR_S = 1800.0


def engine_of() -> Engine:
    """An engine with four deployments and no samples."""
    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", NAMES, START)
    return engine


def record(engine: Engine, name: DeploymentKey, at: float, caller: str, *, bad: bool, complexity: int = 0) -> None:
    """One call."""
    outcome = Outcome.SCHEMA_MISMATCH if bad else Outcome.VALID
    engine.record(
        Sample("g", name, START + at, tools_offered=True, outcome=outcome, caller=caller, complexity=complexity)
    )


def honest(number: int) -> str:
    """One of ten callers."""
    return f"honest-{number % 10}"


@pytest.mark.parametrize("attacked", [False, True])
def test_one_caller_does_not_make_failures_look_clustered(attacked: bool) -> None:
    """The design effect stays near 1 (10 before), so that a break to 11 % is found in the next 200 calls."""
    engine = engine_of()
    for half in range(46):
        for name in NAMES:
            for number in range(20):
                at = HALF_HOUR_S * half + 80.0 * number
                record(engine, name, at, honest(number), bad=(20 * half + number) % 100 == 7)
            for number in range(60 if attacked and half % 2 else 0):
                record(engine, name, HALF_HOUR_S * half + 20.0 * number, EVIL, bad=True)
    end = 46 * HALF_HOUR_S
    engine.recompute(START + end + 60)
    assert tiers_of(engine)["a"] is Tier.VERIFIED_GOOD
    for number in range(200):
        for name in NAMES:
            record(engine, name, end + 60 + number, honest(number), bad=name == "a" and number % 9 == 0)
    engine.recompute(START + end + 300)
    assert tiers_of(engine)["a"] is Tier.DERANKED


def test_one_callers_failures_do_not_excuse_hard_requests() -> None:
    """With its failures of hard requests elsewhere a deployment with 8 % bad calls was not deranked."""
    tiers = []
    for attacked in (False, True):
        engine = engine_of()
        for name in NAMES:
            for number in range(600):
                hard = 3 if name == "a" or number % 10 == 1 else 0
                bad = number % 25 < 2 if name == "a" else number % 100 == 10 + number // 100
                record(engine, name, 60 + 5.0 * number, honest(number), bad=bad, complexity=hard)
            for number in range(300 if attacked and name != "a" else 0):
                record(engine, name, 60 + 10.0 * number, EVIL, bad=True, complexity=3)
        engine.recompute(START + 3660)
        tiers.append(tiers_of(engine)["a"])
    assert tiers == [Tier.DERANKED, Tier.DERANKED]


def after_a_break() -> Engine:
    """An engine whose first deployment was deranked for an hour of failures that all callers saw."""
    engine = engine_of()
    for number in range(720):
        for name in NAMES:
            every = 47 if name != "a" else 4 + number // 40 % 2
            record(engine, name, 5.0 * number, honest(number), bad=number % every == 0)
    engine.recompute(START + 3660)
    assert tiers_of(engine)["a"] is Tier.DERANKED
    return engine


def after_a_derank(good: int, of_evil: int, *, evil_fails: bool) -> Tier:
    """Tier of a deployment that broke for an hour, four hours later.

    Args:
        good: faultless calls of ten callers there within the last hour.
        of_evil: calls of another one there.
        evil_fails: whether these fail.
    """
    engine = after_a_break()
    now = 3700 + 4 * 3600
    for number in range(1400):
        for name in NAMES[1:]:
            record(engine, name, 3700 + 10.0 * number, honest(number), bad=number % 47 == 0)
    for number in range(good):
        record(engine, NAMES[0], now - 3000.0 + 3 * number, honest(number), bad=False)
    for number in range(of_evil):
        record(engine, NAMES[0], now - 3000.0 + 2700 * number / of_evil, EVIL, bad=evil_fails)
    engine.recompute(START + now)
    return tiers_of(engine)["a"]


def test_one_caller_does_not_readmit() -> None:
    """With 600 faultless calls it did; ten callers do with fewer."""
    assert after_a_derank(0, 600, evil_fails=False) is Tier.DERANKED
    assert after_a_derank(400, 0, evil_fails=False) is not Tier.DERANKED
    assert after_a_derank(400, 600, evil_fails=False) is not Tier.DERANKED


def test_one_caller_does_not_keep_a_repaired_deployment_out() -> None:
    """However many of its calls fail; a third of the others' was enough."""
    assert after_a_derank(900, 300, evil_fails=True) is not Tier.DERANKED


def test_one_caller_does_not_end_a_trial() -> None:
    """Two bad calls of one caller ended each, and doubled the pause; failures of several callers do."""
    for failing, ended in (((EVIL,) * 5, False), (tuple(map(honest, range(5))), True)):
        engine = after_a_break()
        begun = 3660 + 3 * 3600 + 60
        engine.recompute(START + begun)
        for number in range(60):
            record(engine, NAMES[0], begun + 60.0 + number, honest(number), bad=False)
        for number, caller in enumerate(failing):
            record(engine, NAMES[0], begun + 130.0 + number, caller, bad=True)
        engine.recompute(START + begun + 200)
        level = engine.dump("g")["g"][NAMES[0]]["rule.level"]
        assert (level != 0) is ended

"""Exact pick probabilities against many decisions and against every combination of chances."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exacto_plugin.core.model import Candidate, DeploymentKey, GroupSnapshot, LiteLLMId, Mode, Snapshot, Tier, Verdict
from exacto_plugin.core.routing.ordering import RoutingRequest, decide, probe_shares
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.simulate.pick_shares import shares

GROUP = "g"


def _snapshot(verdicts: list[Verdict], *, merged: bool) -> Snapshot:
    group = GroupSnapshot(GROUP, {verdict.deployment: verdict for verdict in verdicts}, merge_tiers=merged)
    return Snapshot("1", 0.0, {GROUP: group})


def _ask(names: list[str], mode: Mode = Mode.APPLY) -> RoutingRequest:
    return RoutingRequest(
        GROUP, [Candidate(LiteLLMId(name), DeploymentKey(name)) for name in names], Policy(), tools=True, mode=mode
    )


_VERDICTS = st.lists(
    st.tuples(st.sampled_from(list(Tier)), st.floats(0.0, 1.0), st.floats(0.05, 20.0)), min_size=1, max_size=6
)


@given(_VERDICTS, st.booleans(), st.sampled_from([Mode.APPLY, Mode.OBSERVE, Mode.OFF]))
@example([(Tier.VERIFIED_GOOD, 0.0, 0.125), (Tier.INSUFFICIENT_DATA, 0.5, 9.0)], True, Mode.APPLY)
def test_shares_add_up_over_all_chances(rows: list[tuple[Tier, float, float]], merged: bool, mode: Mode) -> None:
    """The shares equal the sum over every outcome of the coins that decide about the pool."""
    names = [f"d{number}" for number in range(len(rows))]
    verdicts = [
        Verdict(DeploymentKey(name), tier, keep_probability=keep)
        for name, (tier, keep, _) in zip(names, rows, strict=True)
    ]
    snapshot = _snapshot(verdicts, merged=merged)
    weights = {LiteLLMId(name): weight for name, (_, _, weight) in zip(names, rows, strict=True)}
    ask = _ask(names, mode)
    coins = [keep for tier, keep, _ in rows if merged and tier is Tier.INSUFFICIENT_DATA and keep < 1.0]
    if mode is Mode.OFF:
        coins = []
    expected = dict.fromkeys(weights, 0.0)
    for heads in itertools.product((True, False), repeat=len(coins)):
        chance = math.prod(keep if head else 1.0 - keep for keep, head in zip(coins, heads, strict=True))
        if not chance:
            continue
        draws = iter([0.0 if head else math.nextafter(1.0, 0.0) for head in heads])
        pool = decide(ask, snapshot, lambda draws=draws: next(draws, 0.5), lambda _: False).pool  # type: ignore[misc]
        total = sum(weights[name] for name in pool)
        for name in pool:
            expected[name] += chance * weights[name] / total
    found = shares(ask, snapshot, weights)
    assert sum(found.values()) == pytest.approx(1.0)
    assert found == pytest.approx(expected, abs=1e-5)


def test_shares_and_probes_are_what_decisions_come_to() -> None:
    """Ten thousand decisions with a lottery inside their pools fall as the shares and the probes say."""
    verdicts = [
        Verdict(DeploymentKey("good"), Tier.VERIFIED_GOOD),
        Verdict(
            DeploymentKey("new"), Tier.INSUFFICIENT_DATA, keep_probability=0.4, probe_share=0.05, probe_budget=math.inf
        ),
        Verdict(DeploymentKey("bad"), Tier.DERANKED, probe_share=0.1, probe_budget=math.inf),
    ]
    snapshot = _snapshot(verdicts, merged=True)
    ask = _ask(["good", "new", "bad"])
    weights = {LiteLLMId("good"): 1.0, LiteLLMId("new"): 3.0, LiteLLMId("bad"): 5.0}
    draw = random.Random(7).random
    picks = dict.fromkeys(weights, 0)
    for _ in range(10_000):
        pool = decide(ask, snapshot, draw).pool
        (picked,) = random.Random(draw()).choices(pool, [weights[name] for name in pool])
        picks[picked] += 1
    probed = probe_shares(ask, snapshot)
    rest = 1.0 - sum(probed.values())
    for name, share in shares(ask, snapshot, weights).items():
        expected = 10_000 * (rest * share + probed.get(DeploymentKey(name), 0.0))
        assert abs(picks[name] - expected) < 4.0 * math.sqrt(expected + 1.0)


def test_deployments_with_one_key_come_and_go_together() -> None:
    """Two candidates of one deployment share its coin: both are in a pool, or neither."""
    verdicts = [
        Verdict(DeploymentKey("good"), Tier.VERIFIED_GOOD),
        Verdict(DeploymentKey("twin"), Tier.INSUFFICIENT_DATA, keep_probability=0.5),
    ]
    candidates = [
        Candidate(LiteLLMId("a"), DeploymentKey("good")),
        Candidate(LiteLLMId("b"), DeploymentKey("twin")),
        Candidate(LiteLLMId("c"), DeploymentKey("twin")),
    ]
    ask = RoutingRequest(GROUP, candidates, Policy(), tools=True)
    found = shares(
        ask, _snapshot(verdicts, merged=True), {LiteLLMId("a"): 1.0, LiteLLMId("b"): 1.0, LiteLLMId("c"): 1.0}
    )
    assert found == pytest.approx({"a": 0.5 + 0.5 / 3.0, "b": 0.5 / 3.0, "c": 0.5 / 3.0}, abs=1e-6)

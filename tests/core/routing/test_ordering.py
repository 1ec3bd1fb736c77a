"""Ordering one attempt."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import (
    Candidate,
    DeploymentKey,
    GroupSnapshot,
    LiteLLMId,
    Mode,
    Snapshot,
    Sort,
    Tier,
    Verdict,
)
from exacto_plugin.core.routing.ordering import RoutingRequest, decide
from exacto_plugin.core.routing.policy import Policy


def snapshot(tiers: dict[str, Tier], **speeds: float) -> Snapshot:
    """A snapshot of group ``g``."""
    verdicts = {
        (key := DeploymentKey(name)): Verdict(key, tier, throughput=speeds.get(name)) for name, tier in tiers.items()
    }
    return Snapshot("s", 0.0, {"g": GroupSnapshot("g", verdicts)})


def ask(*candidates: Candidate, sort: Sort = Sort.AUTO, tools: bool = True, **more: object) -> RoutingRequest:
    """A question about group ``g``."""
    return RoutingRequest("g", candidates, Policy(sort), tools, **more)  # type: ignore[arg-type]


def no_draw() -> float:
    """Fails the test when chance is asked for."""
    raise AssertionError("nothing random here")


GOOD, MIDDLE, BAD = (
    Candidate(LiteLLMId("1"), DeploymentKey("good")),
    Candidate(LiteLLMId("2"), DeploymentKey("middle")),
    Candidate(LiteLLMId("3"), DeploymentKey("bad")),
)
TIERS = snapshot({"good": Tier.VERIFIED_GOOD, "bad": Tier.DERANKED})


def test_tiers_in_order() -> None:
    """Verified good first, then insufficient data, then deranked; each attempt goes on to what was not tried."""
    pools = []
    tried: list[str] = []
    for _ in range(3):
        decision = decide(ask(BAD, MIDDLE, GOOD, tried=tuple(tried)), TIERS, no_draw)
        pools.append(decision.pool)
        tried += decision.pool
    assert pools == [("1",), ("2",), ("3",)]
    assert decide(ask(BAD, MIDDLE, GOOD, tried=tuple(tried)), TIERS, no_draw).pool == ("1",)


def test_operator_levels_stand_except_for_deranked() -> None:
    """Tiers apply inside a level; only a deranked deployment falls behind later levels."""
    first_middle = Candidate(LiteLLMId("a"), DeploymentKey("middle"), level=1)
    second_good = Candidate(LiteLLMId("b"), DeploymentKey("good"), level=2)
    first_bad = Candidate(LiteLLMId("c"), DeploymentKey("bad"), level=1)
    assert decide(ask(second_good, first_middle, first_bad), TIERS, no_draw).pool == ("a",)
    ranking = decide(ask(second_good, first_middle, first_bad), TIERS, no_draw).ranking
    assert [ranked.id for ranked in ranking] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (ask(GOOD, BAD, tools=False), "no_tools"),
        (ask(GOOD, BAD, sort=Sort.NONE), "no_sort"),
        (ask(GOOD, BAD, mode=Mode.OFF), "mode_off"),
        (ask(GOOD, BAD, mode=Mode.OBSERVE), "observe"),
        (ask(GOOD, BAD, in_share=False), "share"),
    ],
)
def test_left_alone(question: RoutingRequest, reason: str) -> None:
    """Where tiers are not to be applied, everybody stays in the pool; whose tier is which is told all the same."""
    decision = decide(question, TIERS, no_draw)
    assert (decision.pool, decision.applied, decision.reason) == (("1", "3"), False, reason)
    assert [ranked.tier for ranked in decision.ranking] == [Tier.VERIFIED_GOOD, Tier.DERANKED]


def test_observe_says_what_would_have_been() -> None:
    """Observe mode decides without applying."""
    assert decide(ask(GOOD, BAD, mode=Mode.OBSERVE), TIERS, no_draw).preferred == ("1",)


def test_exacto_orders_requests_without_tools() -> None:
    """``:exacto`` means tiers for every request."""
    assert decide(ask(BAD, GOOD, sort=Sort.EXACTO, tools=False), TIERS, no_draw).pool == ("1",)


@pytest.mark.parametrize("mode", list(Mode))
def test_explicit_sorts_hold_in_every_mode(mode: Mode) -> None:
    """Turning tiers off does not turn a price sort off."""
    cheap, dear = (
        Candidate(LiteLLMId("c"), DeploymentKey("bad"), price=1.0),
        Candidate(LiteLLMId("d"), DeploymentKey("good"), price=2.0),
    )
    unknown = Candidate(LiteLLMId("u"), DeploymentKey("middle"))
    question = ask(unknown, dear, cheap, sort=Sort.PRICE, mode=mode)
    assert [r.id for r in decide(question, TIERS, no_draw).ranking] == ["c", "d", "u"]


def test_throughput_sort_falls_through() -> None:
    """A full order: the fastest first, then the next; unmeasured ones last."""
    speeds = snapshot({"good": Tier.VERIFIED_GOOD, "bad": Tier.DERANKED}, good=10.0, bad=50.0)
    question = ask(MIDDLE, GOOD, BAD, sort=Sort.THROUGHPUT, tried=("3",))
    assert [r.id for r in decide(question, speeds, no_draw).ranking] == ["3", "1", "2"]
    assert decide(question, speeds, no_draw).pool == ("1",)


def test_price_weighted_is_the_inverse_square_lottery() -> None:
    """A deployment at half the price is picked four times as often; one without a price only when alone."""
    cheap, dear, unknown = (
        Candidate(LiteLLMId("c"), DeploymentKey("c"), price=1.0),
        Candidate(LiteLLMId("d"), DeploymentKey("d"), price=2.0),
        Candidate(LiteLLMId("u"), DeploymentKey("u")),
    )
    draw = random.Random(7).random
    picks = [decide(ask(cheap, dear, unknown, sort=Sort.PRICE_WEIGHTED), TIERS, draw).pool for _ in range(5000)]
    assert all(len(pool) == 1 for pool in picks)
    assert 0.78 < picks.count((LiteLLMId("c"),)) / 5000 < 0.82
    assert ("u",) not in picks


keys = st.sampled_from([f"k{i}" for i in range(6)])
candidates = st.lists(
    st.builds(
        Candidate,
        id=st.uuids().map(str),
        key=keys,
        price=st.none() | st.floats(0, 10),
        level=st.none() | st.integers(1, 3),
    ),
    unique_by=lambda c: c.id,
    max_size=8,
)
snapshots = st.dictionaries(keys, st.sampled_from(list(Tier))).map(snapshot)
sorts = st.sampled_from(list(Sort))


@given(candidates, snapshots, sorts, st.sampled_from(list(Mode)), st.booleans(), st.data())
def test_pool_is_never_empty_or_foreign(
    some: list[Candidate], seen: Snapshot, sort: Sort, mode: Mode, tools: bool, data: st.DataObject
) -> None:
    """Whatever was tried, the pool is a non-empty part of the candidates, and the ranking holds each of them once."""
    ids = [c.id for c in some]
    tried = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
    question = RoutingRequest("g", some, Policy(sort), tools, mode, True, tried)
    decision = decide(question, seen, random.Random(1).random)
    assert set(decision.pool) <= set(ids)
    assert bool(decision.pool) == bool(ids)
    assert sorted(r.id for r in decision.ranking) == sorted(ids)


@given(candidates, snapshots, sorts)
def test_every_deployment_is_reached(some: list[Candidate], seen: Snapshot, sort: Sort) -> None:
    """Going on with what was not tried reaches every deployment; a deranked one is last, not gone."""
    draw = random.Random(2).random
    tried: list[str] = []
    for _ in some:
        pool = decide(
            RoutingRequest("g", some, Policy(sort), True, Mode.APPLY, True, tuple(tuple(map(LiteLLMId, tried)))),
            seen,
            draw,
        ).pool
        left = [i for i in pool if i not in tried]
        if not left:  # left alone: LiteLLM picks among all
            assert set(pool) == {c.id for c in some}
            return
        tried.append(left[0])
    assert sorted(tried) == sorted(c.id for c in some)


@given(candidates, snapshots, sorts)
def test_same_input_same_order_and_stable_inside_a_tier(some: list[Candidate], seen: Snapshot, sort: Sort) -> None:
    """Deterministic for the same random numbers; equals keep the order they came in."""
    question = RoutingRequest("g", some, Policy(sort), True)
    one = decide(question, seen, random.Random(3).random)
    assert one == decide(question, seen, random.Random(3).random)
    position = {c.id: index for index, c in enumerate(some)}
    for a, b in zip(one.ranking, one.ranking[1:], strict=False):
        assert a.rank < b.rank or position[a.id] < position[b.id]


def test_a_rescue_prefers_verified_good_while_tiers_are_merged() -> None:
    """Who shares the traffic with the verified ones is no match for them when a bad call is asked for again."""
    good, middle = DeploymentKey("good"), DeploymentKey("middle")
    verdicts = {
        good: Verdict(good, Tier.VERIFIED_GOOD),
        middle: Verdict(middle, Tier.INSUFFICIENT_DATA, keep_probability=1.0),
    }
    merged = Snapshot("s", 0.0, {"g": GroupSnapshot("g", verdicts, merge_tiers=True)})
    assert set(decide(ask(MIDDLE, GOOD), merged, no_draw).pool) == {"1", "2"}
    assert decide(ask(MIDDLE, GOOD, BAD, tried=("3",), rescue=True), merged, no_draw).pool == ("1",)

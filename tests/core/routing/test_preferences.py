"""``order`` and soft wishes in the ordering of one attempt."""

from __future__ import annotations

import random
from dataclasses import replace

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
from exacto_plugin.core.pace import RecentPace
from exacto_plugin.core.routing.ordering import RoutingRequest, best_rank, decide
from exacto_plugin.core.routing.policy import Policy, Preference
from exacto_plugin.core.routing.preferences import preference_classes

QUICK = Candidate(LiteLLMId("q"), DeploymentKey("quick"), "a", price=3.0)
SLOW = Candidate(LiteLLMId("s"), DeploymentKey("slow"), "b", price=1.0)
NEW = Candidate(LiteLLMId("n"), DeploymentKey("new"), "b/turbo", price=2.0)
EVERYBODY = (NEW, SLOW, QUICK)
GROUP = GroupSnapshot(
    "g",
    {
        DeploymentKey("quick"): Verdict(DeploymentKey("quick"), Tier.DERANKED, throughput=100.0, latency_s=0.2),
        DeploymentKey("slow"): Verdict(DeploymentKey("slow"), Tier.VERIFIED_GOOD, throughput=10.0, latency_s=2.0),
    },
)
PACED = replace(
    GROUP,
    paces={
        DeploymentKey("quick"): RecentPace((100.0, 90.0, 80.0, 70.0), (0.2, 0.3, 0.4, 0.5)),
        DeploymentKey("slow"): RecentPace((10.0, 9.0, 8.0, 7.0), None),
    },
)
FAST = Preference("throughput", 90, 80.0)


def snapshot(group: GroupSnapshot = PACED) -> Snapshot:
    """A snapshot of one group."""
    return Snapshot("s", 0.0, {"g": group})


def first(policy: Policy, *, tools: bool = True, mode: Mode = Mode.APPLY, tried: tuple[str, ...] = ()) -> list[str]:
    """Who would be tried, one after the other."""
    asked = RoutingRequest("g", EVERYBODY, policy, tools, mode, True, tuple(map(LiteLLMId, tried)))
    return [one.id for one in decide(asked, snapshot(), random.Random(1).random).ranking]


@pytest.mark.parametrize("mode", list(Mode))
def test_order_wins_over_tiers(mode: Mode) -> None:
    """The listed come first in their order, whatever their tiers; a base slug means all of its endpoints."""
    policy = Policy(Sort.ORDER, explicit=True, order=("nobody", "a", "s"), preferences=(FAST,))
    assert first(policy, mode=mode) == ["q", "s", "n"]
    assert first(replace(policy, order=("b",)), mode=mode) == ["n", "s", "q"]
    decision = decide(
        RoutingRequest("g", EVERYBODY, policy, True, mode, True, (LiteLLMId("q"),)), snapshot(), random.random
    )
    assert (decision.policy, decision.pool, decision.applied) == (Sort.ORDER, ("s",), True)


@pytest.mark.parametrize(
    ("wish", "group", "classes"),
    [
        (FAST, PACED, [["quick"], ["new"], ["slow"]]),
        (replace(FAST, bound=80.1), PACED, [["new"], ["slow", "quick"]]),
        (Preference("latency", 99, 0.5), PACED, [["quick"], ["new", "slow"]]),
        (Preference("latency", 50, 1.0), GROUP, [["quick"], ["new"], ["slow"]]),
        (Preference("throughput", 75, 1.0), GROUP, [["new", "slow", "quick"]]),
        (FAST, None, [["new", "slow", "quick"]]),
    ],
)
def test_classes(wish: Preference, group: GroupSnapshot | None, classes: list[list[str]]) -> None:
    """Who meets a wish, who is not known, who misses it; medians do until percentiles were asked for."""
    assert [[one.key for one in part] for part in preference_classes([wish], EVERYBODY, group)] == classes


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("sort", [Sort.AUTO, Sort.EXACTO, Sort.PRICE, Sort.NONE])
def test_misses_move_to_the_end(sort: Sort, mode: Mode) -> None:
    """A wish stands above tiers and sorts, in every mode, with tools or without; inside a class they order."""
    for tools in (True, False):
        assert first(Policy(sort, preferences=(FAST,)), tools=tools, mode=mode) == ["q", "n", "s"]
    assert first(Policy(Sort.PRICE, preferences=(replace(FAST, bound=1e9),)))[0] == "n"


def test_every_wish_counts() -> None:
    """Who misses one of several misses."""
    both = (Preference("throughput", 50, 5.0), Preference("latency", 50, 0.1))
    assert [[one.key for one in part] for part in preference_classes(both, EVERYBODY, PACED)] == [
        ["new", "slow"],
        ["quick"],
    ]


bounds = st.builds(
    Preference,
    st.sampled_from(["throughput", "latency"]),
    st.sampled_from([50, 75, 90, 99]),
    st.floats(0.01, 1000),
)


@given(st.lists(bounds, max_size=3), st.sampled_from(list(Sort)), st.sampled_from(list(Mode)), st.booleans(), st.data())
def test_a_wish_rules_nobody_out(
    wishes: list[Preference], sort: Sort, mode: Mode, tools: bool, data: st.DataObject
) -> None:
    """Everybody is ranked once, the pool is never empty, and who was not tried is preferred to who was."""
    tried = data.draw(st.lists(st.sampled_from(["q", "s", "n"]), unique=True))
    policy = Policy(sort, order=("b",) if sort is Sort.ORDER else (), preferences=tuple(wishes))
    decision = decide(
        RoutingRequest("g", EVERYBODY, policy, tools, mode, True, tuple(map(LiteLLMId, tried))),
        snapshot(),
        random.Random(1).random,
    )
    assert sorted(ranked.id for ranked in decision.ranking) == ["n", "q", "s"]
    assert decision.pool
    assert [one.rank for one in decision.ranking] == sorted(one.rank for one in decision.ranking)
    if decision.reason == "preferred":
        assert len(tried) < 3
        assert not set(decision.pool) <= set(tried)


def test_models_are_put_in_order_by_their_best() -> None:
    """Wishes first, then the sort; a model without any deployment left stands last."""
    by_price = Policy(Sort.PRICE)
    assert best_rank(by_price, [QUICK, SLOW], PACED) < best_rank(by_price, [NEW], PACED)
    wishing = replace(by_price, preferences=(FAST,))
    assert best_rank(wishing, [QUICK], PACED) < best_rank(wishing, [NEW], PACED) < best_rank(wishing, [SLOW], PACED)
    assert best_rank(Policy(Sort.EXACTO), [SLOW], PACED) < best_rank(Policy(Sort.EXACTO), [QUICK, NEW], PACED)
    assert best_rank(by_price, [Candidate(LiteLLMId("u"), DeploymentKey("u"))], None) < best_rank(by_price, [], None)

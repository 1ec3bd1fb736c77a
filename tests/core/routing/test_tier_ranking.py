"""What is kept of known candidates: every decision equals that on a plain list of the same candidates."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.decision import AffinityTarget
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
from exacto_plugin.core.routing.attempt import decide_attempt
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy, Preference
from exacto_plugin.core.routing.probe_budget import ProbeBudget
from exacto_plugin.core.routing.tier_ranking import KnownCandidates, ranking_of

if TYPE_CHECKING:
    from exacto_plugin.core.decision import Decision

KEYS = [DeploymentKey(f"k{number}") for number in range(5)]
candidates = st.lists(
    st.builds(
        Candidate,
        id=st.sampled_from([f"d{number}" for number in range(9)]),
        key=st.sampled_from(KEYS),
        price=st.none() | st.floats(0.001, 10),
        level=st.none() | st.integers(1, 3),
        caches=st.booleans(),
    ),
    unique_by=lambda one: one.id,
    min_size=1,
    max_size=8,
)


@st.composite
def groups(draw: st.DrawFn) -> GroupSnapshot | None:
    """Verdicts on some of the deployments, or no model group."""
    if draw(st.integers(0, 9)) == 0:
        return None
    verdicts = {
        key: Verdict(
            key,
            draw(st.sampled_from(list(Tier))),
            throughput=draw(st.none() | st.floats(1, 90)),
            keep_probability=draw(st.sampled_from([0.0, 0.4, 1.0])),
            probe_share=draw(st.sampled_from([0.0, 0.0, 0.2, 0.5])),
            probe_budget=draw(st.sampled_from([0.0, 5.0])),
        )
        for key in draw(st.lists(st.sampled_from(KEYS), unique=True))
    }
    paces = {key: RecentPace(throughput=(30.0, 20.0, 10.0, 5.0)) for key in KEYS[:2]}
    return GroupSnapshot("g", verdicts, merge_tiers=draw(st.booleans()), paces=paces)


@st.composite
def questions(draw: st.DrawFn, some: list[Candidate]) -> RoutingRequest:
    """A question about these candidates, asked as a plain list."""
    ids = [one.id for one in some]
    wishes = draw(st.sampled_from([(), (), (Preference("throughput", 50, 25.0),)]))
    policy = Policy(draw(st.sampled_from(list(Sort))), draw(st.booleans()), order=("k1",), preferences=wishes)
    home = draw(
        st.none() | st.builds(AffinityTarget, st.sampled_from(ids), st.booleans(), st.booleans(), st.booleans())
    )
    tried = draw(st.just(()) | st.lists(st.sampled_from(ids), unique=True).map(tuple))
    mode, tools, in_share, rescue = draw(st.tuples(st.sampled_from(list(Mode)), *[st.booleans()] * 3))
    return RoutingRequest("g", some, policy, tools, mode, in_share, tried, rescue, home)


@given(candidates, st.lists(groups(), min_size=1, max_size=3), st.data())
def test_known_candidates_are_decided_on_like_a_list(
    some: list[Candidate], seen: list[GroupSnapshot | None], data: st.DataObject
) -> None:
    """Questions in any order, under verdicts that change between them and come back: the same decisions and probes."""
    known, kept, plain = KnownCandidates(some), ProbeBudget(), ProbeBudget()
    for number in range(6):
        ask, group = data.draw(questions(some)), data.draw(st.sampled_from(seen))
        snapshot = Snapshot(str(number), 0.0, {} if group is None else {"g": group})
        same = replace(ask, candidates=known)
        decided: list[Decision] = []
        for asked, budget in ((same, kept), (ask, plain)):
            decided.append(decide_attempt(asked, snapshot, budget, random.Random(number).random))
        assert decided[0] == decided[1]
        assert [getattr(kept, name) for name in kept.__slots__] == [getattr(plain, name) for name in plain.__slots__]


def test_a_ranking_is_kept_until_the_verdicts_change() -> None:
    """One object for the same verdicts; another one for others, though they are equal, and for a plain tuple."""
    one = Candidate(LiteLLMId("d"), KEYS[0])
    first, second = (GroupSnapshot("g", {KEYS[0]: Verdict(KEYS[0], tier)}) for tier in (Tier.DERANKED, Tier.DERANKED))
    known = KnownCandidates([one])
    kept = ranking_of(known, first)
    assert ranking_of(known, first) is kept
    assert ranking_of(known, second) is not kept
    assert ranking_of((one,), second) is not ranking_of((one,), second)
    assert known.by_id == {one.id: one}


@given(candidates, groups(), st.data())
def test_one_candidate_leads_a_ranking_and_the_others_keep_their_order(
    some: list[Candidate], group: GroupSnapshot | None, data: st.DataObject
) -> None:
    """The kept rankings give the same as another tuple of equal ranks does, each time anew."""
    ranking, at = ranking_of(KnownCandidates(some), group), data.draw(st.sampled_from(some))
    for kept in (ranking.ranked, ranking.unranked, ranking.ranked):
        first, *others = ranking.led_by(at, kept)
        assert (first.id, first.key, first.rank, first.tier) == (at.id, at.key, 0, ranking.tiers[at.key])
        assert others == [replace(one, rank=one.rank + 1) for one in kept if one.id != at.id]
        assert ranking.led_by(at, tuple(list(kept))) == (first, *others)


@pytest.mark.parametrize(("count", "is_kept"), [(16, True), (17, False)])
def test_what_leads_a_ranking_is_kept_of_few_candidates(count: int, is_kept: bool) -> None:
    """Of many candidates it is not: there would be as many rankings, each of as many places."""
    some = [Candidate(LiteLLMId(f"d{number}"), DeploymentKey(f"d{number}")) for number in range(count)]
    ranking = ranking_of(KnownCandidates(some), None)
    for own in (ranking.ranked, ranking.unranked):
        assert (ranking.led_by(some[1], own) is ranking.led_by(some[1], own)) is is_kept
        assert ranking.led_by(some[1], own) == ranking.led_by(some[1], tuple(list(own)))

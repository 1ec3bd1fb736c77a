"""Conversations: where they are, when they may leave, and what that leaves to probes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.decision import AffinityTarget, Decision
from exacto_plugin.core.engine.engine import Engine
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
from exacto_plugin.core.routing.affinity import ConversationMap
from exacto_plugin.core.routing.affinity_rule import apply_affinity, is_usable
from exacto_plugin.core.routing.ordering import RoutingRequest, decide
from exacto_plugin.core.routing.policy import Policy, Preference
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters

NOW = 1_700_000_000.0
IDLE_S = 600.0
GOOD, GOOD2, MIDDLE, BAD = (
    Candidate(LiteLLMId(name), DeploymentKey(name)) for name in ("good", "good2", "middle", "bad")
)
EVERYBODY = (GOOD, GOOD2, MIDDLE, BAD)
VERDICTS = {
    GOOD.key: Verdict(GOOD.key, Tier.VERIFIED_GOOD),
    GOOD2.key: Verdict(GOOD2.key, Tier.VERIFIED_GOOD),
    BAD.key: Verdict(BAD.key, Tier.DERANKED),
}


def snapshot(*verdicts: Verdict, merged: bool = False) -> Snapshot:
    """A snapshot of group ``g``."""
    all_verdicts = {**VERDICTS, **{verdict.deployment: verdict for verdict in verdicts}}
    return Snapshot("s", 0.0, {"g": GroupSnapshot("g", all_verdicts, merge_tiers=merged)})


def ask(
    home: AffinityTarget | str | None, *candidates: Candidate, sort: Sort = Sort.AUTO, **more: object
) -> RoutingRequest:
    """A turn of a conversation that is at ``home``."""
    at = AffinityTarget(LiteLLMId(home)) if isinstance(home, str) else home
    told = {"tools": True, **more}
    return RoutingRequest("g", candidates or EVERYBODY, Policy(sort), home=at, **told)  # type: ignore[arg-type]


def decided(question: RoutingRequest, verdicts: Snapshot | None = None) -> Decision:
    """The decision on one attempt."""
    found = verdicts or snapshot()
    return apply_affinity(question, found, decide(question, found, random.Random(1).random))


# --- the memory -------------------------------------------------------------------------------------------------------


def test_a_conversation_is_kept_while_it_succeeds() -> None:
    """Success renews the time; sending alone does not."""
    known = ConversationMap()
    known.assign(b"a", LiteLLMId("d1"), NOW)
    known.assign(b"a", LiteLLMId("d1"), NOW + 500)
    assert known.find(b"a", NOW + 600, IDLE_S) is not None
    assert known.find(b"a", NOW + 601, IDLE_S) is None
    known.touch(b"a", LiteLLMId("d1"), NOW + 500)
    assert known.find(b"a", NOW + 1100, IDLE_S) == ("d1", NOW + 500, False)
    assert known.find(b"b", NOW, IDLE_S) is None


def test_a_conversation_moves_and_stays_at_the_new_place() -> None:
    """A late answer or failure of the old place changes nothing any more."""
    known = ConversationMap()
    known.assign(b"a", LiteLLMId("d1"), NOW, probed=True)
    known.release(b"a", LiteLLMId("d1"))
    assert known.find(b"a", NOW, IDLE_S) is None
    known.assign(b"a", LiteLLMId("d2"), NOW + 1)
    known.touch(b"a", LiteLLMId("d1"), NOW + 2)
    known.release(b"a", LiteLLMId("d1"))
    assert known.find(b"a", NOW + 2, IDLE_S) == ("d2", NOW + 1, False)


def test_what_was_left_is_still_recalled() -> None:
    """What only one deployment can read does not become readable elsewhere by a failure or by waiting."""
    known = ConversationMap()
    assert known.last_known(b"a") == ""
    known.touch(b"a", LiteLLMId("d1"), NOW)
    assert known.find(b"a", NOW + 10_000, IDLE_S) is None
    known.release(b"a", LiteLLMId("d1"))
    assert known.last_known(b"a") == "d1"


def test_another_process_knows_better_but_where_it_was_left() -> None:
    """What others say replaces what is old or elsewhere; a deployment that has just failed here is not gone back to."""
    known = ConversationMap()
    known.touch(b"a", LiteLLMId("d1"), NOW)
    known.learn(b"a", LiteLLMId("d1"), NOW + 10_000)
    assert known.find(b"a", NOW + 10_000, IDLE_S) == ("d1", NOW + 10_000, False)
    known.release(b"a", LiteLLMId("d1"))
    known.learn(b"a", LiteLLMId("d1"), NOW + 10_001)
    assert known.find(b"a", NOW + 10_001, IDLE_S) is None
    known.learn(b"a", LiteLLMId("d2"), NOW + 10_002, probed=True)
    assert known.find(b"a", NOW + 10_002, IDLE_S) == ("d2", NOW + 10_002, True)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["assign", "touch", "release"])), max_size=200))
def test_memory_is_bounded(steps: list[tuple[int, str]]) -> None:
    """Never more conversations than allowed; the longest unused go first."""
    known = ConversationMap(capacity=8)
    for at, (number, step) in enumerate(steps):
        key = bytes([number])
        if step == "release":
            known.release(key, LiteLLMId("d"))
        else:
            getattr(known, step)(key, "d", NOW + at)
            assert known.last_known(key) == "d"
        assert len(known) <= 8


# --- staying ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "pool"),
    [
        (ask("good2"), ("good2",)),  # not even its equals
        (ask("middle"), ("middle",)),  # a soft verdict moves new conversations only
        (ask("bad"), ("good", "good2")),
        (ask("gone"), ("good", "good2")),  # cooling down
        (ask("good2", tried=("good2",)), ("good",)),
        (ask(AffinityTarget(LiteLLMId("good2"), pinned=True), tried=("good2",)), ("good2",)),
        (ask(AffinityTarget(LiteLLMId("bad"), pinned=True)), ("bad",)),
        (ask("middle", tools=False), ("middle",)),
        (ask("bad", tools=False), ("good", "good2", "middle", "bad")),
        (ask("middle", sort=Sort.EXACTO), ("middle",)),
        (ask("middle", sort=Sort.PRICE_WEIGHTED), ("middle",)),
        (ask("bad", BAD), ("bad",)),
        (ask("middle", mode=Mode.OFF), ("good", "good2", "middle", "bad")),
    ],
)
def test_a_running_conversation_stays_unless_it_must_leave(question: RoutingRequest, pool: tuple[str, ...]) -> None:
    """It leaves what is deranked, not there, or failed this very request."""
    assert decided(question).pool == pool


@pytest.mark.parametrize("sort", [Sort.PRICE, Sort.THROUGHPUT, Sort.LATENCY, Sort.NONE, Sort.ORDER])
def test_a_full_order_is_stronger(sort: Sort) -> None:
    """An order by price or speed, an own order, and the operator's untouched strategy know no conversations."""
    priced = tuple(replace(c, price=float(place)) for place, c in enumerate(EVERYBODY))
    asked = ask("middle", *priced, sort=sort)
    assert decided(asked) == decided(replace(asked, home=None))


def test_wishes_about_speed_are_stronger() -> None:
    """A conversation leaves a deployment that misses what the client now asks for, unless only that one can read it."""
    wish = Policy(preferences=(Preference("throughput", 50, 30.0),))
    quick, slow = (
        Verdict(DeploymentKey(name), Tier.VERIFIED_GOOD, throughput=speed)
        for name, speed in (("good", 50.0), ("good2", 5.0))
    )
    verdicts = snapshot(quick, slow)
    assert decided(replace(ask("good2"), policy=wish), verdicts).pool == ("good",)
    assert decided(replace(ask("good"), policy=wish), verdicts).reason == "affinity"
    assert decided(replace(ask(AffinityTarget(LiteLLMId("good2"), pinned=True)), policy=wish), verdicts).pool == (
        "good2",
    )


def test_where_the_cache_saves_nothing_nobody_stays() -> None:
    """Where reading a cached prompt costs what sending it costs, tiers decide anew."""
    assert decided(ask("middle", GOOD, replace(MIDDLE, caches=False))).pool == ("good",)


def test_the_operators_levels_stand() -> None:
    """A conversation goes back to the first level, but not to a deranked deployment there."""
    first, second = replace(GOOD, level=1), replace(MIDDLE, level=2)
    assert decided(ask("middle", first, second)).pool == ("good",)
    assert decided(ask("middle", replace(BAD, level=1), second)).pool == ("middle",)


@pytest.mark.parametrize("more", [{"mode": Mode.OBSERVE}, {"in_share": False}])
def test_observed_only(more: dict[str, Any]) -> None:
    """What would have been done is written down, and everybody may be picked."""
    decision = decided(ask("middle", **more))
    assert not decision.applied
    assert decision.preferred == ("middle",)
    assert set(decision.pool) == {c.id for c in EVERYBODY}
    assert decided(ask("middle", sort=Sort.PRICE_WEIGHTED, **more)).reason == "sort"


def test_the_ranking_goes_on_where_tiers_would() -> None:
    """The next ones in line are those of the tiers."""
    ranking = decided(ask("middle")).ranking
    assert [(ranked.id, ranked.rank) for ranked in ranking] == [("middle", 0), ("good", 1), ("good2", 1), ("bad", 3)]
    assert decided(ask("middle")).reason == "affinity"


def test_openings_are_spread_while_tiers_are_merged() -> None:
    """Many conversations that begin alike do not hide the others from being measured."""
    opening = AffinityTarget(LiteLLMId("middle"), is_new=True)
    assert decided(ask(opening)).pool == ("middle",)
    merged = snapshot(merged=True)
    assert len(decided(ask(opening), merged).pool) > 1
    assert decided(ask("middle"), merged).pool == ("middle",)
    assert is_usable(ask(opening), merged)
    assert not is_usable(ask(AffinityTarget(LiteLLMId("bad"), is_new=True)), merged)
    assert not is_usable(ask(None), merged)


# --- what is left to probes -------------------------------------------------------------------------------------------

SHARE = 0.02


class Traffic:
    """Conversations of several turns through an engine whose snapshot asks for probes of one deployment."""

    def __init__(self, probed: str, seed: int = 1) -> None:
        self.engine = Engine(AdaptivePreset(AdaptiveParameters(), SHARE))
        tier = Tier.DERANKED if probed == "bad" else Tier.INSUFFICIENT_DATA
        wanted = Verdict(DeploymentKey(probed), tier, probe_share=SHARE, probe_budget=1e9)
        self.engine._snapshot = snapshot(wanted)
        self.known = ConversationMap()
        self.random = random.Random(seed)
        self.requests = self.moved = 0
        self.at: dict[str, int] = {}
        self.probed = probed

    def turn(self, key: bytes, *, opening: bool = False) -> str:
        """One request; returns where it went."""
        place = self.known.find(key, NOW, IDLE_S)
        home = None if place is None else AffinityTarget(place.deployment, opening, place.from_probe)
        asked = ask(home)
        decision = self.engine.decide(asked, self.random.random)
        picked = self.random.choice(decision.pool)
        self.requests += 1
        self.at[picked] = self.at.get(picked, 0) + 1
        if home is not None and not opening and picked != home.id and home.id != "bad":
            self.moved += 1
        if not (opening and is_usable(asked, self.engine.snapshot)):
            self.known.assign(key, picked, NOW, probed=decision.explored)
        return picked


@pytest.mark.parametrize("probed", ["middle", "bad"])
@pytest.mark.parametrize("turns", [1, 8])
def test_probes_cost_what_they_may(probed: str, turns: int) -> None:
    """However long conversations are, as many requests measure as may, and no running conversation is moved for it."""
    traffic = Traffic(probed)
    for number in range(40_000 // turns):
        for _ in range(turns):
            traffic.turn(b"%d" % number)
    assert traffic.moved == 0
    # 800 allowed; with conversations of 8 turns chance has a standard deviation of 80.
    assert 500 <= traffic.at[probed] <= SHARE * traffic.requests + 3 + turns


def test_conversations_that_begin_alike_are_still_measured() -> None:
    """One agent's endless first turns stay where they are but for the probes, which take nobody with them."""
    traffic = Traffic("middle")
    places = [traffic.turn(b"same", opening=number > 0) for number in range(5000)]
    assert 60 <= places.count("middle") <= 104
    assert len(set(places)) == 2
    assert traffic.known.last_known(b"same") in {"good", "good2"}

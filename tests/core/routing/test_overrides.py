"""Operators' words: over what is measured, for a while, and without a trace in what a rule remembers."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Reason, ReasonCode, Snapshot, Tier
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.overrides import (
    LONGEST_S,
    OverriddenVerdict,
    Override,
    OverrideAction,
    Overrides,
    override_of,
)
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.windows.increments import CounterKind
from tests.support.samples import START

PEERS = ("a", "b", "c", "d")
RULE = OpenRouterParameters(tool_call_requests=5, throughput_requests=3)
HOUR_S = 3600.0


def said(
    deployment: str,
    word: OverrideAction,
    at: float = START,
    for_s: float = HOUR_S,
    group: str = "g",
    reason: str = "told",
) -> Override:
    """A word."""
    return Override(group, DeploymentKey(deployment), word, reason, "author", at, at + for_s)


def judged() -> Engine:
    """Four deployments of which ``d`` is deranked and ``c`` is not judged yet."""
    engine = Engine(replace(RULE, min_peers=3))
    engine.observe_peers("g", tuple(map(DeploymentKey, PEERS)), START)
    for name, called, bad in (("a", 100, 0), ("b", 100, 0), ("c", 1, 0), ("d", 100, 60)):
        counts = {CounterKind.ANSWERED: called, CounterKind.CALLED: called, CounterKind.INVALID_JSON: bad}
        engine.add("g", DeploymentKey(name), counts, {}, START)
    engine.recompute(START)
    return engine


def tiers(engine: Engine) -> str:
    """The tiers of the group: good, insufficient, deranked."""
    group = engine.snapshot.groups["g"]
    return "".join(group.verdicts[DeploymentKey(name)].tier.value[0] for name in PEERS)


def pool(engine: Engine) -> set[str]:
    """Whom a request with tools may go to."""
    candidates = [Candidate(LiteLLMId(name), DeploymentKey(name)) for name in PEERS]
    return set(engine.decide(RoutingRequest("g", candidates, Policy(), tools=True), lambda: 0.5).pool)


def test_words_change_tiers_and_who_is_asked() -> None:
    """A word holds at once, whatever was measured: good for who is deranked or not judged, deranked for who is good."""
    engine = judged()
    assert (tiers(engine), pool(engine)) == ("vvid", {"a", "b"})
    engine.overrides.merge(
        [said("c", OverrideAction.GOOD), said("d", OverrideAction.GOOD), said("a", OverrideAction.DERANKED)], START
    )
    assert (tiers(engine), pool(engine)) == ("dvvv", {"b", "c", "d"})


def test_what_is_measured_stays_visible() -> None:
    """The reason comes first, and the numbers behind the tier that was measured follow; nobody is probed."""
    engine = judged()
    measured = engine.measured.groups["g"].verdicts[DeploymentKey("d")]
    engine.overrides.merge([said("d", OverrideAction.GOOD, START + 5)], START + 5)
    verdict = engine.snapshot.groups["g"].verdicts[DeploymentKey("d")]
    assert isinstance(verdict, OverriddenVerdict)
    assert verdict.reasons == (Reason(ReasonCode.OVERRIDE), *measured.reasons)
    assert (verdict.measured, verdict.since, verdict.signals) == (Tier.DERANKED, START + 5, measured.signals)
    assert (verdict.probe_share, verdict.probe_budget) == (0.0, 0.0)
    assert engine.measured.groups["g"].verdicts[DeploymentKey("d")] == measured


def test_a_word_expires_between_recomputes() -> None:
    """Without any recompute the measured tier is back."""
    engine = judged()
    engine.overrides.merge([said("a", OverrideAction.DERANKED)], START)
    engine.overrides.expire(START + HOUR_S - 1)
    assert tiers(engine) == "dvid"
    engine.overrides.expire(START + HOUR_S)
    assert tiers(engine) == "vvid"
    assert engine.snapshot is engine.measured


def test_nothing_of_a_word_is_remembered() -> None:
    """What the rule remembers, and every later measurement, is as it would be without a word."""
    spoken, silent = judged(), judged()
    spoken.overrides.merge(
        [said(name, OverrideAction.DERANKED) for name in "ab"] + [said("d", OverrideAction.GOOD)], START
    )
    for later in (300.0, 600.0):
        spoken.recompute(START + later)
        silent.recompute(START + later)
        assert spoken.dump() == silent.dump()
        assert spoken.transitions == silent.transitions
        assert tiers(spoken) == "ddiv"
    spoken.overrides.expire(START + HOUR_S)
    assert tiers(spoken) == tiers(silent)


def test_a_word_before_anything_was_judged() -> None:
    """Before the first recompute, and of a deployment that joined since, a word holds as well."""
    engine = Engine(RULE)
    engine.overrides.merge([said("b", OverrideAction.DERANKED), said("c", OverrideAction.GOOD)], START)
    assert pool(engine) == {"c"}
    engine.observe_peers("g", (DeploymentKey("a"),), START)
    engine.recompute(START + 1)
    assert list(engine.snapshot.groups["g"].verdicts) == ["a", "b", "c"]
    assert pool(engine) == {"c"}


def test_reset_takes_a_word_back() -> None:
    """The measured tier is back, and the older word cannot return from somebody who missed it."""
    engine = judged()
    word = said("a", OverrideAction.DERANKED)
    engine.overrides.merge([word], START)
    engine.overrides.merge([said("a", OverrideAction.RESET, START + 1)], START + 1)
    assert (tiers(engine), engine.overrides.in_force) == ("vvid", ())
    assert engine.overrides.merge([word], START + 2) == ()
    assert tiers(engine) == "vvid"


def test_the_newest_word_holds_in_whatever_order_they_come() -> None:
    """Everybody who heard the same words agrees, also about two of the same moment."""
    words = [
        said("a", OverrideAction.GOOD, START),
        said("a", OverrideAction.DERANKED, START + 2),
        said("a", OverrideAction.GOOD, START + 2),
        said("b", OverrideAction.RESET, START + 1),
        said("b", OverrideAction.GOOD, START),
    ]
    found = set()
    for order in permutations(words):
        overrides = Overrides()
        for word in order:
            overrides.merge([word], START + 3)
        found.add(frozenset(overrides.known))
    assert len(found) == 1


def test_an_older_word_does_not_come_back() -> None:
    """When the newer one has expired the tier is as measured, though the older would have held for longer."""
    engine = judged()
    older = said("a", OverrideAction.DERANKED, for_s=10 * HOUR_S)
    engine.overrides.merge([older, said("a", OverrideAction.GOOD, START + 1, for_s=60.0)], START + 1)
    for later in (61.0, HOUR_S):
        assert engine.overrides.merge([older], START + later) == ()
        assert (tiers(engine), engine.overrides.in_force) == ("vvid", ())
    engine.overrides.expire(START + LONGEST_S + 1)
    assert engine.overrides.known == ()


def test_what_is_news() -> None:
    """A word is news once; one that has expired already is none."""
    overrides = Overrides()
    word = said("a", OverrideAction.GOOD)
    assert overrides.merge([word, said("b", OverrideAction.GOOD, for_s=1.0)], START + 1) == (word,)
    assert overrides.merge([word], START + 2) == ()


def test_nothing_is_made_without_words() -> None:
    """The snapshot is itself, and with words it is made once."""
    overrides, snapshot = Overrides(), Snapshot("1", START)
    assert overrides.apply(snapshot) is snapshot
    overrides.merge([said("a", OverrideAction.GOOD)], START)
    assert overrides.apply(snapshot) is overrides.apply(snapshot) is not snapshot
    assert overrides.apply(snapshot).id == "1"


def test_plain() -> None:
    """A word survives being written down, also with what a later version may add."""
    word = said("a", OverrideAction.DERANKED)
    assert override_of({**word.as_plain(), "more": 1}) == word


@pytest.mark.parametrize("wrong", [{"word": "better"}, {"reason": None}, {"expires": "soon"}, {"since": 9e12}])
def test_what_is_no_word(wrong: dict[str, object]) -> None:
    """Anything else is refused whole."""
    with pytest.raises(ValueError, match=r"override|better"):
        override_of({**said("a", OverrideAction.GOOD).as_plain(), **wrong})

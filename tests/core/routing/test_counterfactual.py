"""What tiers change is counted exactly, hour by hour."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, WHOLE_GROUP, CounterfactualCounts, PickNumbers, shares

NAMES = ("a", "b", "c", "d")
SUBSETS = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple)


def rows(counts: CounterfactualCounts, now: float = 100.0) -> dict[str, PickNumbers]:
    """What was counted in the one hour that there is, by deployment."""
    return {row.deployment: row.numbers for row in counts.take(now)}


def test_what_tiers_leave_out_is_changed() -> None:
    """With one of four out, a quarter of even picks is changed; declared weights shift that."""
    counts = CounterfactualCounts()
    for _ in range(40):
        counts.add_pick(100.0, "g", tuple(map(DeploymentKey, NAMES)), (*map(DeploymentKey, ("a", "b", "c")),))
    found = rows(counts)
    assert found[WHOLE_GROUP].picks == found[WHOLE_GROUP].applied == 40
    assert found[WHOLE_GROUP].changed == pytest.approx(10)
    assert [found[name].without_tiers for name in NAMES] == pytest.approx([10] * 4)
    assert [found[name].with_tiers for name in NAMES] == pytest.approx([40 / 3] * 3 + [0])
    counts = CounterfactualCounts()
    counts.weights = {
        "g": {DeploymentKey("a"): 1.0, DeploymentKey("b"): 0.0, DeploymentKey("c"): 0.0, DeploymentKey("d"): 3.0}
    }
    counts.add_pick(
        100.0, "g", tuple(map(DeploymentKey, NAMES)), (*map(DeploymentKey, ("a", "b", "c")),), applied=False
    )
    whole = rows(counts)[WHOLE_GROUP]
    assert (whole.picks, whole.applied) == (1, 0)
    assert whole.changed == pytest.approx(0.75)


def test_a_probe_costs_what_the_tiers_would_not_have_paid() -> None:
    """Probes go to the probed deployment; whom the tiers would have asked instead is known."""
    counts = CounterfactualCounts()
    counts.add_pick(
        100.0, "g", tuple(map(DeploymentKey, NAMES)), (DeploymentKey("a"), DeploymentKey("b")), DeploymentKey("d")
    )
    found = rows(counts)
    assert (found["d"].with_tiers, found["d"].probes, found["a"].instead, found["a"].with_tiers) == (1, 1, 0.5, 0)


@given(st.lists(st.tuples(SUBSETS, st.sampled_from(["", *NAMES])), max_size=30), st.floats(0, 4))
@example([(("a", "b", "c", "d"), "")], 1e-15)
def test_every_request_goes_somewhere(asked: list[tuple[tuple[str, ...], str]], weight: float) -> None:
    """With and without tiers, the deployments' expected requests add up to all requests."""
    counts = CounterfactualCounts()
    counts.weights = {"g": {DeploymentKey("a"): weight}}
    for preferred, probed in asked:
        counts.add_pick(
            100.0, "g", tuple(map(DeploymentKey, NAMES)), tuple(map(DeploymentKey, preferred)), DeploymentKey(probed)
        )
    found = rows(counts)
    for column in ("with_tiers", "without_tiers"):
        assert math.fsum(getattr(row, column) for row in found.values()) == pytest.approx(len(asked))
    assert all(0 <= row.changed <= row.picks + 1e-9 for row in found.values())


def test_many_kinds_of_requests_take_bounded_room() -> None:
    """When every request has a pool of its own, counts stay right and memory stays small."""
    counts = CounterfactualCounts()
    for number in range(5000):
        counts.add_pick(100.0, "g", (DeploymentKey("a"), DeploymentKey(f"d{number}")), (DeploymentKey("a"),))
    assert len(counts._kinds) <= 2048
    assert rows(counts)[WHOLE_GROUP].changed == pytest.approx(2500)


def test_rows_hold_their_whole_hour_and_go_with_it() -> None:
    """A row that is told again replaces the one before; old hours are forgotten once they were told."""
    counts = CounterfactualCounts()
    counts.add_answer(10.0, "g", DeploymentKey("a"), bad=True, cost=0.5)
    told = PickNumbers(answers=1, bad=1, lost=1, calls=1, priced=1, cost=0.5, cost_squares=0.25)
    assert rows(counts)["a"] == told
    counts.add_answer(20.0, "g", DeploymentKey("a"), bad=False, cost=None, outcome="valid", tier="deranked")
    counts.add_answer(20.0, "g", DeploymentKey("a"), bad=False, cost=None, outcome="no_call", tier="verified_good")
    rescue = PickNumbers(rescues=1, rescued=1, rescue_cost=0.25)
    counts.add_rescue(20.0, "g", DeploymentKey("a"), rescued=True, cost=0.25)
    counts.add_stay(20.0, "g")
    found = rows(counts)
    told.add(PickNumbers(answers=2, calls=1, sent_deranked=1, sent_verified_good=1))
    told.add(rescue)
    assert found["a"] == told
    rescue.add(PickNumbers(stays=1))
    assert found[WHOLE_GROUP] == rescue
    assert counts.take(20.0) == []
    counts.take(10_000.0)
    assert not counts._rows


def test_bad_answers_count_under_one_kind() -> None:
    """The worst call names the kind; where none of the calls was bad, a call was lost. The kinds add up."""
    counts = CounterfactualCounts()
    outcomes = ("invalid_json", "unknown_name", "unknown_name", "schema_mismatch", "valid", "no_call", "unscored")
    for outcome in outcomes:
        counts.add_answer(10.0, "g", DeploymentKey("a"), bad=True, cost=None, outcome=outcome)
    counts.add_answer(10.0, "g", DeploymentKey("a"), bad=False, cost=None, outcome="invalid_json")
    found = rows(counts)["a"]
    kinds = [getattr(found, kind) for kind in BAD_KINDS]
    assert (dict(zip(BAD_KINDS, kinds, strict=True)), found.answers) == (
        {"invalid_json": 1, "unknown_name": 2, "schema_mismatch": 1, "lost": 3},
        8,
    )
    assert sum(kinds) == found.bad


def test_a_name_that_comes_twice_counts_once() -> None:
    """Two of LiteLLM's deployments may share a history, and its weight is that of both."""
    assert shares((*map(DeploymentKey, ("a", "a", "b")),), {DeploymentKey("a"): 3.0}) == {"a": 0.75, "b": 0.25}


def test_weights_of_nothing_are_even() -> None:
    """Where nobody has a weight, everybody is as likely."""
    assert shares((DeploymentKey("a"), DeploymentKey("b")), {DeploymentKey("a"): 0.0, DeploymentKey("b"): 0.0}) == {
        "a": 0.5,
        "b": 0.5,
    }

"""The states that alerts are about, and which changes of them are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.core.model import (
    Candidate,
    DeploymentKey,
    GroupSnapshot,
    LiteLLMId,
    Reason,
    ReasonCode,
    Tier,
    Verdict,
)
from exacto_plugin.core.windows.observed import Observed
from exacto_plugin.litellm_hooks.monitoring.alert_conditions import (
    AlertKind,
    GroupFacts,
    feature_state,
    kind_of_change,
    staleness,
    states_of_group,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.litellm_hooks.monitoring.alert_conditions import Watched

NOW = 1_700_000_000.0
GOOD, BAD, NEW = Tier.VERIFIED_GOOD, Tier.DERANKED, Tier.INSUFFICIENT_DATA


def states(tiers: Mapping[str, Tier], since: float = NOW, **facts: Any) -> dict[str, Watched]:
    """The states of a group of these deployments, by their names."""
    cause = facts.pop("cause", None)
    verdicts = {DeploymentKey(key): Verdict(DeploymentKey(key), tier, since=since) for key, tier in tiers.items()}
    group = GroupSnapshot("g", verdicts, at=NOW, common_cause=cause)
    candidates = [Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}") for key in tiers]
    known: dict[str, Any] = {"curated": None, "observed": {}, "changes": {}, "interval_s": 20.0, **facts}
    return {one.key: one for one in states_of_group(GroupFacts(group, candidates, **known), NOW)}


def told(watched: Watched, previous: str | None) -> AlertKind | None:
    """What is told, if anything; a normal state is not told where none was kept."""
    return kind_of_change(watched, previous)


def test_a_derank_and_its_end() -> None:
    """A derank is told from any earlier state; of an unknown one only while it is young."""
    deranked, good = states({"a": BAD})["tier/g/a"], states({"a": GOOD})["tier/g/a"]
    assert [told(deranked, before) for before in (None, GOOD, NEW)] == [AlertKind.DERANK] * 3
    assert told(states({"a": BAD}, since=NOW - 101)["tier/g/a"], None) is None
    assert told(states({"a": BAD}, since=NOW - 99)["tier/g/a"], None) is AlertKind.DERANK
    assert [told(good, before) for before in (BAD, NEW, None)] == [AlertKind.READMISSION, None, None]
    assert told(states({"a": NEW})["tier/g/a"], BAD) is AlertKind.READMISSION


def test_no_verified_deployment_left() -> None:
    """Only where one was verified before: a new group has none for a while."""
    none, some = states({"a": NEW, "b": BAD})["verified/g/"], states({"a": GOOD, "b": BAD})["verified/g/"]
    assert told(none, some.state) is AlertKind.NO_VERIFIED
    assert told(none, None) is None
    assert told(some, none.state) is None
    assert (some.kept.is_normal, none.kept.is_normal) == (False, False)


@pytest.mark.parametrize(
    ("curated", "missing"),
    [
        (("a", "b"), ""),
        (("provider-a", "provider-c"), "provider-c"),
        (("c",), "c"),
        (("elsewhere", "c", "a"), "elsewhere, c"),
        ((), ""),
    ],
)
def test_a_curated_list(curated: tuple[str, ...], missing: str) -> None:
    """It no longer holds once an entry names no deployment that is not deranked."""
    found = states({"a": GOOD, "b": NEW, "c": BAD}, curated=curated)["curated/g/"]
    assert (found.is_normal, found.detail) == (not missing, missing)
    assert told(found, None) is (AlertKind.CURATED if missing else None)


def test_a_common_cause() -> None:
    """Each event is told when it begins: the next one has another beginning."""

    def caused(begin: float, end: float | None = None) -> Watched:
        cause = Reason(ReasonCode.COMMON_CAUSE, value=0.2, peers=3, begin=begin, end=end)
        return states({"a": GOOD}, cause=cause)["common_cause/g/"]

    first, over, second = caused(NOW - 60), caused(NOW - 60, NOW), caused(NOW)
    assert told(first, None) is AlertKind.COMMON_CAUSE
    assert told(over, first.state) is None
    assert told(second, first.state) is AlertKind.COMMON_CAUSE
    assert first.state != second.state
    assert states({"a": GOOD})["common_cause/g/"].is_normal


def test_token_burn_has_two_limits() -> None:
    """A deployment at the flag is told once: it burns until it is well below."""
    seen = {burn: states({"a": GOOD}, observed={"a": Observed(burn, 300)}) for burn in (0.35, 0.25, 0.19)}
    assert told(seen[0.35]["burn/g/a"], None) is AlertKind.TOKEN_BURN
    assert "35% more output tokens" in seen[0.35]["burn/g/a"].detail
    assert "burn/g/a" not in seen[0.25]
    assert seen[0.19]["burn/g/a"].is_normal
    assert "burn/g/a" not in states({"a": GOOD}, observed={"a": Observed()})


def test_flapping() -> None:
    """More than four changes within an hour; unknown where the store cannot tell."""
    calm, flapping = (states({"a": GOOD}, changes={"a": count})["flapping/g/a"] for count in (4, 5))
    assert calm.is_normal
    assert told(flapping, None) is AlertKind.FLAPPING
    assert "flapping/g/a" not in states({"a": GOOD}, changes=None)


def test_stale_verdicts_and_features() -> None:
    """Verdicts are stale after three intervals; a feature is told when it is off."""
    group = GroupSnapshot("g", at=NOW)
    assert staleness(group, NOW + 60, 20).is_normal
    assert told(staleness(group, NOW + 61, 20), None) is AlertKind.STALE
    assert told(feature_state("rescue", NOW, on=False), None) is AlertKind.FEATURE_OFF
    assert feature_state("rescue", NOW, on=True).is_normal

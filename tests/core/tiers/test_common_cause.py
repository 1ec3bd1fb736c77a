"""What rises at all deployments in the same minutes is held against none of them, and is put on record."""

from __future__ import annotations

import pytest

from exacto_plugin.core.model import DeploymentKey, Reason, ReasonCode, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.replay import decode, encode, preset_as_plain, preset_of_plain, replay
from tests.core.tiers.test_replay import WholeLedger, said
from tests.support.adaptive_fleets import Fleet

HELD_AGAINST_EACH = AdaptivePreset(AdaptiveParameters(common_cause=0.0))
HOSTS, CALLS = 8, 100


def serve(
    fleet: Fleet, *, intervals: int, bad: int = 1, worse: dict[str, int] | None = None, hosts: int = HOSTS
) -> None:
    """Feed intervals of 5 minutes in which every host of the first ``hosts`` has ``bad`` of 100 calls bad."""
    for _ in range(intervals):
        for place, name in enumerate(fleet.names):
            fleet.feed(name, CALLS, (worse or {}).get(name, bad if place < hosts else 1))
        fleet.judge()


def calm(rule: AdaptivePreset | None = None) -> Fleet:
    """A fleet of verified hosts with three quiet hours."""
    fleet = Fleet([0.01] * HOSTS, rule=rule)
    serve(fleet, intervals=36)
    assert set(fleet.tiers.values()) == {Tier.VERIFIED_GOOD}
    return fleet


def event(fleet: Fleet) -> Reason | None:
    """The common cause of the group."""
    return fleet.engine.snapshot.groups["g"].common_cause


def test_a_storm_deranks_nobody() -> None:
    """15 % bad calls everywhere for half an hour; without the rule most hosts are deranked."""
    fleet, before = calm(), calm(HELD_AGAINST_EACH)
    for one in (fleet, before):
        serve(one, intervals=6, bad=15)
        serve(one, intervals=36)
    assert {change.tier for change in fleet.transitions} == {Tier.VERIFIED_GOOD}
    assert sum(change.tier is Tier.DERANKED for change in before.transitions) >= 5


def test_a_storm_is_an_event_with_begin_and_end() -> None:
    """The reason tells when, by how much and at how many; every deployment has it, for a day after its end."""
    fleet = calm()
    began = fleet.now
    serve(fleet, intervals=6, bad=15)
    lasting = event(fleet)
    assert lasting is not None
    assert (lasting.code, lasting.begin, lasting.end, lasting.peers) == (ReasonCode.COMMON_CAUSE, began, None, HOSTS)
    assert lasting.value == pytest.approx(0.14, abs=0.01)
    ended = fleet.now
    serve(fleet, intervals=2)
    over = event(fleet)
    assert over is not None
    assert (over.begin, over.end) == (began, ended)
    for verdict in fleet.engine.snapshot.groups["g"].verdicts.values():
        assert verdict.reasons[-1] == over
    fleet.judge(after_s=86_400.0)
    assert event(fleet) is None


@pytest.mark.parametrize("storms", [1, 2, 3])
def test_a_storm_is_no_clustering(storms: int) -> None:
    """The design effect stays for the whole day, so that later breaks are found as fast; also after several storms."""
    fleet, before = calm(), calm(HELD_AGAINST_EACH)
    for _ in range(storms):
        for one in (fleet, before):
            serve(one, intervals=6, bad=15)
            serve(one, intervals=15)
    assert [float(one.engine.dump()["g"]["d0"]["rule.phi"] or 0.0) for one in (fleet, calm())] == [1.0, 1.0]
    assert float(before.engine.dump()["g"]["d0"]["rule.phi"] or 0.0) > 2.0


@pytest.mark.parametrize("hosts", [1, 3])
def test_a_break_of_few_is_no_event(hosts: int) -> None:
    """They are deranked at once; the others did not rise."""
    fleet = calm()
    serve(fleet, intervals=2, bad=25, hosts=hosts)
    assert [fleet.tiers[name] for name in fleet.names[:hosts]] == [Tier.DERANKED] * hosts
    assert event(fleet) is None


def test_a_break_during_a_storm_is_found() -> None:
    """Within 15 minutes, and the others are left alone."""
    fleet = calm()
    serve(fleet, intervals=2, bad=15)
    serve(fleet, intervals=3, bad=15, worse={"d3": 45})
    assert [name for name, tier in fleet.tiers.items() if tier is Tier.DERANKED] == ["d3"]


@pytest.mark.parametrize(("price", "masked", "until"), [(0.0, 2, 70), (20.0, 0, 2)])
def test_a_break_of_most_is_found_in_the_day(price: float, masked: int, until: int) -> None:
    """Shorter windows are masked, a day has no other time to compare with; where a bad call has a price, it is soon."""
    fleet = calm(AdaptivePreset(AdaptiveParameters(bad_call_price=price)))
    serve(fleet, intervals=masked, bad=25, hosts=5)
    assert Tier.DERANKED not in fleet.tiers.values()
    serve(fleet, intervals=until, bad=25, hosts=5)
    assert [name for name, tier in fleet.tiers.items() if tier is Tier.DERANKED] == fleet.names[:5]


def test_the_event_survives_a_restart() -> None:
    """It is part of the state beside the windows."""
    fleet = calm()
    serve(fleet, intervals=3, bad=15)
    fleet.engine.load(fleet.engine.dump())
    assert fleet.engine.dump()["g"]["d0"]["rule.common_begin"] == event(fleet).begin  # type: ignore[union-attr]
    began = event(fleet)
    serve(fleet, intervals=1, bad=15)
    assert began is not None
    assert (event(fleet) or began).begin == began.begin


def test_records_of_a_storm_are_replayed() -> None:
    """Bit for bit, event included; a record without the number is judged as then, by the neutral value."""
    for preset in (AdaptivePreset(), HELD_AGAINST_EACH):
        fleet = calm(preset)
        fleet.engine.change_detector = ledger = WholeLedger()
        serve(fleet, intervals=3, bad=15)
        plain = preset_as_plain(preset)
        if preset is HELD_AGAINST_EACH:
            del plain["rule"]["common_cause"]
        read = preset_of_plain(plain)
        assert read == preset
        again = replay(decode(encode(ledger.changes[0].inputs()), read), read, fleet.now)
        group = fleet.engine.snapshot.groups["g"]
        assert said(again) == said(group)
        assert again.common_cause == group.common_cause
        assert (group.common_cause is not None) == (preset is not HELD_AGAINST_EACH)


def test_two_deployments_tell_no_common_cause() -> None:
    """Either could be broken itself."""
    fleet = Fleet([0.01] * 2)
    serve(fleet, intervals=36)
    serve(fleet, intervals=2, bad=25, hosts=2)
    assert event(fleet) is None
    assert DeploymentKey("d0") in fleet.tiers

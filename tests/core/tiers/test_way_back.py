"""Trials, newcomers and quiet groups of the adaptive rule, and the numbers that stand for the rule before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.audit import queries
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, ReasonCode, Tier, Verdict
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.replay import decode, preset_as_plain, preset_of_plain, replay
from exacto_plugin.core.views import reason_view
from exacto_plugin.core.windows.codec import WindowDump, encode
from exacto_plugin.core.windows.codec import decode as decoded
from exacto_plugin.core.windows.lasting_ring import LASTING
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from tests.previous import files
from tests.previous.facts import EARLIER
from tests.support.adaptive_fleets import Fleet
from tests.support.fleet_builders import fed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GOOD, UNSURE, DERANKED = Tier.VERIFIED_GOOD, Tier.INSUFFICIENT_DATA, Tier.DERANKED
ADDED = ("chance_power", "suspect_chance", "trial_share")
DAY_S = 86_400.0


def verdict(fleet: Fleet, name: str) -> Verdict:
    """The verdict in force on a deployment."""
    return fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey(name)]


def rule(**numbers: float) -> AdaptivePreset:
    """The adaptive rule with other numbers."""
    return AdaptivePreset(AdaptiveParameters(**numbers))  # type: ignore[arg-type]


def test_the_neutral_numbers_give_the_plans_of_before(tmp_path: Path) -> None:
    """Recorded inputs: tiers are compared by ``exacto audit verify``, pool membership and probes here, bit for bit."""
    url = f"sqlite:///{files.unpacked(files.STORE, tmp_path)}"
    plans = files.opened("plans.json")
    with connect(location_of_url(url), writing=False) as connection, connection.begin():
        for at, group, merges, expected in plans:
            inputs = queries.inputs_at(connection, group, at)
            assert inputs is not None
            assert inputs.at == at
            stored = queries.rule_of(connection, inputs.rule)
            assert stored is not None
            preset = preset_of_plain(stored.rule)
            found = replay(decode(inputs.inputs, preset), preset, at)
            assert found.merge_tiers is merges
            assert expected == {
                name: [one.keep_probability, one.probe_share, one.probe_budget, str(one.probe_faults)]
                for name, one in found.verdicts.items()
            }


def test_a_rule_on_record_has_the_neutral_numbers() -> None:
    """Numbers that a record lacks are those that leave its verdicts as they were."""
    before = rule(**EARLIER)
    plain = preset_as_plain(before)
    old = {**plain, "rule": {name: value for name, value in plain["rule"].items() if name not in ADDED}}
    assert preset_of_plain(old) == before != AdaptivePreset()


def in_trial(bad: int, share: float = 0.02, **numbers: float) -> Verdict:
    """A deranked deployment whose trial has 60 calls, this many of them bad."""
    fleet = Fleet([0.0, 0.0, 0.0], rule=AdaptivePreset(AdaptiveParameters(**numbers), share))  # type: ignore[arg-type]
    for name, failed in (("d0", 2), ("d1", 2), ("d2", 500)):
        fleet.feed(name, 2000, failed)
    assert fleet.judge()["d2"] is DERANKED
    for after_s in (3.1 * 3600.0, 600.0):
        for name in ("d0", "d1"):
            fleet.feed(name, 500, 0)
        fleet.judge(after_s)
        fleet.feed("d2", 60, bad)
    for name in ("d0", "d1"):
        fleet.feed(name, 500, 0)
    fleet.judge()
    return verdict(fleet, "d2")


def test_only_a_clean_trial_has_the_share_of_trials() -> None:
    """With a bad call it goes on within the exploration share; without a trial share both do."""
    assert 0.02 < in_trial(0, probe_calls_per_hour=1e6).probe_share <= 0.10 + 1e-12
    assert 0.0 < in_trial(1, probe_calls_per_hour=1e6).probe_share <= 0.02 + 1e-12
    assert in_trial(0, probe_calls_per_hour=1e6, trial_share=0.0).probe_share <= 0.02 + 1e-12


@pytest.mark.parametrize(("trials", "back"), [(0.1, True), (0.0, False)])
def test_a_clean_trial_comes_back_below_low_thresholds(trials: float, back: bool) -> None:
    """150 effective calls never exclude a rate below 2 %, the whole trial does; ``why`` tells how many it takes."""
    fleet = Fleet([0.0] * 6, rule=rule(trial_share=trials))
    for name, bad in zip(fleet.names, (8, 10, 12, 16, 136, 10), strict=True):
        fleet.feed(name, 8000, bad)
    assert fleet.judge()["d4"] is DERANKED
    fleet.judge()
    (told,) = [one.strictness for one in verdict(fleet, "d4").reasons if one.strictness]
    assert told.acquits_below < 0.01
    expected = math.log(0.05) / math.log1p(-told.acquits_below)
    calls = 0
    for _ in range(12 * 12):
        for name in ("d0", "d1", "d2", "d3", "d5"):
            fleet.feed(name, 60, 0)
        if verdict(fleet, "d4").probe_share > 0:
            fleet.feed("d4", 8, 0)
            calls += 8
        if fleet.judge()["d4"] is not DERANKED:
            break
    assert (fleet.tiers["d4"] is not DERANKED) is back
    phi = fleet.engine.dump()["g"]["d4"]["rule.phi"]
    assert isinstance(phi, float)
    if back:
        assert calls == pytest.approx(expected * phi, rel=0.05)
    else:
        assert calls > 2 * expected * phi


@pytest.mark.parametrize(("share", "most"), [(0.0, 0.0), (0.005, 0.005), (0.02, 0.10), (0.2, 0.2)])
def test_an_operators_share_is_a_limit(share: float, most: float) -> None:
    """An exploration share below its default holds for trials as well, and 0 ends them all."""
    found = in_trial(0, share, probe_calls_per_hour=1e6)
    assert found.probe_share <= most + 1e-12
    assert (found.probe_share > 0) is (share > 0)


def newcomer(calls: int, bad: int) -> Verdict:
    """An undecided deployment beside two that carry the traffic."""
    fleet = fed((2000, 2), (2000, 2), (calls, bad), rule=rule(probe_calls_per_hour=1e6))
    assert fleet.tiers == {"d0": GOOD, "d1": GOOD, "d2": UNSURE}
    return verdict(fleet, "d2")


def test_a_promising_newcomer_has_the_share_of_trials() -> None:
    """As long as it failed nothing, and for a bounded number of failures until the next recompute."""
    clean, failed = newcomer(60, 0), newcomer(60, 1)
    assert 0.02 < clean.probe_share <= 0.10 + 1e-12
    assert clean.probe_faults == 3
    assert failed.probe_share <= 0.02 + 1e-12


@pytest.mark.parametrize(
    ("calls", "suspects", "trials", "pressing"),
    [
        pytest.param(2000, 1, 0.10, True, id="decided within three hours"),
        pytest.param(50, 1, 0.10, False, id="too little traffic"),
        pytest.param(300, 6, 0.10, False, id="too many suspects"),
        pytest.param(2000, 1, 0.0, False, id="the neutral number"),
    ],
)
def test_suspects_have_the_share_of_trials_where_it_decides(
    calls: int, suspects: int, trials: float, pressing: bool
) -> None:
    """Hardly good ones are told apart soon, or not at all: with little traffic their calls cost more than they save."""
    counts = [(calls, 0), (calls, 0), *[(10, 3)] * suspects]
    fleet = fed(*counts, rule=rule(trial_share=trials, probe_calls_per_hour=1e6))
    shares = [verdict(fleet, name).probe_share for name in fleet.names]
    assert all(fleet.tiers[name] is UNSURE for name in fleet.names[2:])
    assert sum(shares) <= 0.10 + 1e-12
    assert (shares[2] * suspects > 0.02 + 1e-12) is pressing


def test_an_undecided_one_takes_part_with_the_square_of_its_chance() -> None:
    """Its chance itself with the neutral number."""
    counts = [(300, 0), (300, 0), *[(30, 1)] * 6]
    once, twice = (verdict(fed(*counts, rule=rule(chance_power=power)), "d4") for power in (1.0, 2.0))
    assert 0.0 < once.keep_probability < 1.0
    assert twice.keep_probability == once.keep_probability**2


@pytest.mark.parametrize(("days", "kept"), [(2.5, True), (6.5, True), (7.5, False)])
def test_a_quiet_group_remembers_a_week(days: float, kept: bool) -> None:
    """Three days with the neutral number; others remember a day as before."""
    for quiet_ttl_s, remembered in ((604_800.0, kept), (259_200.0, days < 3)):
        fleet = fed((300, 0), (300, 0), rule=rule(quiet_ttl_s=quiet_ttl_s))
        fleet.judge(days * DAY_S)
        assert (fleet.tiers["d0"] is GOOD) is remembered
        reasons = verdict(fleet, "d0").reasons
        assert reasons[0].samples == (300 if remembered else 0)


def test_an_epoch_reaches_into_the_week() -> None:
    """What lies before the evidence start is not counted, also where it is days old."""
    fleet = fed((300, 0), (300, 0))
    fleet.engine.load({"g": {"d0": {"rule.epoch": fleet.now + 1.0}}})
    fleet.judge(5 * DAY_S)
    assert verdict(fleet, "d0").reasons[0].samples == 0
    assert verdict(fleet, "d1").reasons[0].samples == 300


def test_windows_of_the_version_before_keep_their_three_days() -> None:
    """A dump without the longest periods gives what its half-hours hold."""
    fleet = fed((300, 3), (300, 0))
    fleet.judge(2 * DAY_S)

    def without_week(dump: bytes) -> bytes:
        held = decoded(dump)
        assert set(held.counters[21_600].keys.tolist()) <= set(LASTING)
        counters: Mapping[int, object] = {width: cells for width, cells in held.counters.items() if width != 21_600}
        return encode(WindowDump(held.seen, counters, held.cells, held.minutes))  # type: ignore[arg-type]

    dumps = {name: without_week(dump) for name, dump in fleet.engine.dump_windows("g").items()}
    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", tuple(map(DeploymentKey, fleet.names)), fleet.now)
    engine.load_windows("g", dumps)
    engine.recompute(fleet.now + 4 * DAY_S)
    reason = engine.snapshot.groups["g"].verdicts[DeploymentKey("d0")].reasons[0]
    assert (reason.samples, reason.value) == (300, 0.99)


def test_a_suspect_is_named() -> None:
    """5 bad of 61 beside good ones: insufficient data, with its chance and the traffic it gets."""
    fleet = fed((2000, 2), (2000, 2), (61, 5))
    assert fleet.tiers["d2"] is UNSURE
    (reason, *_) = verdict(fleet, "d2").reasons
    assert reason.code is ReasonCode.PROBABLY_BAD
    assert reason.chance is not None
    assert 0.0 < reason.chance < 0.5
    assert reason.traffic_share == pytest.approx(verdict(fleet, "d2").probe_share)
    assert reason_view(reason)["chance"] == reason.chance
    (other, *_) = verdict(fleet, "d0").reasons
    assert not {"chance", "traffic_share"} & reason_view(other).keys()


@pytest.mark.parametrize(("calls", "bad", "chance"), [(19, 2, 0.5), (61, 0, 0.5), (61, 5, 0.0)])
def test_who_is_no_suspect(calls: int, bad: int, chance: float) -> None:
    """With fewer than 20 calls, with a rate within the threshold, or with the neutral number."""
    fleet = fed((2000, 2), (2000, 2), (calls, bad), rule=rule(suspect_chance=chance))
    (reason, *_) = verdict(fleet, "d2").reasons
    assert reason.code is ReasonCode.TOO_FEW_SAMPLES
    assert reason.chance is None


def test_the_share_of_a_suspect_in_a_merged_pool() -> None:
    """What it gets of the pool and of the probes adds up with the others' to all requests."""
    fleet = fed((300, 0), (300, 0), *[(60, 4)] * 4)
    group = fleet.engine.snapshot.groups["g"]
    assert group.merge_tiers
    shares = [one.reasons[0].traffic_share for one in group.verdicts.values()]
    assert shares[0] is None
    assert shares[2] is not None
    assert 0.0 < float(np.sum([share or 0.0 for share in shares])) < 1.0

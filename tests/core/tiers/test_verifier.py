"""Findings of the verifier in the adaptive rule: evidence beside that of traffic."""

from __future__ import annotations

import pytest

from exacto_plugin.audit.readmission import readmission_conditions
from exacto_plugin.benchmark_scores.signal import NO_SCORES
from exacto_plugin.core.model import (
    BenchmarkScores,
    DeploymentKey,
    Reason,
    ReasonCode,
    Signal,
    SignalValue,
    Tier,
    VerifierFinding,
)
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.checkpoints import ChangeDetector
from exacto_plugin.core.tiers.replay import decode, encode, replay
from exacto_plugin.core.views import reason_view
from tests.support.adaptive_fleets import Fleet

GOOD, UNSURE, DERANKED = Tier.VERIFIED_GOOD, Tier.INSUFFICIENT_DATA, Tier.DERANKED
DAY_S = 86_400.0


def told(fleet: Fleet, name: str, bad: int, calls: int, *, started: float | None = None, run: str = "run1") -> None:
    """Give the engine a run that ended now."""
    finding = VerifierFinding(
        run,
        fleet.now - 60 if started is None else started,
        fleet.now,
        calls,
        bad,
        0.028,
        flagged=bad > 0.028 * calls,
        cleared=bad <= 0.028 * calls,
    )
    fleet.engine.observe_scores(
        "g", BenchmarkScores({}, float("nan"), None, 1, findings={DeploymentKey(name): finding})
    )


def verifier_reason(fleet: Fleet, name: str) -> Reason | None:
    """The reason of the verifier in force."""
    found = fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey(name)].reasons
    return next((one for one in found if one.signal is Signal.VERIFIER), None)


def healthy(calls: int = 300) -> Fleet:
    """Three deployments without a failure, and one without a call."""
    fleet = Fleet([0.0] * 4)
    for name in ("d0", "d1", "d2"):
        fleet.feed(name, calls, 0)
    return fleet


def test_a_cleared_newcomer_is_verified_without_traffic() -> None:
    """And its reason names the run; after a week the run counts no more."""
    fleet = healthy()
    assert fleet.judge()["d3"] is UNSURE
    told(fleet, "d3", 0, 90)
    assert fleet.judge()["d3"] is GOOD
    reason = verifier_reason(fleet, "d3")
    assert reason is not None
    assert (reason.run, reason.code, reason.samples, reason.value) == ("run1", ReasonCode.WITHIN_THRESHOLD, 90, 1.0)
    assert fleet.judge(8 * DAY_S)["d3"] is UNSURE
    assert verifier_reason(fleet, "d3") is None


def test_a_run_does_not_overrule_traffic_above_the_threshold() -> None:
    """Replayed requests are others than production's."""
    fleet = healthy()
    fleet.feed("d3", 25, 3)
    told(fleet, "d3", 0, 90)
    assert fleet.judge()["d3"] is UNSURE


def test_a_flag_deranks_and_the_next_run_readmits() -> None:
    """A run that began before the derank does not; the flag stays with its run as the reason."""
    fleet = healthy()
    fleet.feed("d3", 60, 0)
    before = fleet.now - 60
    told(fleet, "d3", 15, 60)
    assert fleet.judge()["d3"] is DERANKED
    for _ in range(3):
        assert fleet.judge()["d3"] is DERANKED
        reason = verifier_reason(fleet, "d3")
        assert reason is not None
        assert (reason.code, reason.run) == (ReasonCode.BELOW_THRESHOLD, "run1")
    told(fleet, "d3", 15, 60, started=before)
    assert fleet.judge()["d3"] is DERANKED
    told(fleet, "d3", 0, 90, run="run2")
    assert fleet.judge()["d3"] is GOOD
    reason = verifier_reason(fleet, "d3")
    assert reason is not None
    assert (reason.code, reason.run) == (ReasonCode.READMITTED, "run2")
    assert [one.tier for one in fleet.transitions if one.deployment == "d3"] == [DERANKED, GOOD]
    assert fleet.judge()["d3"] is GOOD


def test_a_run_from_before_a_derank_by_traffic_does_not_readmit() -> None:
    """Only one that began after it does, and older failures of traffic count no more from then on."""
    fleet = healthy()
    fleet.feed("d3", 300, 60)
    early = fleet.now
    assert fleet.judge()["d3"] is DERANKED
    told(fleet, "d3", 0, 90, started=early)
    assert fleet.judge()["d3"] is DERANKED
    fleet.feed("d3", 20, 8)
    fleet.judge()
    fleet.judge()
    told(fleet, "d3", 0, 90)
    assert fleet.judge()["d3"] is GOOD
    for _ in range(12):
        assert fleet.judge(3600.0)["d3"] is GOOD
    fleet.feed("d3", 100, 30)
    assert fleet.judge()["d3"] is DERANKED
    told(fleet, "d3", 0, 90, started=fleet.now - 2 * 3600.0)
    assert fleet.judge()["d3"] is DERANKED


def test_traffic_readmits_what_a_run_flagged() -> None:
    """Without another run; the old flag does not derank again."""
    fleet = healthy()
    fleet.feed("d3", 60, 0)
    told(fleet, "d3", 15, 60)
    assert fleet.judge()["d3"] is DERANKED
    for _ in range(4):
        fleet.feed("d3", 100, 0)
        fleet.judge()
    assert fleet.tiers["d3"] is GOOD
    assert fleet.judge()["d3"] is GOOD


def test_an_unreadable_store_changes_no_verdict() -> None:
    """Missing findings neither readmit nor derank."""
    fleet = healthy()
    told(fleet, "d3", 15, 60)
    assert fleet.judge()["d3"] is DERANKED
    fleet.engine.observe_scores("g", None)
    assert fleet.judge()["d3"] is DERANKED


def test_the_end_of_benchmark_scores_ends_a_derank_by_them() -> None:
    """Scores that left their window are given to the engine as none."""
    fleet = healthy()
    poor = BenchmarkScores({DeploymentKey("d0"): SignalValue(0.4, 50)}, 0.8, 0.7, 45)
    fleet.engine.observe_scores("g", poor)
    assert fleet.judge()["d0"] is DERANKED
    fleet.engine.observe_scores("g", NO_SCORES)
    assert fleet.judge()["d0"] is not DERANKED


@pytest.mark.parametrize("bad", [0, 15])
def test_inputs_on_record_replay_with_their_finding(bad: int) -> None:
    """The tier and the reason with the name of the run, bit for bit."""
    fleet = healthy()
    fleet.engine.change_detector = ChangeDetector()
    told(fleet, "d3", bad, 90)
    fleet.judge()
    (change,) = fleet.engine.change_detector.changes
    again = replay(decode(encode(change.inputs()), AdaptivePreset()), AdaptivePreset(), fleet.now)
    verdict = again.verdicts[DeploymentKey("d3")]
    assert verdict.reasons == fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey("d3")].reasons
    assert "run1" in [reason.run for reason in verdict.reasons]
    conditions = readmission_conditions(
        AdaptivePreset(), change.inputs(), "d3", verdict.tier, [reason_view(one) for one in verdict.reasons]
    )
    assert ({"kind": "run", "deployment": "d3"} in conditions) is bool(bad)

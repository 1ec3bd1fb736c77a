"""The adaptive rule, its verdicts and epochs, on counts that are fed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from exacto_plugin.core.model import DeploymentKey, Outcome, ReasonCode, Tier
from exacto_plugin.core.tiers.adaptive.history import calls_and_bad
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from tests.support.adaptive_fleets import Fleet
from tests.support.fleet_builders import code, fed
from tests.support.samples import answer

GOOD, UNSURE, DERANKED = Tier.VERIFIED_GOOD, Tier.INSUFFICIENT_DATA, Tier.DERANKED


@pytest.mark.parametrize(
    ("counts", "tiers", "codes"),
    [
        pytest.param([(300, 0), (300, 75)], [GOOD, DERANKED], "within below", id="two, one bad"),
        pytest.param([(300, 0), (300, 3), (300, 75)], [GOOD, GOOD, DERANKED], "within within below", id="three"),
        pytest.param([(300, 75), (300, 75)], [UNSURE, UNSURE], "undecided undecided", id="equally bad"),
        pytest.param([(300, 0), (0, 0)], [UNSURE, UNSURE], "peers samples", id="nobody to compare with"),
        pytest.param([(300, 0), (40, 0)], [UNSURE, UNSURE], "peers samples", id="too few to be a peer"),
        pytest.param([(300, 0), (19, 19)], [UNSURE, UNSURE], "peers samples", id="too few to derank"),
        pytest.param([(300, 0), (20, 20)], [UNSURE, DERANKED], "peers below", id="enough to derank"),
        pytest.param([(300, 0), (300, 15)], [GOOD, UNSURE], "within suspect", id="neither convicted nor acquitted"),
    ],
)
def test_verdicts(counts: list[tuple[int, int]], tiers: list[Tier], codes: str) -> None:
    """What a single look at fresh deployments says, with the reason for it."""
    names = {
        "within": ReasonCode.WITHIN_THRESHOLD,
        "below": ReasonCode.BELOW_THRESHOLD,
        "undecided": ReasonCode.UNDECIDED,
        "suspect": ReasonCode.PROBABLY_BAD,
        "samples": ReasonCode.TOO_FEW_SAMPLES,
        "peers": ReasonCode.TOO_FEW_PEERS,
    }
    fleet = fed(*counts)
    assert list(fleet.tiers.values()) == tiers
    assert [code(fleet, name) for name in fleet.names] == [names[each] for each in codes.split()]


def test_a_majority_of_bad_ones_is_deranked() -> None:
    """Ten bad ones of fourteen: the cap above the second-best peer finds them where a median cannot."""
    fleet = fed(*[(400, 1)] * 4, *[(400, 80)] * 10)
    assert list(fleet.tiers.values()) == [GOOD] * 4 + [DERANKED] * 10


def test_the_strict_cap_finds_what_the_default_leaves() -> None:
    """5 points above the best peers hold under the default, and not under a cap of 3 points or a price of bad calls."""
    counts = [(3000, 0), (3000, 0), (3000, 0), *[(3000, 140)] * 4]
    without, strict = (AdaptiveParameters(bad_call_price=0.0, peer_cap=cap) for cap in (0.05, 0.03))
    assert fed(*counts, rule=AdaptivePreset(without)).tiers["d6"] is not DERANKED
    assert fed(*counts, rule=AdaptivePreset(strict)).tiers["d6"] is DERANKED
    assert fed(*counts).tiers["d6"] is DERANKED


def test_nobody_above_the_absolute_ceiling_is_verified() -> None:
    """All alike at 25 %: nobody is deranked, and nobody is good."""
    assert set(fed(*[(2000, 500)] * 6).tiers.values()) == {UNSURE}


def test_parts_of_a_failure_and_what_is_apart() -> None:
    """Bad JSON, unknown names, schema mismatches and lost calls fail; unscored and pinned ones do not count."""
    called, json, name, schema, lost, pinned, pinned_bad = (np.array([n]) for n in (100, 3, 4, 5, 6, 20, 2))
    calls, bad = calls_and_bad(np.array([called, json, name, schema, lost, pinned, pinned_bad]))
    assert (calls[0], bad[0]) == (100 + 6 - 20, 3 + 4 + 5 + 6 - 2)


@pytest.mark.parametrize("how", ["invalid_json", "unknown_name", "schema_mismatch", "lost"])
def test_every_kind_of_failure_deranks(how: str) -> None:
    """Sample by sample, through the engine."""
    fleet = Fleet([0.0, 0.0])
    for number in range(120):
        at = fleet.now + number
        bad = answer("d1", at, None, lost=True) if how == "lost" else answer("d1", at, Outcome(how))
        for sample in (answer("d0", at), bad if number % 2 else answer("d1", at)):
            fleet.engine.record(sample)
    assert fleet.judge()["d1"] is DERANKED


def test_pinned_traffic_convicts_nobody() -> None:
    """Who pins a deployment is no random sample of the requests."""
    fleet = Fleet([0.0, 0.0])
    for number in range(120):
        fleet.engine.record(answer("d0", fleet.now + number))
        fleet.engine.record(answer("d1", fleet.now + number, Outcome.INVALID_JSON, routed=False))
    assert fleet.judge() == {"d0": UNSURE, "d1": UNSURE}


def test_a_verified_deployment_keeps_its_tier_until_its_calls_are_gone() -> None:
    """Neither doubt nor a quiet spell takes it away; fewer than 12 calls in the time to live do."""
    fleet = fed((300, 0), (300, 0))
    fleet.feed("d0", 100, 6)
    assert fleet.judge()["d0"] is GOOD
    assert fleet.judge(70 * 3600.0)["d0"] is GOOD
    assert fleet.judge(4 * 86_400.0)["d0"] is GOOD
    assert fleet.judge(10 * 3600.0)["d0"] is UNSURE


def test_a_derank_starts_a_new_epoch_and_fresh_calls_end_it() -> None:
    """A repaired deployment comes back on 150 calls times the design effect, its failures notwithstanding."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500))
    assert fleet.tiers["d2"] is DERANKED
    fleet.feed("d2", 60, 0)
    assert fleet.judge()["d2"] is DERANKED
    for _ in range(5):
        fleet.feed("d2", 60, 0)
        fleet.judge()
    assert fleet.tiers["d2"] is GOOD
    assert fleet.transitions[-1].reasons[0].code is ReasonCode.READMITTED


def test_failures_before_the_freshest_calls_do_not_keep_a_repaired_one_out() -> None:
    """A bad burst, then a repair: only the most recent calls count."""
    fleet = fed((2000, 2), (2000, 2), (2000, 500))
    fleet.feed("d2", 100, 30)
    fleet.judge()
    for _ in range(6):
        fleet.feed("d2", 60, 0)
        fleet.judge()
    assert fleet.tiers["d2"] is GOOD


def test_deranked_ones_keep_their_rate_in_the_reference() -> None:
    """When their calls are too old to count, those who are left are not measured against each other alone."""
    counts = [(900, 0), (900, 0), (900, 27), (900, 27), (900, 27), *[(900, 270)] * 4]
    fleet = fed(*counts)
    before = [
        fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey(name)].reasons[0].threshold for name in fleet.names[:5]
    ]
    for _ in range(8):
        fleet.now += 10 * 3600.0
        fleet.engine.observe_peers("g", tuple(map(DeploymentKey, fleet.names)), fleet.now)
        fleet.engine.recompute(fleet.now)
    for name, (calls, failed) in zip(fleet.names[:5], counts, strict=False):
        fleet.feed(name, calls, failed)
    fleet.judge()
    after = [
        fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey(name)].reasons[0].threshold for name in fleet.names[:5]
    ]
    assert after == pytest.approx(before, abs=0.005)
    assert list(fleet.tiers.values())[5:] == [DERANKED] * 4


def test_a_sudden_improvement_restarts_the_evidence() -> None:
    """A poor but not convicted deployment that is repaired is verified on what came after."""
    fleet = fed((3000, 120), (3000, 120), (3000, 200))
    assert fleet.tiers["d2"] is UNSURE
    fleet.now += 3 * 3600.0
    for name in fleet.names[:2]:
        fleet.feed(name, 1000, 40)
    fleet.feed("d2", 1000, 0)
    assert fleet.judge()["d2"] is GOOD
    assert code(fleet, "d2") is ReasonCode.EVIDENCE_RESTARTED


def test_a_new_fingerprint_restarts_the_evidence() -> None:
    """Another model behind the same id has insufficient data, whatever the old one had."""
    fleet = fed((300, 0), (300, 75))
    for mark in ("old", "old", "new"):
        fleet.engine.observe_peers(
            "g", tuple(map(DeploymentKey, fleet.names)), fleet.now, fingerprints={DeploymentKey("d1"): mark}
        )
        assert fleet.judge()["d1"] is (UNSURE if mark == "new" else DERANKED)


def test_one_that_was_away_is_known_by_its_fingerprint() -> None:
    """Who comes back as it was has its evidence still; who comes back as another one has not."""
    for mark, tier in (("old", DERANKED), ("new", UNSURE)):
        fleet = fed((300, 0), (300, 75))
        fleet.engine.observe_peers(
            "g", tuple(map(DeploymentKey, fleet.names)), fleet.now, fingerprints={DeploymentKey("d1"): "old"}
        )
        for served in (["d0"], []):
            fleet.engine.observe_peers("g", tuple(map(DeploymentKey, served)), fleet.now)
            fleet.engine.recompute(fleet.now)
        fleet.engine.observe_peers(
            "g", tuple(map(DeploymentKey, fleet.names)), fleet.now, fingerprints={DeploymentKey("d1"): mark}
        )
        assert fleet.judge()["d1"] is tier

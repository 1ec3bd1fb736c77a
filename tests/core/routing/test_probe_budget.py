"""Budgets of probes that several processes share, and windows that age in a process that others judge for."""

from __future__ import annotations

import math
import threading

from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, GroupSnapshot, Outcome, Sample, Snapshot, Tier, Verdict
from exacto_plugin.core.routing.probe_budget import ProbeBudget, ProbeShare
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters

NOW = 1_800_000_000.0


@given(st.floats(0, 300), st.integers(1, 60), st.text(max_size=5))
def test_the_parts_add_up_to_the_budget(budget: float, workers: int, name: str) -> None:
    """Whatever the numbers are; nobody has two more than another, and who came later has nothing."""
    parts = [ProbeShare(place, workers).of(budget, ("g", DeploymentKey(name)), "s") for place in range(workers)]
    assert sum(parts) == math.ceil(budget)
    assert max(parts) - min(parts) <= 1
    if workers > 1:
        assert ProbeShare(-1, workers).of(budget, ("g", DeploymentKey(name)), "s") == 0


def test_what_is_left_over_goes_to_others_with_each_deployment() -> None:
    """One probe for ten workers: over many deployments everybody sends some."""
    lucky = {
        place
        for deployment in range(200)
        for place in range(10)
        if ProbeShare(place, 10).of(1, ("g", DeploymentKey(str(deployment))), "s")
    }
    assert lucky == set(range(10))


def _spent(purse: ProbeBudget, snapshot: Snapshot, fault: bool) -> int:
    """Probes until the purse refuses."""
    sent = 0
    while purse.allows(snapshot, "g", DeploymentKey("a")) and sent < 1000:
        purse.accrue("g", 3.0)
        purse.charge("g", DeploymentKey("a"))
        sent += 1
        if fault:
            purse.record_result(
                Sample("g", DeploymentKey("a"), NOW, tools_offered=True, outcome=Outcome.INVALID_JSON, probe=True)
            )
    return sent


def test_processes_together_spend_a_budget_and_its_faults() -> None:
    """Four processes send as many probes as one would; when each of them fails, at most a few more than one would."""
    verdict = Verdict(DeploymentKey("a"), Tier.DERANKED, probe_share=0.1, probe_budget=10.0, probe_faults=3.0)
    snapshot = Snapshot("s", NOW, {"g": GroupSnapshot("g", {DeploymentKey("a"): verdict})})
    for fault, least, most in ((False, 10, 10), (True, 3, 4)):
        sent = 0
        for place in range(4):
            purse = ProbeBudget()
            purse.share = ProbeShare(place, 4)
            sent += _spent(purse, snapshot, fault)
        assert least <= sent <= most


def test_samples_age_without_a_recompute() -> None:
    """What a process records while another one judges moves on and is forgotten in time, and pages do not pile up."""
    for engine in (
        Engine(AdaptivePreset(AdaptiveParameters(), 0.02)),
        Engine(AdaptivePreset(AdaptiveParameters(), 0.02), lock=threading.RLock()),
    ):
        engine.observe_peers("g", [DeploymentKey("a")], NOW)
        for minute in range(10):
            engine.record(Sample("g", DeploymentKey("a"), NOW + 60 * minute, tools_offered=True, outcome=Outcome.VALID))
        assert len(engine.copy_windows("g")["a"].minutes) == 10
        for _ in engine.age(NOW + 600):
            pass
        held = engine.copy_windows("g")["a"]
        assert len(held.minutes) == 0
        assert held.counters[1800].counts[held.counters[1800].keys == 0].sum() == 10

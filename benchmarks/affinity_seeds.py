"""What affinity does to bad calls, over many seeds: the engine and the memory of conversations without HTTP.

When a deployment is convicted is luck with single answers, and a recompute more or less changes a short run's bad calls
by a fifth. So one run through a router cannot tell a difference of a tenth; many runs of the engine alone can.
"""

from __future__ import annotations

import random
import statistics
from typing import NamedTuple

from benchmarks.conversations import BREAKS, ERRORS, INTERVAL_S, PER_MINUTE, Turn, error_rate, turns
from exacto_plugin.core.decision import AffinityTarget
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample, Tier
from exacto_plugin.core.routing.affinity import IDLE_S, ConversationMap
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters

SEEDS = 24
REQUESTS = (2_500, 10_000)
"""42 minutes, most of which is learning and the break; and 2 h 47 min."""
_GROUP = "kimi"
_CANDIDATES = tuple(Candidate(LiteLLMId(name), DeploymentKey(name)) for name in ERRORS)


class Paired(NamedTuple):
    """Shares of bad calls over the same workloads, and the standard error of their difference over the first one."""

    without: float
    with_it: float
    error: float

    def line(self, requests: int) -> str:
        """A row of the table."""
        more = self.with_it / self.without - 1
        return (
            f"{requests:>8} requests, {SEEDS} seeds: without {self.without:.3%}, with {self.with_it:.3%}, "
            f"{more:+.1%} ±{self.error:.1%} (aim +10 %)"
        )


def _ended(turn: Turn, picked: str, *, bad: bool, probe: bool) -> Sample:
    return Sample(
        _GROUP,
        DeploymentKey(picked),
        turn.at,
        tools_offered=True,
        outcome=Outcome.SCHEMA_MISMATCH if bad else Outcome.VALID,
        probe=probe,
        caller=str(turn.conversation % 20),
    )


def bad_share(workload: list[Turn], seed: int, *, affinity: bool) -> float:
    """The share of calls that the deployments which served them break on average."""
    luck = random.Random(f"{seed} {affinity}")
    engine = Engine(AdaptivePreset(AdaptiveParameters(), 0.02))
    known = ConversationMap()
    engine.observe_peers(_GROUP, tuple(map(DeploymentKey, ERRORS)), 0.0)
    due, breaks_at, expected = INTERVAL_S, workload[len(workload) // 2].at, 0.0
    for turn in workload:
        while turn.at >= due:
            engine.observe_peers(_GROUP, tuple(map(DeploymentKey, ERRORS)), due)
            engine.recompute(due)
            due += INTERVAL_S
        key = turn.conversation.to_bytes(8)
        place = known.find(key, turn.at, IDLE_S) if affinity else None
        home = None if place is None else AffinityTarget(place.deployment, from_probe=place.from_probe)
        decision = engine.decide(RoutingRequest(_GROUP, _CANDIDATES, Policy(), tools=True, home=home), luck.random)
        picked = luck.choice(decision.pool)
        known.assign(key, picked, turn.at, probed=decision.explored)
        known.touch(key, picked, turn.at)
        rate = error_rate(picked, broken=turn.at >= breaks_at)
        expected += rate
        probe = decision.explored or (place is not None and place.from_probe and decision.pool == (place.deployment,))
        bad = luck.random() < rate
        verdict = engine.snapshot.verdict(_GROUP, DeploymentKey(picked))
        if bad and (verdict is None or verdict.tier is not Tier.VERIFIED_GOOD):
            known.release(key, picked)
        engine.record(_ended(turn, picked, bad=bad, probe=probe))
    return expected / len(workload)


def compare(requests: int) -> Paired:
    """Tiers with and without affinity over the same workloads."""
    without, with_it = [], []
    for seed in range(SEEDS):
        workload = turns(requests, PER_MINUTE, seed)
        without.append(bad_share(workload, seed, affinity=False))
        with_it.append(bad_share(workload, seed, affinity=True))
    differences = [more - less for less, more in zip(without, with_it, strict=True)]
    mean = statistics.fmean(without)
    error = statistics.stdev(differences) / len(differences) ** 0.5 / mean
    return Paired(mean, statistics.fmean(with_it), error)


def lines() -> list[str]:
    """The table."""
    head = f"the same with the engine alone ({BREAKS} breaks in the middle), bad calls:"
    return [head, *(compare(requests).line(requests) for requests in REQUESTS)]

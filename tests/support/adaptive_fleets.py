"""Small fleets for tests of the adaptive rule: an engine, deployments with true failure rates, traffic by intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.windows.increments import CALLERS, CounterKind, HistogramKind
from tests.support.samples import START, tiers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import Tier, Transition
    from exacto_plugin.core.tiers.columns import Preset

INTERVAL_S = 300.0


class Fleet:
    """Deployments ``d0``, ``d1``, ... of group ``g`` and an engine that judges them every 5 minutes."""

    def __init__(
        self,
        rates: Sequence[float],
        *,
        rule: Preset | None = None,
        share: float = 0.02,
        seed: int = 1,
        capacities: Mapping[DeploymentKey, float] | None = None,
    ) -> None:
        self.rates = np.array(rates, float)
        self.names = [f"d{number}" for number in range(len(rates))]
        self.engine = Engine(rule or AdaptivePreset(AdaptiveParameters(), share))
        self.now = START
        self.draw = np.random.default_rng(seed)
        self.transitions: list[Transition] = []
        self.calls = self.failed = self.probes = self.requests = self.fed = 0
        self.engine.observe_peers("g", tuple(map(DeploymentKey, self.names)), self.now, capacities=capacities or {})
        self.engine.recompute(self.now)

    @property
    def tiers(self) -> Mapping[str, Tier]:
        """The tiers in force."""
        return tiers_of(self.engine)

    def feed(self, name: str, calls: int, failed: int, caller: int | None = None, complexity: int = 0) -> None:
        """Count answers with tool calls, as of now, from all callers alike or from one."""
        cells: dict[int, int] = {}
        for number in range(calls):
            bad = number < failed
            by = (self.fed + number) % CALLERS if caller is None else caller
            for cell in (
                int(HistogramKind.CALLERS) * BINS + by * 2 + bad,
                int(HistogramKind.CASE_MIX) * BINS + complexity * 4 + bad,
            ):
                cells[cell] = cells.get(cell, 0) + 1
        self.fed += calls
        counts = {
            CounterKind.ANSWERED: calls,
            CounterKind.OFFERED: calls,
            CounterKind.CALLED: calls,
            CounterKind.SCHEMA_MISMATCH: failed,
        }
        self.engine.add("g", DeploymentKey(name), counts, cells, self.now)

    def judge(self, after_s: float = INTERVAL_S) -> Mapping[str, Tier]:
        """Recompute a while later."""
        self.now += after_s
        self.engine.recompute(self.now)
        self.transitions += self.engine.transitions
        return self.tiers

    def serve(self, requests_per_minute: float, hours: float, propensity: float = 1.0) -> Fleet:
        """Let the engine route requests with tools, the pool's members being picked evenly."""
        ask = RoutingRequest(
            "g", [Candidate(LiteLLMId(name), DeploymentKey(name)) for name in self.names], Policy(), tools=True
        )
        for _ in range(round(hours * 3600 / INTERVAL_S)):
            counts = np.zeros(len(self.names), int)
            for _ in range(self.draw.poisson(requests_per_minute * INTERVAL_S / 60)):
                decision = self.engine.decide(ask, self.draw.random)
                self.requests += 1
                self.probes += decision.explored
                counts[self.names.index(decision.pool[int(self.draw.integers(len(decision.pool)))])] += 1
            for place, name in enumerate(self.names):
                calls = int(self.draw.binomial(counts[place], propensity))
                failed = int(self.draw.binomial(calls, self.rates[place]))
                self.calls, self.failed = self.calls + calls, self.failed + failed
                self.feed(name, calls, failed)
            self.judge()
        return self

    def hours_to(self, name: str, tier: Tier, after: float = START) -> float:
        """Hours from a time to a deployment's first change to a tier; infinite if there was none."""
        return min(
            (
                (t.at - after) / 3600
                for t in self.transitions
                if (t.deployment, t.tier) == (name, tier) and t.at > after
            ),
            default=float("inf"),
        )

"""Processes with real engines around a replica, on an injected clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from exacto_plugin.core.tiers.checkpoints import ChangeDetector
from exacto_plugin.core.windows.deltas import Deltas
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.sharing.intervals import ReplicaIntervals
from exacto_plugin.sharing.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import Snapshot, Transition
    from exacto_plugin.core.windows.deltas import Delta
    from exacto_plugin.sharing.protocol import Exchange, ExchangeError, Publication

GROUP = "g"
DEPLOYMENTS = ("a", "b", "c")
START = 1_800_000_000.0
HALF_HOUR_S = 1800
PACE = ReplicaIntervals(recompute_s=20.0, push_s=2.0, save_s=10.0)


class Clock:
    """Seconds that only pass when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Worker:
    """One process: an engine that counts samples, and its replica."""

    def __init__(self, name: str, exchange: Exchange, clock: Clock, pace: ReplicaIntervals = PACE) -> None:
        self._clock = clock
        self._name = name
        self.engine = self._engine(name)
        self.deltas = self.engine.deltas = Deltas()
        self.shared: Engine | None = None
        self.announced: list[str] = []
        self.told: list[Transition] = []
        self.accounts: list[str] = []
        """Those of them whose inputs were put on record as well."""
        self.faults: list[ExchangeError] = []
        self.asked: tuple[str, ...] = ()
        self.replica = Replica(name, exchange, self, pace, clock.now)

    def _engine(self, name: str) -> Engine:
        return Engine(AdaptivePreset(AdaptiveParameters(), 0.02), timer=self._clock, instance=name)

    def answer(self, deployment: str, outcome: Outcome = Outcome.VALID, count: int = 1) -> None:
        """Count answers with a tool call."""
        for _ in range(count):
            sample = Sample(GROUP, DeploymentKey(deployment), self._clock.now, tools_offered=True, outcome=outcome)
            self.engine.record(replace(sample, output_tokens=200, duration_s=2.0))

    async def step(self) -> None:
        """One step of the replica."""
        await self.replica.step(self._clock.now)

    @property
    def snapshot(self) -> Snapshot:
        """What is in force here."""
        return self.engine.snapshot

    def counts(self) -> Mapping[str, int]:
        """What the common engine counted, by deployment; of a leader only."""
        assert self.shared is not None
        return counted(self.shared)

    # --- what a replica asks of its process -------------------------------------------------------------------------

    def take_deltas(self) -> Sequence[Delta]:
        return self.deltas.take()

    def watched(self) -> tuple[str, ...]:
        return self.asked

    def new_common_engine(self) -> Engine:
        self.shared = self._engine(self._name)
        self.shared.change_detector = ChangeDetector()
        return self.shared

    async def recompute(self, common: Engine, now: float) -> bool:
        return self._recompute(common, now)

    async def recompute_alone(self, now: float) -> None:
        self._recompute(self.engine, now)

    def _recompute(self, engine: Engine, now: float) -> bool:
        engine.observe_peers(GROUP, tuple(map(DeploymentKey, DEPLOYMENTS)), now)
        engine.recompute(now)
        return True

    async def adopt(self, publication: Publication) -> None:
        self.engine.adopt(publication.snapshot, publication.remembered)

    async def announce(self, common: Engine) -> None:
        assert common.change_detector is not None
        recorded = {deployment for one in common.change_detector.changes for deployment in one.deployments}
        self.told += common.transitions
        self.announced += [f"{one.deployment} {one.tier.value}" for one in common.transitions]
        self.accounts += [
            f"{one.deployment} {one.tier.value}" for one in common.transitions if one.deployment in recorded
        ]

    def exchange_unavailable(self, error: ExchangeError) -> None:
        self.faults.append(error)


def counted(engine: Engine) -> Mapping[str, int]:
    """Answers by deployment, over everything that is retained."""
    found: dict[str, int] = {}
    for deployment, held in engine.copy_windows(GROUP).items():
        ring = held.counters[HALF_HOUR_S]  # the coarsest of all counters
        in_pages = sum(counts.get(CounterKind.ANSWERED, 0) for counts, _ in held.minutes.values())
        found[deployment] = in_pages + int(ring.counts[ring.keys == CounterKind.ANSWERED].sum())
    return {deployment: count for deployment, count in found.items() if count}

"""Recomputes of an engine for the deployments of LiteLLM's current routers.

Other modules decide on the process and the time of a recompute; ``core`` computes its result.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from exacto_plugin.errors import StoreError
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.declared import (
    DeclaredDeployment,
    DeclaredLimits,
    declared_limits,
    picks_by_weight,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.benchmark_scores.source import BenchmarkSource
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import DeploymentKey
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.runtime.providers import Providers
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder
    from exacto_plugin.litellm_hooks.runtime.samples import SampleSink


class RosterSync:
    """Synchronizer of engines with the current deployments. One per process.

    Args:
        context: of this process.
        routers: have the deployments.
        engine: this process's own; its model groups are those of requests.
        samples: forgets removed deployments.
        providers: gets the providers of the deployments.
        recorder: watches engines, and gets the weights by which LiteLLM picks.
        benchmarks: gives engines the scores of benchmarks.
    """

    def __init__(
        self,
        context: Context,
        routers: Routers,
        engine: Engine,
        samples: SampleSink,
        providers: Providers,
        recorder: Recorder,
        benchmarks: BenchmarkSource,
    ) -> None:
        self._context = context
        self._routers = routers
        self._engine = engine
        self._samples = samples
        self._providers = providers
        self._recorder = recorder
        self._benchmarks = benchmarks

    async def recompute(self, engine: Engine) -> bool:
        """Run one recompute in slices that yield to the event loop.

        Returns False when there is no new result.
        """
        self._recorder.watch_engine(engine)
        with suppress(StoreError):  # which the store itself tells; the engine keeps the scores that it has
            await self._benchmarks.read()
        self._context.faults.guard("benchmarks", lambda: self._benchmarks.observe(engine), None)
        before, now = engine.measured, self._context.clock()
        for _ in self._slices(engine, engine.groups(), now, engine.recompute_slices(now)):
            await asyncio.sleep(0)
        return engine.measured is not before  # else another recompute started in the meantime

    async def refresh(self, engine: Engine) -> None:
        """Update the deployments of an engine that another process recomputes.

        Its samples age as well. Runs in slices that yield to the event loop.
        """
        now = self._context.clock()
        groups = dict.fromkeys([*engine.groups(), *engine.measured.groups])
        for _ in self._slices(engine, groups, now, engine.age(now)):
            await asyncio.sleep(0)

    def _slices(self, engine: Engine, groups: Iterable[str], now: float, rest: Iterator[None]) -> Iterator[None]:
        routers, samples, faults = self._routers, self._samples, self._context.faults
        for router in routers.live:
            faults.guard("router", functools.partial(routers.prepare, router), None)
        routers.direct_calls.drop_expired(now)
        providers: dict[str, str] = {}
        noted = self._providers.noted
        weights: dict[str, Mapping[DeploymentKey, float]] = {}
        served: set[tuple[str, DeploymentKey]] = set()
        flawed = samples.flawed()  # deployments that answer for the first time in the meantime are kept
        # Model groups reach the engine for the samples of all processes later than this process's own engine.
        groups = dict.fromkeys([*groups, *self._engine.groups()])
        for group in groups:
            router, deployments = routers.routing_for(group)
            candidates = [candidate_of(deployment, group) for deployment in deployments]
            providers.update((one.key, one.provider) for one in candidates)
            served.update((group, one.key) for one in candidates)
            peers = [
                DeclaredDeployment(one.key, deployment) for one, deployment in zip(candidates, deployments, strict=True)
            ]
            tell = functools.partial(self._declared_limits, group, router, peers)
            said = faults.guard("declared", tell, DeclaredLimits())
            weights[group] = said.weights
            if samples.log is not None:
                samples.log.group_members(group, {one.key: one.price for one in candidates}, now)
            direct = routers.direct_calls.of(group)
            providers.update((key, self._providers.by_deployment.get(key, "")) for key in direct)
            served.update((group, key) for key in direct)
            keys = dict.fromkeys([*(peer.key for peer in peers), *direct])
            reported = {key: limit for key in keys if (limit := samples.limits.total(group, key, now)) is not None}
            engine.observe_peers(group, keys, now, **said._asdict(), reported=reported)
            yield
        yield from rest
        # Removed deployments are deleted here as well; callers can create new ones under a wildcard.
        self._providers.replace(providers, noted)
        self._recorder.picks.weights = weights
        samples.forget_removed(served, flawed)

    def _declared_limits(self, group: str, router: Any, peers: Sequence[DeclaredDeployment]) -> DeclaredLimits:
        average = functools.partial(self._samples.token_use.average, group)
        return declared_limits(peers, router is not None and picks_by_weight(router, group), average)

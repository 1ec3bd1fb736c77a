"""Recomputes of an engine for the deployments of LiteLLM's current routers.

Other modules decide on the process and the time of a recompute; ``core`` computes its result.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.declared import (
    DeclaredDeployment,
    DeclaredLimits,
    declared_limits,
    picks_by_weight,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


class RosterSync:
    """Synchronizer of engines with the current deployments. One per process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def recompute(self, engine: Engine) -> bool:
        """Run one recompute in slices that yield to the event loop.

        Returns False when there is no new result.
        """
        self._runtime.recorder.watch_engine(engine)
        before, now = engine.measured, self._runtime.clock()
        for _ in self._slices(engine, engine.groups(), now, engine.recompute_slices(now)):
            await asyncio.sleep(0)
        return engine.measured is not before  # else another recompute started in the meantime

    async def refresh(self, engine: Engine) -> None:
        """Update the deployments of an engine that another process recomputes.

        Its samples age as well. Runs in slices that yield to the event loop.
        """
        now = self._runtime.clock()
        groups = dict.fromkeys([*engine.groups(), *engine.measured.groups])
        for _ in self._slices(engine, groups, now, engine.age(now)):
            await asyncio.sleep(0)

    def _slices(self, engine: Engine, groups: Iterable[str], now: float, rest: Iterator[None]) -> Iterator[None]:
        runtime = self._runtime
        for router in runtime.routers:
            runtime.faults.guard("router", functools.partial(runtime.prepare_router, router), None)
        runtime.direct_calls.drop_expired(now)
        providers: dict[str, str] = {}
        weights: dict[str, Mapping[str, float]] = {}
        served: set[tuple[str, str]] = set()
        with runtime.engine.lock:
            flawed = runtime.flaws.deployments()  # deployments that answer for the first time in the meantime are kept
            # Model groups reach the engine for the samples of all processes later than this process's own engine.
            groups = dict.fromkeys([*groups, *runtime.engine.groups()])
        for group in groups:
            router, deployments = runtime.routing_for(group)
            candidates = [candidate_of(deployment, group) for deployment in deployments]
            providers.update((one.key, one.provider) for one in candidates)
            served.update((group, one.key) for one in candidates)
            peers = [
                DeclaredDeployment(one.key, deployment) for one, deployment in zip(candidates, deployments, strict=True)
            ]
            tell = functools.partial(self._declared_limits, group, router, peers)
            said = runtime.faults.guard("declared", tell, DeclaredLimits())
            weights[group] = said.weights
            if runtime.sample_log is not None:
                runtime.sample_log.group_members(group, {one.key: one.price for one in candidates}, now)
            direct = runtime.direct_calls.of(group)
            providers.update((key, runtime.providers.get(key, "")) for key in direct)
            served.update((group, key) for key in direct)
            engine.observe_peers(group, dict.fromkeys([*(peer.key for peer in peers), *direct]), now, **said._asdict())
            yield
        yield from rest
        # Removed deployments are deleted here as well; callers can create new ones under a wildcard.
        runtime.providers = providers
        runtime.recorder.picks.weights = weights
        with runtime.engine.lock:
            runtime.token_use.retain(served)
            runtime.flaws.drop(flawed - served)

    def _declared_limits(self, group: str, router: Any, peers: Sequence[DeclaredDeployment]) -> DeclaredLimits:
        average = functools.partial(self._runtime.token_use.average, group)
        return declared_limits(peers, router is not None and picks_by_weight(router, group), average)

"""Alerts: one for each change of a state, over restarts and workers.

Reads the verdicts in force on the recompute timer's loop; is on no request's path. What was told is kept in the store,
so that of several processes on one store one tells it, once; with a Redis, of those of several machines. Where verdicts
are shared, the leader watches them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exacto_plugin.errors import StoreError
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.features import Feature
from exacto_plugin.litellm_hooks.monitoring.alert_conditions import (
    AlertKind,
    GroupFacts,
    Watched,
    feature_state,
    kind_of_change,
    stale_after_s,
    staleness,
    states_of_group,
)
from exacto_plugin.litellm_hooks.monitoring.alert_text import OF_DEPLOYMENTS, Alert, link_to, sentence
from exacto_plugin.sharing.alert_states import AlertClaim, with_local
from exacto_plugin.sharing.protocol import ExchangeError
from exacto_plugin.sharing.replica import Role
from exacto_plugin.store.alert_states import changes_of_tier, claim
from exacto_plugin.telemetry.events import emit_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import GroupSnapshot
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.runtime.observed import ObservedNumbers
    from exacto_plugin.litellm_hooks.runtime.replication import Replication
    from exacto_plugin.sharing.alert_states import AlertState
    from exacto_plugin.store.store import Store

    Why = Callable[[str, str], Awaitable[Sequence[str]]]
    """Returns why a deployment of a model group has its tier, in sentences."""

EVERY_S = 10.0
"""Most seconds between two looks at the states; each new snapshot is looked at."""

_HOUR_S = 3600.0
_WAITING = 1000
"""Most alerts that wait for delivery; the oldest are dropped first."""
_EXPLAINED = frozenset({AlertKind.DERANK, AlertKind.READMISSION, AlertKind.FLAPPING})


@dataclass(frozen=True, slots=True)
class AlertSources:
    """The parts of one process that alerts are about."""

    context: Context
    engine: Engine
    routers: Routers
    observed: ObservedNumbers
    replication: Replication
    store: Store


class Alerts:
    """The alerts of one process.

    Args:
        sources: have what is watched.
        why: explains tiers.
        send: delivers an alert; must not raise.
    """

    def __init__(self, sources: AlertSources, why: Why, send: Callable[[Alert], Awaitable[None]]) -> None:
        self._sources = sources
        self._context = sources.context
        self.faults = sources.context.faults
        self._why = why
        self._send = send
        self._told: dict[str, str] = {}
        """The states that are known to be kept, of what was watched last."""
        self._snapshot = ""
        self._due = 0.0
        self._begun = sources.context.clock()
        self._waiting: deque[Alert] = deque(maxlen=_WAITING)
        self._delivery: asyncio.Task[None] | None = None

    @fail_open("alerts")
    async def run(self) -> None:
        """Tell the changes since the last call; a periodic job."""
        now, snapshot = self._context.clock(), self._sources.engine.snapshot.id
        if not self._context.settings.alerts.enabled or (snapshot == self._snapshot and now < self._due):
            return
        self._snapshot, self._due = snapshot, now + EVERY_S
        watched = {one.key: one async for one in self._states(now)}
        changed = {key: one for key, one in watched.items() if self._told.get(key) != one.state}
        found = await self._claim(changed) if changed else AlertClaim({}, frozenset())
        self._told = {key: one.state for key, one in watched.items() if key not in found.outdated}
        for key, before in found.changed.items():
            kind = kind_of_change(changed[key], before)
            if kind is not None:
                await self._tell(kind, changed[key])

    # --- what changed -------------------------------------------------------------------------------------------------

    async def _claim(self, changed: Mapping[str, Watched]) -> AlertClaim:
        """Return the changes that this process is to tell, each with the previous state."""
        states = {key: one.kept for key, one in changed.items()}
        local = await self._claim_in_store(states)
        shared = self._sources.replication.alert_states
        if shared is None:
            return local
        try:
            return with_local(await shared.claim(states), local)
        except ExchangeError as error:
            self.faults.report("alerts", error)
            return local

    async def _claim_in_store(self, states: Mapping[str, AlertState]) -> AlertClaim:
        try:
            return await self._sources.store.work(lambda connection: claim(connection, states))
        except StoreError:
            # Rather twice than never: what is known in this process decides while the store is down.
            return AlertClaim({key: self._told.get(key) for key in states}, frozenset())

    async def _states(self, now: float) -> AsyncIterator[Watched]:
        """Yield every state that this process watches."""
        context, sources = self._context, self._sources
        interval_s = context.settings.tiers.recompute_interval_s
        for feature in Feature:
            yield feature_state(feature.value, now, on=context.features.has(feature))
        groups = [one for one in sources.engine.snapshot.groups.values() if self._is_watched(one)]
        if now - self._begun > stale_after_s(interval_s):  # a process begins with verdicts of before
            for group in groups:
                yield staleness(group, now, interval_s)
        if sources.replication.status()["role"] == Role.FOLLOWER:
            return
        changes = await self._changes(now)
        for group in groups:
            for one in states_of_group(self._facts(group, changes, interval_s), now):
                yield one
            await asyncio.sleep(0)

    def _is_watched(self, group: GroupSnapshot) -> bool:
        """Return True for a configured name: under a wildcard callers choose them."""
        return self._sources.routers.knows_group(group.model_group)

    async def _changes(self, now: float) -> Mapping[tuple[str, str], int] | None:
        try:
            return await self._sources.store.read(lambda connection: changes_of_tier(connection, now - _HOUR_S))
        except StoreError:
            return None

    def _facts(
        self, group: GroupSnapshot, changes: Mapping[tuple[str, str], int] | None, interval_s: float
    ) -> GroupFacts:
        name = group.model_group
        curated, observed = self._context.settings.curated_list(name), self._sources.observed.latest
        served = () if curated is None else self._sources.routers.deployments_of(name)
        return GroupFacts(
            group,
            tuple(candidate_of(one, name) for one in served),
            curated,
            {key: observed[name, key] for key in group.verdicts if (name, key) in observed},
            None if changes is None else {key: changes.get((name, key), 0) for key in group.verdicts},
            interval_s,
        )

    # --- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, kind: AlertKind, watched: Watched) -> None:
        deployment = watched.name if kind in OF_DEPLOYMENTS else ""
        reasons = await self._why(deployment, watched.model_group) if kind in _EXPLAINED else ()
        off = {feature.value: reason for feature, reason in self._context.features.off.items()}
        group = self._sources.engine.snapshot.groups.get(watched.model_group)
        first = sentence(kind, watched, off, None if group is None else group.common_cause)
        # The reasons of a derank begin with the same words.
        message = " ".join(reasons if kind is AlertKind.DERANK and reasons else [first, *reasons])
        alert = Alert(kind, watched.model_group, watched.name, message, link_to(watched.model_group, deployment))
        attributes = {"exacto.alert": kind.value, "exacto.model_group": alert.model_group}
        if deployment:
            attributes["exacto.deployment.id"] = deployment
        self.faults.guard("telemetry", lambda: self._context.telemetry.alert(kind.value), None)
        self.faults.guard("telemetry", lambda: emit_event("exacto.alert", message, attributes), None)
        self._waiting.append(alert)
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.get_running_loop().create_task(self._deliver(), name="exacto-alerts")

    async def _deliver(self) -> None:
        """Send the waiting alerts; other periodic jobs do not wait for a slow receiver."""
        while self._waiting:
            await self._send(self._waiting.popleft())

"""One process among its replicas: finds the exchange and serves the replica.

Without an exchange the process recomputes from its own samples, on a timer. The timing is decided in
:mod:`exacto_plugin.sharing.replica`; nothing here is on a request's path.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.probe_budget import ProbeShare
from exacto_plugin.core.windows.deltas import Deltas
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.runtime.exchange_sources import pause_s, report_unavailable
from exacto_plugin.sharing.intervals import replica_intervals
from exacto_plugin.sharing.protocol import ExchangeError
from exacto_plugin.sharing.replica import Replica, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.core.windows.deltas import Delta
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.runtime.exchange_sources import RedisExchangeSource, StoreExchangeSource
    from exacto_plugin.litellm_hooks.runtime.recompute import Recomputer
    from exacto_plugin.litellm_hooks.runtime.roster_sync import RosterSync
    from exacto_plugin.litellm_hooks.runtime.settings_reload import SettingsReload
    from exacto_plugin.sharing.protocol import Exchange, Publication, Remembered
    from exacto_plugin.sharing.redis.alert_states import RedisAlertStates
    from exacto_plugin.sharing.redis.conversations import SharedConversations

    NewEngine = Callable[[Preset, str], Engine]

logger = logging.getLogger("exacto_plugin")

SINGLE_PROCESS = "alone"
"""The role of a process that shares nothing."""

_EARLY_S = 60.0
"""Seconds for which samples are kept for an exchange that may still be found.

LiteLLM's connection exists only after its start.
"""


class Replication:
    """The replication of one process; belongs to the loop of the recompute timer.

    Args:
        context: of this process.
        engine: this process's own.
        recomputer: recomputes it, and tells the changes of any.
        roster_sync: names the deployments of an engine.
        settings_reload: brings new settings into force before each recompute.
        redis: the preferred source of an exchange.
        store: the other source.
        new_engine: creates an engine for the samples of all processes, from its rule and a name.
        worker: name of this process among the replicas.
    """

    def __init__(
        self,
        context: Context,
        engine: Engine,
        recomputer: Recomputer,
        roster_sync: RosterSync,
        settings_reload: SettingsReload,
        redis: RedisExchangeSource,
        store: StoreExchangeSource,
        new_engine: NewEngine,
        worker: str,
    ) -> None:
        self._context = context
        self._engine = engine
        self._recomputer = recomputer
        self._roster_sync = roster_sync
        self._settings_reload = settings_reload
        self._redis = redis
        self._new_engine = new_engine
        self.faults = context.faults
        self.replica: Replica | None = None
        """None while nothing is shared."""
        self.sources: list[Callable[[], Exchange | None]] = [redis.exchange, store.exchange]
        """Sources of an exchange in their order of preference.

        A better one that becomes available later replaces the current one.
        """
        self._source = len(self.sources)
        self.worker = worker
        self._publish_task: asyncio.Task[None] | None = None
        self._early_until = math.inf
        self._due = 0.0
        self._begun_at: float | None = None
        self._rule: Preset | None = None
        self._remembered: Remembered = {}
        self._deltas = Deltas()
        # From the first answer on, since LiteLLM's connection, or a store, exists only later.
        engine.deltas = self._deltas

    @property
    def conversations(self) -> SharedConversations | None:
        """The conversations of all processes; None while they are not shared."""
        return self._redis.conversations

    @property
    def alert_states(self) -> RedisAlertStates | None:
        """The states that were told, for several machines; None without a Redis."""
        return self._redis.alert_states

    async def begin(self) -> None:
        """Start the timer: the first recompute follows after one interval."""
        now = time.monotonic()
        self._begun_at = self._context.clock()
        self._due = now + self._context.settings.tiers.recompute_interval_s
        self._early_until = min(self._early_until, now + _EARLY_S)

    async def serve(self, keeps_running: Callable[[], bool]) -> None:
        """Run one step after the other while ``keeps_running()``.

        When the task is cancelled, the remaining samples are sent to other processes.
        """
        await self.begin()
        try:
            while keeps_running():
                await asyncio.sleep(pause_s(self._context.settings))
                await self.run_step()
        except asyncio.CancelledError:
            if keeps_running():  # else another loop runs the timer now
                await self.aclose()
            raise

    @fail_open("sharing")
    async def run_step(self) -> None:
        """Run the steps that are due."""
        await self._find()
        if self.replica is not None:
            self._start_publishing()
            self.replica.intervals = replica_intervals(self._context.settings.tiers.recompute_interval_s)
            await self.replica.step(self._context.clock())
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + self._context.settings.tiers.recompute_interval_s
            await self._recomputer.recompute_timed()

    def next_recompute_at(self) -> float | None:
        """Return when the next verdicts are due, UTC seconds.

        None before the timer runs or a first snapshot is there. A restart continues older verdicts and makes its first
        ones a whole interval after its start. Followers go by their leader's last result, unless that is late.
        """
        at, interval_s = self._engine.snapshot.at, self._context.settings.tiers.recompute_interval_s
        if self._begun_at is None:
            return at + interval_s if at else None
        now, replica = self._context.clock(), self.replica
        if replica is None:
            return now + self._due - time.monotonic()
        by_leader = at + interval_s
        return by_leader if replica.role is Role.FOLLOWER and by_leader > now else replica.next_recompute_at

    def status(self) -> dict[str, Any]:
        """Return role, exchange and lag, for people.

        ``workers``: those that the verdicts in force were divided among; None before the first.
        """
        replica = self.replica
        if replica is None:
            return {"role": SINGLE_PROCESS, "exchange": None, "worker": self.worker}
        lag_s = None if replica.heard_at is None else round(max(0.0, self._context.clock() - replica.heard_at), 3)
        return {
            "role": replica.role.value,
            "exchange": replica.exchange.name,
            "worker": self.worker,
            "leader": replica.leader,
            "workers": replica.workers if self._engine.snapshot.at else None,
            "lag_s": lag_s,
            "dropped": self._deltas.dropped,
        }

    # --- the exchange ----------------------------------------------------------------------------------------------

    async def _find(self) -> None:
        for place, source in enumerate(self.sources[: self._source]):
            exchange = source()
            if exchange is not None:
                await self.aclose()
                self._engine.deltas = self._deltas
                rhythm = replica_intervals(self._context.settings.tiers.recompute_interval_s)
                self._source = place
                self.replica = Replica(self.worker, exchange, self, rhythm, self._context.clock())
                logger.info("exacto_plugin shares verdicts with other processes through %s", exchange.name)
                return
        if self.replica is None and time.monotonic() > self._early_until:
            self._engine.deltas = None

    async def aclose(self) -> None:
        """Send pending deltas and give up the lease, within a short time limit."""
        if self._publish_task is not None:
            self._publish_task.cancel()
        replica, self.replica, self._source = self.replica, None, len(self.sources)
        if replica is not None:
            self.worker = secrets.token_hex(8)  # batches are numbered by worker, and the next replica starts anew
            try:
                await replica.aclose()
            except ExchangeError as error:
                self.exchange_unavailable(error)

    def _start_publishing(self) -> None:
        """Start publishing conversations in a task on the running loop."""
        if self.conversations is None or not self._context.settings.affinity.enabled:
            return
        if self._publish_task is None or self._publish_task.done():
            self._publish_task = asyncio.get_running_loop().create_task(self.conversations.run(), name="exacto-tell")

    # --- called by the replica -------------------------------------------------------------------------------------

    def take_deltas(self) -> Sequence[Delta]:
        """Return the deltas that were recorded since the last call."""
        return self._deltas.take()

    def watched(self) -> tuple[str, ...]:
        """Return model groups whose percentiles were requested lately."""
        return self._engine.watched(self._context.clock())

    def new_common_engine(self) -> Engine:
        """Return a new engine for all replicas' samples, under the rule in force."""
        self._rule = self._context.settings.rule()
        return self._new_engine(self._rule, self.worker[:4])

    async def recompute(self, common: Engine, now: float) -> bool:
        """Recompute the common engine for the deployments that are served now."""
        await self._settings_reload.take_changes()
        rule = self._context.settings.rule()
        if rule != self._rule:
            self._rule = common.rule = rule
        return await self._recomputer.recompute_timed(lambda: self._roster_sync.recompute(common))

    async def recompute_alone(self, now: float) -> None:
        """Recompute from this process's own samples, after the last published result."""
        engine = self._engine
        engine.share_probes(ProbeShare())  # its snapshots' budgets come from its own traffic
        remembered, self._remembered = self._remembered, {}
        for model_group, deployments in remembered.items():
            engine.load({model_group: deployments})
            await asyncio.sleep(0)
        await self._recomputer.recompute_timed()

    async def adopt(self, publication: Publication) -> None:
        """Put a published result in force here, with this process's share of its budgets."""
        engine, workers = self._engine, publication.workers
        await self._settings_reload.take_changes()
        self._remembered = publication.remembered
        place = workers.index(self.worker) if self.worker in workers else -1
        engine.share_probes(ProbeShare(place, max(1, len(workers))))
        engine.adopt(publication.snapshot, {})
        await self._roster_sync.refresh(engine)

    async def announce(self, common: Engine) -> None:
        """Log and record the changes, once for all replicas."""
        self._recomputer.announce(common)

    def exchange_unavailable(self, error: ExchangeError) -> None:
        """Count an unavailable exchange; see :func:`report_unavailable`."""
        report_unavailable(self.faults, error)

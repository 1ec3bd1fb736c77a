"""One process among its replicas: finds the exchange and serves the replica.

Without an exchange the process recomputes from its own samples, on a timer. The timing is decided in
:mod:`exacto_plugin.sharing.replica`; nothing here is on a request's path.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.engine.locked import LockedEngine
from exacto_plugin.core.routing.probe_budget import ProbeShare
from exacto_plugin.core.windows.deltas import Deltas
from exacto_plugin.errors import StoreError
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.sharing.protocol import ExchangeError, LostLeaseError
from exacto_plugin.sharing.replica import PUSH_S, Replica, replica_intervals
from exacto_plugin.store.exchange import StoreExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.core.windows.deltas import Delta
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
    from exacto_plugin.sharing.protocol import Exchange, Publication, Remembered
    from exacto_plugin.sharing.redis.connection import RedisConnection
    from exacto_plugin.sharing.redis.conversations import SharedConversations

logger = logging.getLogger("exacto_plugin")

SINGLE_PROCESS = "alone"
"""The role of a process that shares nothing."""

_EARLY_S = 60.0
"""Seconds for which samples are kept for an exchange that may still be found.

LiteLLM's connection exists only after its start.
"""


class Replication:
    """The replication of one process; belongs to the loop of the recompute timer."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.faults = runtime.faults
        self.replica: Replica | None = None
        """None while nothing is shared."""
        self.sources: list[Callable[[], Exchange | None]] = [self._redis, self._store]
        """Sources of an exchange in their order of preference.

        A better one that becomes available later replaces the current one.
        """
        self._source = len(self.sources)
        self.conversations: SharedConversations | None = None
        """None without a Redis for conversations, or if their names are process-local."""
        self._redis_settings = runtime.settings.redis
        """The settings at the start.

        Processes that share must agree, so they change together, with a restart.
        """
        self.worker = secrets.token_hex(8)
        self._publish_task: asyncio.Task[None] | None = None
        self._early_until = math.inf
        self._due = 0.0
        self._rule: Preset | None = None
        self._remembered: Remembered = {}
        self._deltas = Deltas()
        # From the first answer on, since LiteLLM's connection, or a store, exists only later.
        runtime.engine.deltas = self._deltas

    @property
    def pause_s(self) -> float:
        """Seconds between two steps."""
        return min(PUSH_S, self._runtime.settings.tiers.recompute_interval_s)

    async def begin(self) -> None:
        """Start the timer: the first recompute follows after one interval."""
        now = time.monotonic()
        self._due = now + self._runtime.settings.tiers.recompute_interval_s
        self._early_until = min(self._early_until, now + _EARLY_S)

    async def serve(self, keeps_running: Callable[[], bool]) -> None:
        """Run one step after the other while ``keeps_running()``.

        When the task is cancelled, the remaining samples are sent to other processes.
        """
        await self.begin()
        try:
            while keeps_running():
                await asyncio.sleep(self.pause_s)
                await self.run_step()
        except asyncio.CancelledError:
            if keeps_running():  # else another loop runs the timer now
                await self.aclose()
            raise

    @fail_open("sharing")
    async def run_step(self) -> None:
        """Run the steps that are due."""
        runtime = self._runtime
        await self._find()
        if self.replica is not None:
            self._start_publishing()
            self.replica.intervals = replica_intervals(runtime.settings.tiers.recompute_interval_s)
            await self.replica.step(runtime.clock())
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + runtime.settings.tiers.recompute_interval_s
            await runtime.recompute_timed()

    def status(self) -> dict[str, Any]:
        """Return role, exchange and lag, for people."""
        replica = self.replica
        if replica is None:
            return {"role": SINGLE_PROCESS, "exchange": None, "worker": self.worker}
        lag_s = None if replica.heard_at is None else round(max(0.0, self._runtime.clock() - replica.heard_at), 3)
        return {
            "role": replica.role.value,
            "exchange": replica.exchange.name,
            "worker": self.worker,
            "leader": replica.leader,
            "workers": replica.workers,
            "lag_s": lag_s,
            "dropped": self._deltas.dropped,
        }

    # --- the exchange ----------------------------------------------------------------------------------------------

    async def _find(self) -> None:
        for place, source in enumerate(self.sources[: self._source]):
            exchange = source()
            if exchange is not None:
                await self.aclose()
                runtime = self._runtime
                runtime.engine.deltas = self._deltas
                rhythm = replica_intervals(runtime.settings.tiers.recompute_interval_s)
                self._source = place
                self.replica = Replica(self.worker, exchange, self, rhythm, runtime.clock())
                logger.info("exacto_plugin shares verdicts with other processes through %s", exchange.name)
                return
        if self.replica is None and time.monotonic() > self._early_until:
            self._runtime.engine.deltas = None

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

    def _store(self) -> Exchange | None:
        """Return the store's exchange.

        Workers of one machine share it, and the next start continues from it.
        """
        store = self._runtime.store
        if store.location is None or not store.location.is_persistent:
            return None
        return StoreExchange(store, self.pause_s)

    def _redis(self) -> Exchange | None:
        link = self._redis_connection()
        if link is None:
            return None
        from exacto_plugin.sharing.redis.conversations import SharedConversations
        from exacto_plugin.sharing.redis.exchange import RedisExchange
        from exacto_plugin.sharing.redis.overrides import RedisOverrides

        runtime = self._runtime
        runtime.overrides.add_backend(RedisOverrides(link, runtime.clock))
        if runtime.salt_is_shared:
            self.conversations = SharedConversations(
                link, lambda: runtime.settings.affinity.idle_s, self.exchange_unavailable
            )
        return RedisExchange(link, self.pause_s)

    def _start_publishing(self) -> None:
        """Start publishing conversations in a task on the running loop."""
        if self.conversations is None or not self._runtime.settings.affinity.enabled:
            return
        if self._publish_task is None or self._publish_task.done():
            self._publish_task = asyncio.get_running_loop().create_task(self.conversations.serve(), name="exacto-tell")

    def _redis_connection(self) -> RedisConnection | None:
        settings = self._redis_settings
        if not settings.enabled or (settings.url is None and self._litellm_cache() is None):
            return None
        from exacto_plugin.sharing.redis.source import connection_to, litellm_connection

        if settings.url is not None:
            return connection_to(settings.url.get_secret_value(), settings.namespace)
        return litellm_connection(self._litellm_cache, settings.namespace)

    def _litellm_cache(self) -> Any:
        """Return LiteLLM's Redis: the proxy's own, else a router's; None without."""
        server = sys.modules.get("litellm.proxy.proxy_server")
        found = getattr(server, "redis_usage_cache", None)
        if found is not None:
            return found
        caches = (getattr(getattr(router, "cache", None), "redis_cache", None) for router in self._runtime.routers)
        return next((cache for cache in caches if cache is not None), None)

    # --- called by the replica -------------------------------------------------------------------------------------

    def take_deltas(self) -> Sequence[Delta]:
        """Return the deltas that were recorded since the last call."""
        return self._deltas.take()

    def watched(self) -> tuple[str, ...]:
        """Return model groups whose percentiles were requested lately."""
        return self._runtime.engine.watched(self._runtime.clock())

    def new_common_engine(self) -> Engine:
        """Return a new engine for all replicas' samples, under the rule in force."""
        self._rule = self._runtime.settings.rule()
        return LockedEngine(self._rule, timer=time.monotonic, instance=self.worker[:4])

    async def judge(self, common: Engine, now: float) -> bool:
        """Recompute the common engine for the deployments that are served now."""
        runtime = self._runtime
        await runtime.take_new_settings()
        rule = runtime.settings.rule()
        if rule != self._rule:
            self._rule = common.rule = rule
        return await runtime.recompute_timed(lambda: runtime.roster_sync.recompute(common))

    async def judge_alone(self, now: float) -> None:
        """Recompute from this process's own samples, after the last published result."""
        engine = self._runtime.engine
        engine.share_probes(ProbeShare())  # its snapshots' budgets come from its own traffic
        remembered, self._remembered = self._remembered, {}
        for model_group, deployments in remembered.items():
            engine.load({model_group: deployments})
            await asyncio.sleep(0)
        await self._runtime.recompute_timed()

    async def adopt(self, publication: Publication) -> None:
        """Put a published result in force here, with this process's share of its budgets."""
        runtime, workers = self._runtime, publication.workers
        await runtime.take_new_settings()
        self._remembered = publication.remembered
        place = workers.index(self.worker) if self.worker in workers else -1
        runtime.engine.share_probes(ProbeShare(place, max(1, len(workers))))
        runtime.engine.adopt(publication.snapshot, {})
        await runtime.roster_sync.refresh(runtime.engine)

    async def announce(self, common: Engine) -> None:
        """Log and record the changes, once for all replicas."""
        self._runtime.announce(common)

    def exchange_unavailable(self, error: ExchangeError) -> None:
        """Count an unavailable exchange, and log it once a minute.

        A store logs its own failure, once. A lost lease is no fault: another worker took over from one that was
        delayed.
        """
        if isinstance(error, LostLeaseError):
            logger.info("%s: the shared verdicts are left to it", error)
        elif not isinstance(error.__cause__, StoreError):
            self.faults.report("sharing", error)

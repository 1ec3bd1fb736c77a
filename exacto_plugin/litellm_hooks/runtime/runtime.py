"""One process's plugin: settings, engine, evaluator, telemetry, recompute timer."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import weakref
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.engine.locked import LockedEngine
from exacto_plugin.core.routing.affinity import ConversationMap
from exacto_plugin.core.routing.caller_preferences import CallerPreferences
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.flaws import FlawCounts
from exacto_plugin.core.windows.token_usage import TokenUsage
from exacto_plugin.core.windows.windows import Retention
from exacto_plugin.litellm_hooks.background import LoopThread, PeriodicJobs
from exacto_plugin.litellm_hooks.context import installation_salt, salt_is_shared
from exacto_plugin.litellm_hooks.deployments.fallbacks import fallback_targets, rewrite_fallbacks
from exacto_plugin.litellm_hooks.deployments.model_names import name_resolver
from exacto_plugin.litellm_hooks.deployments.routers import RosterSync
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.features import Features, litellm_version
from exacto_plugin.litellm_hooks.request.state import SYNC
from exacto_plugin.litellm_hooks.runtime.direct_calls import DirectCalls
from exacto_plugin.litellm_hooks.runtime.overrides import OverrideService
from exacto_plugin.litellm_hooks.runtime.recorder import Recorder
from exacto_plugin.litellm_hooks.runtime.replication import Replication
from exacto_plugin.litellm_hooks.runtime.samples import ObservedMetricsJob
from exacto_plugin.litellm_hooks.runtime.settings_reload import SettingsReload
from exacto_plugin.store.overrides import StoreOverrides
from exacto_plugin.store.pruning import Pruning
from exacto_plugin.store.sample_log import SampleLog, sample_log
from exacto_plugin.store.store import Store
from exacto_plugin.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from opentelemetry.metrics import MeterProvider

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Candidate, Sample
    from exacto_plugin.core.scoring.attribution import Attribution
    from exacto_plugin.record_kinds import RecordKind
    from exacto_plugin.store.location import StoreLocation

logger = logging.getLogger("exacto_plugin")

_REMEDY = "use a LiteLLM version that the plugin was tried with (README, Limits), or a newer release of exacto-plugin"

_FALLBACK_LISTS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


def _team_name(deployment: Mapping[str, Any]) -> object:
    return (deployment.get("model_info") or {}).get("team_public_model_name")


def _id(deployment: Mapping[str, Any]) -> object:
    return (deployment.get("model_info") or {}).get("id")


class Runtime:
    """The objects that all hooks share.

    On the proxy all methods run on the event loop that serves requests; in programs the timer has a loop and a thread
    of its own, and requests come from any of the program's threads.

    Args:
        settings: the validated settings.
        clock: UTC seconds; injected by tests.
        reload_settings: called every two seconds and before each recompute; returns new settings when they changed.
        meter_provider: of the instruments; OpenTelemetry's global provider when omitted.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        reload_settings: Callable[[], Settings | None] = lambda: None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.settings_reload = SettingsReload(self, reload_settings)
        self.salt = installation_salt()
        self.salt_is_shared = salt_is_shared()
        self.engine = LockedEngine(settings.rule(), timer=time.monotonic, instance=secrets.token_hex(2))
        self.conversations = ConversationMap()
        self.caller_preferences = CallerPreferences()
        self.evaluator = Evaluator(settings.scoring.engine, settings.empty_arguments)
        self.token_use = TokenUsage()
        self.faults = FaultReporter(lambda stage: self.telemetry.fault(stage))
        self.features = Features(litellm_version(), _REMEDY)
        self.providers: dict[str, str] = {}
        """Deployment key -> provider, for metrics."""
        self.flaws = FlawCounts()
        self._proxy_router: Callable[[], Any] | None = None
        # Replaced, never changed in place: metrics are read in threads of their own.
        self._attached: tuple[weakref.ref[Any], ...] = ()
        self._registered: weakref.ref[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.loop_thread = LoopThread(self._serve_timer)
        """The loop of the timer outside of a proxy."""
        self.closed = False
        """True at the end: events of calls that were in progress may still follow."""
        self.shutting_down = False
        """True when the process begins to end: nothing is started any more."""
        self._attached_only = False
        self.direct_calls = DirectCalls(Retention().span_s)
        self.roster_sync = RosterSync(self)
        self.replication = Replication(self)
        self.overrides = OverrideService(self)
        self.periodic_jobs = PeriodicJobs()
        self.observed = ObservedMetricsJob(self)
        self.periodic_jobs.steps += [self.overrides.poll, self.take_new_settings, self.observed.run_due]
        self.recorder = Recorder(self)
        self.periodic_jobs.steps.append(self.recorder.flush_due)
        self.store = Store(None)
        self.sample_log: SampleLog | None = None
        # Last: from here on metrics may be read, in any thread.
        self.telemetry = Telemetry(self, meter_provider)

    def open_store(self, place: StoreLocation) -> None:
        """Store records, and the state for the next start, from now on."""
        guarded, telemetry = self.faults.guard, self.telemetry

        def count(kind: RecordKind, number: int, error: str | None) -> None:
            guarded("telemetry", lambda: telemetry.records(kind, number, error), None)

        self.store = Store(place, count, lambda error: self.faults.report("store", error))
        self.store.add_periodic_job(Pruning(lambda kind: self.settings.store.days(kind), self.clock).step)
        self.store.open()
        self.recorder.begin(self.store.write)
        self.overrides.add_backend(StoreOverrides(self.store, self.clock))
        self.settings_reload.begin()

    def open_sample_log(self) -> None:
        """Log every sample from now on, if the settings require it."""
        self.sample_log = sample_log(self.settings.store, lambda error: self.faults.report("store", error))

    # --- routers ---------------------------------------------------------------------------------------------------

    def set_router_source(self, current: Callable[[], Any]) -> None:
        """Use the router of LiteLLM's proxy, which has one at a time and may replace it.

        No other router of the process counts then: callers can make LiteLLM build one for a single request.
        """
        self._proxy_router = current

    def attach(self, router: Any) -> None:
        """Serve this router, and from now on attached routers only."""
        self._attached_only = True
        if router not in self.routers:
            self._attached = (weakref.ref(router), *(known for known in self._attached if known() is not None))

    def detach(self, router: Any) -> None:
        """Stop serving this router."""
        self._attached = tuple(known for known in self._attached if known() not in (None, router))

    def serves(self, router: Any) -> bool:
        """Return whether tiers apply to a router: to all unless some are attached."""
        return not self._attached_only or any(known() is router for known in self._attached)

    def add_router(self, router: Any) -> None:
        """Register a router: its deployments are the peers of their model groups."""
        if self._attached_only:
            return
        if router is None or self._proxy_router is not None or router in self.routers:
            return
        self._attached = (weakref.ref(router), *(known for known in self._attached if known() is not None))

    def register_router(self, router: Any) -> None:
        """Prepare a new router; cheap for the one that was used last."""
        if router is None or (self._registered is not None and self._registered() is router):
            return
        self._registered = weakref.ref(router)
        self.add_router(router)
        self.prepare_router(router)

    @property
    def routers(self) -> Sequence[Any]:
        """The live routers, newest first."""
        if self._proxy_router is not None:
            current = self._proxy_router()
            return () if current is None else (current,)
        return tuple(router for known in self._attached if (router := known()) is not None)

    def prepare_router(self, router: Any) -> None:
        """Resolve configured fallbacks with suffixes; lists that are resolved stay as is."""
        for name in _FALLBACK_LISTS:
            configured = getattr(router, name, None)
            if isinstance(configured, list) and configured:
                rewritten = rewrite_fallbacks(configured, name_resolver(router))
                if rewritten is not configured:
                    setattr(router, name, rewritten)

    def deployments_of(self, model_group: str) -> list[Any]:
        """Return all configured deployments of a model group, teams' own included."""
        return self.routing_for(model_group)[1]

    def routing_for(self, model_group: str) -> tuple[Any, list[Any]]:
        """Return the router and the deployments of a model group, or None and none."""
        for router in self.routers:
            found = list(router.get_model_list(model_name=model_group) or ())
            if found and model_group not in router.model_names:
                # Wildcard deployments have the requested name here, and the pattern's name in requests.
                wild = {_id(one): one for one in router.pattern_router.get_deployments_by_pattern(model=model_group)}
                found = [wild.get(_id(one), one) for one in found]
            if model_group in router.team_public_model_names:
                found += [one for one in router.model_list if _team_name(one) == model_group and one not in found]
            if found:
                return router, found
        return None, []

    def falls_back_to(self, model_group: str) -> bool:
        """Return whether a configured fallback of any model leads to this one."""
        return model_group in fallback_targets(self.configured_fallbacks())

    def configured_fallbacks(self) -> Iterator[Any]:
        """Yield the entries of all configured fallback lists, in LiteLLM's forms."""
        for router in self.routers:
            for name in _FALLBACK_LISTS:
                yield from getattr(router, name, None) or ()

    def knows_group(self, model_group: str) -> bool:
        """Return whether the name is configured (wildcards match invented names too)."""
        return any(model_group in router.model_names for router in self.routers) or bool(
            self.direct_calls.of(model_group)
        )

    async def cooldown_s(self, litellm_ids: list[str]) -> float | None:
        """Return seconds until the first of these leaves its cooldown; None without any."""
        for router in self.routers:
            if SYNC.get():  # a synchronous caller cannot wait for it
                cooling = router.cooldown_cache.get_active_cooldowns(litellm_ids, parent_otel_span=None)
            else:
                cooling = await router.cooldown_cache.async_get_active_cooldowns(litellm_ids, parent_otel_span=None)
            left_s = [value["timestamp"] + value["cooldown_time"] - self.clock() for _, value in cooling]
            if left_s:
                return float(min(left_s))
        return None

    # --- samples and recompute -------------------------------------------------------------------------------------

    def record(self, sample: Sample, candidate: Candidate) -> None:
        """Append one sample."""
        self.providers[candidate.key] = candidate.provider
        with self.engine.lock:  # answers of synchronous calls arrive in threads
            self.token_use.add(sample)
            if self.sample_log is not None:
                self.sample_log.sample(sample)
            self.engine.record(sample)
            self.observed.add(sample)  # last: it affects nothing

    def note_flaws(self, attribution: Attribution, model_group: str, candidate: Candidate) -> None:
        """Count the flaws of one answer, whether or not it counts for tiers."""
        if attribution.flaws:
            with self.engine.lock:
                self.flaws.add(model_group, candidate.key, attribution.flaws)
            self.telemetry.flaws(model_group, candidate, attribution.flaws)

    def record_direct_call(self, sample: Sample) -> None:
        """Register a direct call's deployment unless routers serve a model of that name."""
        if self._proxy_router is None and not self.deployments_of(sample.model_group):
            self.direct_calls.add(sample.model_group, sample.deployment, sample.at)

    def ensure_ticking(self) -> None:
        """Start the recompute timer unless it is running or this is closed; cheap."""
        if self.closed or self.shutting_down:
            return
        if self._proxy_router is not None:
            self.ensure_started()
        else:
            self.loop_thread.ensure_started()

    async def _serve_timer(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.periodic_jobs.begin()
        await self._recompute_forever()

    def ensure_started(self) -> None:
        """Start the recompute timer on the running loop; cheap when it is running.

        A timer ends with a loop that is closed or stopped; the next loop starts its own.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self.shutting_down:
            return
        if self._task is not None and not self._task.done() and (self._loop is loop or _runs(self._loop)):
            return
        self._loop = loop
        self._task = loop.create_task(self._recompute_forever(), name="exacto-recompute")
        self.periodic_jobs.begin()

    async def _recompute_forever(self) -> None:
        await self.replication.serve(lambda: self._task is asyncio.current_task())

    async def recompute_timed(self, recompute: Callable[[], Awaitable[bool]] | None = None) -> bool:
        """Run a recompute, by default of own samples; failures are counted, not raised."""
        started = time.perf_counter()
        error: Exception | None = None
        done = False
        try:
            done = await (recompute or self.recompute)()
        except Exception as caught:  # the timer must survive any error of a recompute
            error = caught
            self.faults.report("recompute", caught)
        took_s = time.perf_counter() - started
        self.faults.guard("telemetry", lambda: self.telemetry.recomputed(took_s, error), None)
        return done

    async def recompute(self) -> bool:
        """Recompute from this process's samples, in slices that never block the loop long."""
        await self.take_new_settings()
        done = await self.roster_sync.recompute(self.engine)
        if done:
            self.announce(self.engine)
        return done

    def announce(self, engine: Engine) -> None:
        """Log and count the changes of an engine's last recompute."""
        for transition in engine.transitions:
            logger.info(
                "%s: %s is now %s (was %s)",
                transition.model_group,
                transition.deployment,
                transition.tier,
                transition.previous,
            )
            self.telemetry.transition(transition)
        self.faults.guard("record", lambda: self.recorder.record_recompute(engine), None)

    async def take_new_settings(self) -> None:
        """Apply settings that changed while the process runs; reads files in a thread."""
        await asyncio.to_thread(self.faults.guard, "settings", self._take_new_settings, None)

    def _take_new_settings(self) -> None:
        self.settings_reload.apply_changes()

    async def aclose(self) -> None:
        """Stop the timer on any loop."""
        await asyncio.to_thread(self.loop_thread.stop)
        await self.periodic_jobs.aclose()
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _runs(loop: asyncio.AbstractEventLoop | None) -> bool:
    return loop is not None and not loop.is_closed() and loop.is_running()

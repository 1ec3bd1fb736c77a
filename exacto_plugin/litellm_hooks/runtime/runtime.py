"""The composition root: builds the parts of one process's plugin."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

from exacto_plugin.benchmark_scores.source import BenchmarkSource
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.routing.affinity import ConversationMap
from exacto_plugin.core.routing.caller_preferences import CallerPreferences
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.litellm_hooks.background import PeriodicJobs
from exacto_plugin.litellm_hooks.context import Context, installation_salt, salt_is_shared
from exacto_plugin.litellm_hooks.deployments.routers import Routers
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.features import REMEDY, AnswerCoverage, Features, litellm_version
from exacto_plugin.litellm_hooks.runtime.exchange_sources import RedisExchangeSource, StoreExchangeSource
from exacto_plugin.litellm_hooks.runtime.metrics_source import MetricsSource
from exacto_plugin.litellm_hooks.runtime.mirror_files import MirrorFiles
from exacto_plugin.litellm_hooks.runtime.observed import ObservedMetricsJob, ObservedNumbers
from exacto_plugin.litellm_hooks.runtime.overrides import OverrideService
from exacto_plugin.litellm_hooks.runtime.providers import Providers
from exacto_plugin.litellm_hooks.runtime.recompute import Recomputer
from exacto_plugin.litellm_hooks.runtime.recorder import Recorder
from exacto_plugin.litellm_hooks.runtime.replication import Replication
from exacto_plugin.litellm_hooks.runtime.roster_sync import RosterSync
from exacto_plugin.litellm_hooks.runtime.samples import SampleSink
from exacto_plugin.litellm_hooks.runtime.settings_reload import SettingsReload
from exacto_plugin.litellm_hooks.runtime.shutdown import Shutdown
from exacto_plugin.litellm_hooks.runtime.timer import RecomputeTimer
from exacto_plugin.store.overrides import StoreOverrides
from exacto_plugin.store.pruning import Pruning
from exacto_plugin.store.sample_log import sample_log
from exacto_plugin.store.store import Store
from exacto_plugin.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.records import RecordKind
    from exacto_plugin.store.location import StoreLocation
    from exacto_plugin.telemetry.prometheus import PrometheusMirror


class Runtime:
    """The parts of one process's plugin, for the entry points and the API.

    Args:
        settings: the validated settings.
        clock: UTC seconds; injected by tests.
        reload_settings: called every two seconds and before each recompute; returns new settings when they changed.
        meter_provider: of the instruments; OpenTelemetry's global provider when omitted.
        place: of the records, and of the state for the next start; None stores nothing.
        logs_samples: True to log every sample where the settings require it.
        mirror: of the metrics, for LiteLLM's ``/metrics``; None where it serves none.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        reload_settings: Callable[[], Settings | None] = lambda: None,
        meter_provider: MeterProvider | None = None,
        place: StoreLocation | None = None,
        *,
        logs_samples: bool = False,
        mirror: PrometheusMirror | None = None,
    ) -> None:
        self.routers = Routers(clock)
        self.engine = self._new_engine(settings.rule(), secrets.token_hex(2))
        self.providers = Providers()
        self.observed = ObservedNumbers(clock, self.engine.lock)
        self.context = self._new_context(settings, clock, meter_provider, mirror)
        self.store = _new_store(self.context, place)
        self.conversations = ConversationMap()
        self.caller_preferences = CallerPreferences()
        replica_name, worker = secrets.token_hex(8), secrets.token_hex(4)
        self.recorder = Recorder(self.context, self.providers, worker)
        self.overrides = OverrideService(self.context, self.engine, self.routers)
        self.settings_reload = SettingsReload(self.context, self.engine, reload_settings, self.store.write, worker)
        self.observed_job = ObservedMetricsJob(clock, self.context.faults, self.observed, self.store.write, worker)
        self.mirror_files = MirrorFiles(mirror, clock, self.context.faults)
        self.samples = self._new_samples(logs_samples=logs_samples)
        benchmarks = BenchmarkSource(self.store, clock, lambda: self.context.settings.benchmarks.reference)
        self.roster_sync = RosterSync(
            self.context, self.routers, self.engine, self.samples, self.providers, self.recorder, benchmarks
        )
        self.recomputer = Recomputer(self.context, self.engine, self.settings_reload, self.roster_sync, self.recorder)
        self.replication = self._new_replication(replica_name)
        self.periodic_jobs = PeriodicJobs()
        self.timer = RecomputeTimer(self.context, self.routers, self.replication, self.periodic_jobs)
        self.shutdown = Shutdown(self.context.faults, self.timer, self.recorder, self.store, self.samples.log)
        self._add_jobs()
        if place is not None:
            self._begin_records()

    def _new_engine(self, rule: Preset, name: str) -> Engine:
        """Return an engine that events of several threads may reach."""
        lock, is_configured = threading.RLock(), self.routers.is_configured
        return Engine(rule, timer=time.monotonic, instance=name, lock=lock, is_configured=is_configured)

    def _new_context(
        self,
        settings: Settings,
        clock: Callable[[], float],
        meter_provider: MeterProvider | None,
        mirror: PrometheusMirror | None,
    ) -> Context:
        faults, features = FaultReporter(), Features(litellm_version(), REMEDY)
        self.metrics = MetricsSource(self.engine, faults, self.observed, clock, self.providers, self.routers, features)
        evaluator = Evaluator(settings.scoring.engine, settings.empty_arguments)
        telemetry = Telemetry(self.metrics, meter_provider, mirror)
        salt, shared = installation_salt(), salt_is_shared()
        coverage = AnswerCoverage(features, telemetry.answer)
        context = Context(settings, evaluator, clock, salt, shared, faults, features, telemetry, coverage)
        faults.count = lambda stage: context.telemetry.fault(stage)
        return context

    def _new_samples(self, *, logs_samples: bool) -> SampleSink:
        context, log = self.context, None
        if logs_samples:
            log = sample_log(context.settings.store, lambda error: context.faults.report("store", error))
        return SampleSink(context, self.routers, self.engine, self.engine.lock, self.observed, self.providers, log)

    def _new_replication(self, name: str) -> Replication:
        redis, store = (
            RedisExchangeSource(self.context, self.routers, self.overrides),
            StoreExchangeSource(self.context, self.store),
        )
        return Replication(
            self.context,
            self.engine,
            self.recomputer,
            self.roster_sync,
            self.settings_reload,
            redis,
            store,
            self._new_engine,
            name,
        )

    def _add_jobs(self) -> None:
        self.periodic_jobs.steps += [
            self.overrides.poll,
            self.settings_reload.take_changes,
            self.observed_job.run_due,
            self.recorder.flush_due,
            self.mirror_files.run_due,
        ]

    def _begin_records(self) -> None:
        self.recorder.begin(self.store.write)
        self.overrides.add_backend(StoreOverrides(self.store, self.context.clock))
        self.settings_reload.begin()


def _new_store(context: Context, place: StoreLocation | None) -> Store:
    """Return the store of this process, opened; one without a place stores nothing."""
    if place is None:
        return Store(None)

    def count(kind: RecordKind, number: int, error: str | None) -> None:
        context.faults.guard("telemetry", lambda: context.telemetry.records(kind, number, error), None)

    store = Store(place, count, lambda error: context.faults.report("store", error))
    store.add_periodic_job(Pruning(lambda kind: context.settings.store.days(kind), context.clock).step)
    store.open()
    return store

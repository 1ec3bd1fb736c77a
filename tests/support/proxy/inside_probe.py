"""Runs inside a proxy under test: metrics that can be scraped, our log in a file of its own, faults on demand.

Loaded by ``LITELLM_WORKER_STARTUP_HOOKS=tests.support.proxy.inside_probe:install``, before LiteLLM reads its
configuration. The other half, which the tests use, is :mod:`tests.support.proxy.observation`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS_PORT = "PROBE_METRICS_PORT"
OWN_LOG = "PROBE_OWN_LOG"
FAULTS = "PROBE_FAULTS"

STEPS = (
    "exacto_plugin.litellm_hooks.http.middleware:ExactoMiddleware._rewrite",
    "exacto_plugin.litellm_hooks.http.middleware:ExactoMiddleware._rewrite_path",
    "exacto_plugin.litellm_hooks.http.responder:Responder._add_headers",
    "exacto_plugin.litellm_hooks.http.responder:Responder._refused",
    "exacto_plugin.litellm_hooks.http.middleware:_response_name",
    "exacto_plugin.litellm_hooks.http.middleware:is_json",
    "exacto_plugin.litellm_hooks.http.middleware:listed_names",
    "exacto_plugin.litellm_hooks.http.middleware:take_header",
    "exacto_plugin.core.routing.caller_preferences:CallerPreferences.record_call",
    "exacto_plugin.core.engine.engine:Engine.decide",
    "exacto_plugin.core.engine.engine:Engine.busy",
    "exacto_plugin.core.engine.engine:Engine.note_attempt",
    "exacto_plugin.core.engine.engine:Engine.record",
    "exacto_plugin.core.scoring.evaluator:Evaluator.evaluate_all",
    "exacto_plugin.litellm_hooks.routing.affinity:ConversationAffinity.note_answer",
    "exacto_plugin.litellm_hooks.routing.affinity:ConversationAffinity.note_decision",
    "exacto_plugin.litellm_hooks.routing.affinity:ConversationAffinity.locate",
    "exacto_plugin.litellm_hooks.routing.affinity:ConversationAffinity.require_available",
    "exacto_plugin.litellm_hooks.routing.affinity:ConversationAffinity.look_up",
    "exacto_plugin.litellm_hooks.routing.affinity:ConversationAffinity.note_attempt",
    "exacto_plugin.litellm_hooks.routing.affinity:ConversationAffinity.identify",
    "exacto_plugin.litellm_hooks.request.key_aliases:KeyAliases._aliases",
    "exacto_plugin.litellm_hooks.http.auth_check:AuthenticatedRequestCheck._check",
    "exacto_plugin.litellm_hooks.routing.failover:Failover.should_retry",
    "exacto_plugin.litellm_hooks.routing.failover:Failover.start_series",
    "exacto_plugin.litellm_hooks.deployments.candidates:CandidateCache.all",
    "exacto_plugin.litellm_hooks.routing.final_check:FinalCheck._passes",
    "exacto_plugin.litellm_hooks.runtime.overrides:OverrideService.poll",
    "exacto_plugin.litellm_hooks.runtime.replication:Replication._find",
    "exacto_plugin.litellm_hooks.rescue.rescue:AnswerRescue._retry_elsewhere",
    "exacto_plugin.litellm_hooks.rescue.assessment:AnswerAssessment.quality",
    "exacto_plugin.litellm_hooks.rescue.chat:ChatBuffer.answer",
    "exacto_plugin.litellm_hooks.rescue.chat:ChatBuffer.feed",
    "exacto_plugin.litellm_hooks.rescue.messages:MessagesBuffer.feed",
    "exacto_plugin.litellm_hooks.rescue.responses:ResponsesBuffer.feed",
    "exacto_plugin.litellm_hooks.routing.router:Routing.filter",
    "exacto_plugin.litellm_hooks.routing.router:Routing.select_pool",
    "exacto_plugin.litellm_hooks.routing.router:Routing.record_attempt",
    "exacto_plugin.litellm_hooks.routing.router:Routing.state_for",
    "exacto_plugin.litellm_hooks.runtime.settings_reload:SettingsReload.apply_changes",
    "exacto_plugin.litellm_hooks.runtime.timer:RecomputeTimer.ensure_started",
    "exacto_plugin.litellm_hooks.deployments.routers:Routers.register",
    "exacto_plugin.litellm_hooks.deployments.routers:Routers.knows_group",
    "exacto_plugin.litellm_hooks.deployments.routers:Routers.prepare",
    "exacto_plugin.litellm_hooks.runtime.samples:SampleSink.record",
    "exacto_plugin.litellm_hooks.scoring.scorer:ResponseScorer.record_answer",
    "exacto_plugin.litellm_hooks.scoring.scorer:ResponseScorer.record_failure",
    "exacto_plugin.litellm_hooks.runtime.roster_sync:RosterSync.recompute",
    "exacto_plugin.litellm_hooks.runtime.recorder:Recorder.record_answer",
    "exacto_plugin.litellm_hooks.runtime.recorder:Recorder.record_decision",
    "exacto_plugin.litellm_hooks.runtime.recorder:Recorder.record_end",
    "exacto_plugin.litellm_hooks.runtime.recorder:Recorder.flush",
    "exacto_plugin.litellm_hooks.runtime.recorder:Recorder.record_recompute",
    "exacto_plugin.litellm_hooks.runtime.recorder:Recorder.record_rescue",
    "exacto_plugin.telemetry.gauges:SnapshotGauges._tiers",
    "exacto_plugin.telemetry.instruments:Telemetry.attempt",
    "exacto_plugin.telemetry.instruments:Telemetry.decision",
    "exacto_plugin.telemetry.instruments:Telemetry.evaluations",
    "exacto_plugin.telemetry.instruments:Telemetry.fault",
    "exacto_plugin.telemetry.instruments:Telemetry.recomputed",
    "exacto_plugin.telemetry.instruments:Telemetry.request",
    "exacto_plugin.telemetry.instruments:Telemetry.rescue",
)
"""Inner steps that can be made to fail; the callback's hooks are found by themselves, see ``hooks``."""


class InjectedError(Exception):
    """Raised where a test said so."""


def hooks() -> list[str]:
    """Names of the callback's own hooks, ``hook:async_log_success_event`` and so on."""
    from exacto_plugin.litellm_hooks.callback import ExactoCallback

    return [f"hook:{name}" for name, value in vars(ExactoCallback).items() if name.startswith("async_")]


def install() -> None:
    """Do whatever the environment asks for."""
    if port := os.environ.get(METRICS_PORT):
        metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
        start_http_server(int(port), addr="127.0.0.1")
    if log := os.environ.get(OWN_LOG):
        handler = logging.FileHandler(log)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        own = logging.getLogger("exacto_plugin")
        own.addHandler(handler)
        own.setLevel(logging.DEBUG)
    if control := os.environ.get(FAULTS):
        failing = Failing(Path(control))
        for name in hooks():
            _break_hook(name, failing)
        for name in STEPS:
            _break_step(name, failing)


class Failing:
    """What is to fail now: a JSON object of step to message, read again whenever the file changed."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._stamp = 0
        self._steps: dict[str, str] = {}

    def check(self, step: str) -> None:
        """Raise when ``step`` is to fail."""
        stamp = self._control.stat().st_mtime_ns
        if stamp != self._stamp:
            self._stamp, self._steps = stamp, json.loads(self._control.read_text())
        if step in self._steps:
            raise InjectedError(self._steps[step])


def _broken(original: Callable[..., Any], name: str, failing: Failing) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            failing.check(name)
            return await original(*args, **kwargs)

        return awaited

    @functools.wraps(original)
    def called(*args: Any, **kwargs: Any) -> Any:
        failing.check(name)
        return original(*args, **kwargs)

    return called


def _break_step(name: str, failing: Failing) -> None:
    module, _, path = name.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, last = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    _break(owner, last, name, failing)


def _break_hook(name: str, failing: Failing) -> None:
    from exacto_plugin.litellm_hooks.callback import ExactoCallback

    _break(ExactoCallback, name.removeprefix("hook:"), name, failing)


def _break(owner: Any, last: str, name: str, failing: Failing) -> None:
    """Make a function fail; of one with a guard the body inside it, which the guard holds in its closure."""
    value = vars(owner)[last]
    body = getattr(value, "__wrapped__", None)
    for cell in getattr(value, "__closure__", None) or ():
        if body is not None and cell.cell_contents is body:
            cell.cell_contents = _broken(body, name, failing)
            return
    broken: Any = _broken(getattr(owner, last), name, failing)
    setattr(owner, last, staticmethod(broken) if isinstance(value, staticmethod) else broken)

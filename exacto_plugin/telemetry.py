"""OpenTelemetry instruments: names, units, buckets, the closed set of attributes.

Uses the API only and never sets a global provider; with no provider every instrument is a no-op. Attributes hold model
groups, deployments and providers that the operator configured, never a tool name, a key or a user.
"""

from __future__ import annotations

import importlib.metadata
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from exacto_plugin.core.model import Candidate, Decision, Flaw, GroupSnapshot, Signal, Tier, Transition, Verdict
from exacto_plugin.core.scoring.flaws import BLAME
from exacto_plugin.core.wire import to_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.scoring.evaluation import Evaluation
    from exacto_plugin.core.windows.observed import Observed
    from exacto_plugin.record_kinds import RecordKind

R = TypeVar("R")

GROUP = "exacto.model_group"
DEPLOYMENT = "exacto.deployment.id"
PROVIDER = "gen_ai.provider.name"
TIER = "exacto.tier"
PREVIOUS_TIER = "exacto.tier.previous"
SIGNAL = "exacto.signal"
TOOL_CALL_OUTCOME = "exacto.tool_call.outcome"
FLAW = "exacto.answer.flaw"
BLAMED_SIDE = "exacto.blame"
REQUEST_OUTCOME = "exacto.request.outcome"
ROUTING_OUTCOME = "exacto.routing.outcome"
ROUTING_REASON = "exacto.routing.reason"
STAGE = "exacto.plugin.stage"
AUDIT_KIND = "exacto.audit.kind"
RESCUE_OUTCOME = "exacto.rescue.outcome"
ERROR_TYPE = "error.type"

ATTRIBUTES = frozenset(
    {GROUP, DEPLOYMENT, PROVIDER, TIER, PREVIOUS_TIER, SIGNAL, TOOL_CALL_OUTCOME, REQUEST_OUTCOME}
    | {FLAW, BLAMED_SIDE, ROUTING_OUTCOME, ROUTING_REASON, RESCUE_OUTCOME, STAGE, AUDIT_KIND, ERROR_TYPE}
)
"""Every attribute.

Never a key, user, tool name, model string of a request, schema path or trace id.
"""

OTHER = "_other"
"""Stands for a model group that no operator configured.

Under a wildcard callers choose the name, and they must not be able to grow the number of series.
"""
OTHER_ERROR = "_OTHER"
"""OpenTelemetry's own value of ``error.type`` for any other error."""

ROUTING_BUCKETS_S = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 1e-1)
RESCUE_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
RECOMPUTE_BUCKETS_S = (1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 5e-1, 1.0, 2.5)

_SIGNAL_INSTRUMENTS = {
    Signal.THROUGHPUT: ("throughput", "{token}/s"),
    Signal.TOOL_CALL_SUCCESS: ("tool_call_success", "1"),
    Signal.BENCHMARK: ("benchmark_score", "1"),
}
_OBSERVED_INSTRUMENTS: Mapping[str, tuple[str, str, Callable[[Observed], float | None]]] = {
    "token_burn": ("1", "Output tokens beyond the median of comparable requests.", lambda one: one.token_burn),
    "queue_time": ("s", "Time to the first token beyond the deployment's own.", lambda one: one.queue_s),
    "throughput_spread": ("1", "Standard deviation of the logarithm of speed.", lambda one: one.throughput_spread),
}
_ERROR_CLASSES = {
    400: "bad_request", 401: "authentication", 402: "payment_required", 403: "permission_denied", 404: "not_found",
    408: "timeout", 413: "bad_request", 422: "bad_request", 429: "rate_limit",
}  # fmt: skip
ERROR_TYPES = frozenset({*_ERROR_CLASSES.values(), "server_error", "broken_stream", OTHER_ERROR})
"""The names of a failed attempt's error."""


def error_type(error: BaseException | None, otherwise: str = OTHER_ERROR) -> str:
    """Return the low-cardinality name of a failure, one of ``ERROR_TYPES``.

    Args:
        error: None stands for a failure of unknown reason.
        otherwise: the name of an error without a status.
    """
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _ERROR_CLASSES.get(status, "server_error" if status >= 500 else otherwise)
    return "timeout" if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__ else otherwise


class Guard(Protocol):
    """Counts and logs faults of the plugin."""

    def guard(self, stage: str, action: Callable[[], R], otherwise: R) -> R:
        """``action()``, or ``otherwise`` when it fails."""


class LatestObserved(Protocol):
    """The newest observed metrics by model group and deployment; replaced as a whole."""

    latest: Mapping[tuple[str, str], Observed]


class TelemetrySource(Protocol):
    """The values that the instruments read; the runtime provides them."""

    @property
    def engine(self) -> Engine:
        """Its snapshot has the verdicts."""

    @property
    def faults(self) -> Guard:
        """Guards the collection of metrics."""

    @property
    def observed(self) -> LatestObserved:
        """Metrics that no tier follows from."""

    @property
    def providers(self) -> Mapping[str, str]:
        """Deployment key -> provider."""

    def clock(self) -> float:
        """UTC seconds."""

    def knows_group(self, model_group: str) -> bool:
        """Return True if an operator configured this name."""


class Telemetry:
    """All instruments of one runtime.

    Args:
        runtime: source of the snapshot that observable instruments read.
        meter_provider: the provider to use; the global one when omitted, bound late.
    """

    def __init__(self, runtime: TelemetrySource, meter_provider: MeterProvider | None = None) -> None:
        self._runtime = runtime
        meter = metrics.get_meter("exacto_plugin", _package_version(), meter_provider)
        self._evaluations = meter.create_counter(
            "exacto.tool_call.evaluations", "{tool_call}", "Tool calls by verdict."
        )
        self._flaws = meter.create_counter("exacto.answer.flaws", "{answer}", "Answers with a flaw, by blame.")
        self._requests = meter.create_counter("exacto.requests", "{request}", "Answered requests by worst verdict.")
        self._attempts = meter.create_counter(
            "exacto.deployment.attempts", "{attempt}", "Attempts by tier of the deployment."
        )
        self._decisions = meter.create_counter("exacto.routing.decisions", "{decision}", "Routing decisions.")
        self._transitions = meter.create_counter("exacto.tier.transitions", "{transition}", "Changes of tier.")
        self._errors = meter.create_counter("exacto.plugin.errors", "{error}", "Faults of the plugin itself.")
        self._records = meter.create_counter("exacto.audit.records", "{record}", "Records kept, or lost.")
        self._rescues = meter.create_counter("exacto.rescues", "{rescue}", "Bad answers, by outcome of the rescue.")
        self._rescue_cost = meter.create_counter("exacto.rescue.cost", "USD", "Cost of answers that no client got.")
        self._rescue_duration = meter.create_histogram(
            "exacto.rescue.duration",
            "s",
            "Time that clients waited for another answer.",
            explicit_bucket_boundaries_advisory=RESCUE_BUCKETS_S,
        )
        self._routing_duration = meter.create_histogram(
            "exacto.routing.duration",
            "s",
            "Time the plugin takes to order deployments.",
            explicit_bucket_boundaries_advisory=ROUTING_BUCKETS_S,
        )
        self._recompute_duration = meter.create_histogram(
            "exacto.recompute.duration",
            "s",
            "Time one recompute takes.",
            explicit_bucket_boundaries_advisory=RECOMPUTE_BUCKETS_S,
        )
        self._observe(meter)

    # --- counted at each event -------------------------------------------------------------------------------------

    def evaluations(self, model_group: str, candidate: Candidate, evaluations: Sequence[Evaluation]) -> None:
        """Count each tool call's outcome."""
        attributes = self._deployment(model_group, candidate.key, candidate.provider)
        for evaluation in evaluations:
            self._evaluations.add(1, {**attributes, TOOL_CALL_OUTCOME: evaluation.outcome.value})

    def flaws(self, model_group: str, candidate: Candidate, flaws: Iterable[Flaw]) -> None:
        """Count each flaw of an answer by the party that such a flaw is attributed to.

        At most 13 series a deployment.
        """
        attributes = self._deployment(model_group, candidate.key, candidate.provider)
        for flaw in flaws:
            self._flaws.add(1, {**attributes, FLAW: flaw.value, BLAMED_SIDE: BLAME[flaw].value})

    def request(self, outcome: str) -> None:
        """Count an answered request."""
        self._requests.add(1, {REQUEST_OUTCOME: outcome})

    def attempt(self, model_group: str, tier: Tier | None, failure: str | None) -> None:
        """Count one attempt, with the ``error_type`` of its failure when it failed."""
        attributes = {GROUP: self._group(model_group), TIER: tier.value if tier is not None else "none"}
        if failure is not None:
            attributes[ERROR_TYPE] = failure
        self._attempts.add(1, attributes)

    def rescue(self, model_group: str, outcome: str, seconds: float, cost: float | None) -> None:
        """Count a bad answer that might be replaced.

        Args:
            model_group: of the deployment that gave it.
            outcome: rescued, in_vain (no other answer was usable), failed, too_late, or not_asked (no deployment was
                left).
            seconds: the time that the client waited for it.
            cost: USD of the answers that the client did not get; None when unknown or there is none.
        """
        attributes = {GROUP: self._group(model_group), RESCUE_OUTCOME: outcome}
        self._rescues.add(1, attributes)
        self._rescue_duration.record(seconds, attributes)
        if cost:
            self._rescue_cost.add(cost, {GROUP: attributes[GROUP]})

    def decision(self, model_group: str, decision: Decision, seconds: float) -> None:
        """Count a decision and record its duration."""
        if not decision.applied:
            outcome = "bypassed"
        else:
            outcome = "reordered" if len(decision.pool) < len(decision.ranking) else "unchanged"
        attributes = {GROUP: self._group(model_group), ROUTING_OUTCOME: outcome, ROUTING_REASON: decision.reason}
        self._decisions.add(1, attributes)
        self._routing_duration.record(seconds, {ROUTING_OUTCOME: outcome})

    def fallback_decision(self, model_group: str) -> None:
        """Count a decision that failed by a fault of the plugin: LiteLLM's choice applied."""
        attributes = {GROUP: self._group(model_group), ROUTING_OUTCOME: "error", ROUTING_REASON: "fault"}
        self._decisions.add(1, attributes)

    def transition(self, transition: Transition) -> None:
        """Count a change of tier."""
        provider = self._runtime.providers.get(transition.deployment, "")
        attributes = self._deployment(transition.model_group, transition.deployment, provider)
        change = {TIER: transition.tier.value, PREVIOUS_TIER: transition.previous.value}
        self._transitions.add(1, {**attributes, **change})

    def recomputed(self, seconds: float, error: BaseException | None) -> None:
        """Record one recompute's duration."""
        self._recompute_duration.record(seconds, {} if error is None else {ERROR_TYPE: type(error).__name__})

    def fault(self, stage: str) -> None:
        """Count a fault of the plugin."""
        self._errors.add(1, {STAGE: stage})

    def records(self, kind: RecordKind, number: int, error: str | None) -> None:
        """Count records that were written or, with the reason as ``error.type``, lost."""
        self._records.add(number, {AUDIT_KIND: kind.value} | ({} if error is None else {ERROR_TYPE: error}))

    # --- read from the snapshot when metrics are collected ---------------------------------------------------------

    def _observe(self, meter: Meter) -> None:
        meter.create_observable_up_down_counter(
            "exacto.deployment.tier", [self._safe(self._tiers)], "1", "1 for the tier a deployment is in, else 0."
        )
        meter.create_observable_up_down_counter(
            "exacto.window.sample.count", [self._safe(self._samples)], "{sample}", "Samples behind each signal."
        )
        meter.create_observable_gauge(
            "exacto.snapshot.age", [self._safe(self._ages)], "s", "Age of a model group's verdicts."
        )
        for name, (unit, told, number) in _OBSERVED_INSTRUMENTS.items():
            values = self._safe(partial(self._observed, number))
            meter.create_observable_gauge(f"exacto.observed.{name}", [values], unit, told)
        for signal, (name, unit) in _SIGNAL_INSTRUMENTS.items():
            values = self._safe(partial(self._signal, signal))
            meter.create_observable_gauge(f"exacto.signal.{name}", [values], unit, f"Measured {name}.")
            for part in ("median", "mad", "threshold"):
                values = self._safe(partial(self._reference, signal, part))
                meter.create_observable_gauge(
                    f"exacto.reference.{name}.{part}", [values], unit, f"{part} of the peers."
                )

    def _safe(self, observe: Callable[[], Iterator[Observation]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return ``observe`` as a callback that never raises.

        Metrics are read in threads of their own, while the event loop continues: the data read here are the snapshot,
        which is immutable, and mappings and tuples that are replaced as a whole.
        """

        def observed(_: CallbackOptions) -> Iterable[Observation]:
            return self._runtime.faults.guard("telemetry", lambda: list(observe()), [])

        return observed

    def _groups(self) -> Iterator[tuple[str, GroupSnapshot]]:
        for name, group in self._runtime.engine.snapshot.groups.items():
            if self._runtime.knows_group(name):
                yield name, group

    def _verdicts(self) -> Iterator[tuple[Mapping[str, str], Verdict]]:
        for name, group in self._groups():
            for key, verdict in group.verdicts.items():
                # Whether the group is known is not checked again: the router may change meanwhile.
                yield _labels(name, key, self._runtime.providers.get(key, "")), verdict

    def _tiers(self) -> Iterator[Observation]:
        for attributes, verdict in self._verdicts():
            for tier in Tier:
                yield Observation(int(tier is verdict.tier), {**attributes, TIER: tier.value})

    def _samples(self) -> Iterator[Observation]:
        for attributes, verdict in self._verdicts():
            for signal, value in verdict.signals.items():
                yield Observation(value.samples, {**attributes, SIGNAL: signal.value})

    def _ages(self) -> Iterator[Observation]:
        now = self._runtime.clock()
        for name, group in self._groups():
            yield Observation(max(0.0, now - group.at), {GROUP: name})

    def _signal(self, signal: Signal) -> Iterator[Observation]:
        for attributes, verdict in self._verdicts():
            value = verdict.signals.get(signal)
            if value is not None and value.value is not None:
                yield Observation(value.value, attributes)

    def _observed(self, number: Callable[[Observed], float | None]) -> Iterator[Observation]:
        for (group, key), numbers in self._runtime.observed.latest.items():
            value = number(numbers)
            if value is not None and self._runtime.knows_group(group):
                yield Observation(value, _labels(group, key, self._runtime.providers.get(key, "")))

    def _reference(self, signal: Signal, part: str) -> Iterator[Observation]:
        for name, group in self._groups():
            reference = group.references.get(signal)
            value = None if reference is None else to_wire(reference)[part]
            if value is not None:
                yield Observation(value, {GROUP: name})

    # --- attributes ------------------------------------------------------------------------------------------------

    def _group(self, model_group: str) -> str:
        return model_group if self._runtime.knows_group(model_group) else OTHER

    def _deployment(self, model_group: str, key: str, provider: str) -> dict[str, str]:
        group = self._group(model_group)
        return _labels(group, key if group != OTHER else OTHER, provider)


def _labels(group: str, key: str, provider: str) -> dict[str, str]:
    return {GROUP: group, DEPLOYMENT: key, PROVIDER: provider or OTHER}


def _package_version() -> str:
    try:
        return importlib.metadata.version("exacto-plugin")
    except importlib.metadata.PackageNotFoundError:
        return "0"

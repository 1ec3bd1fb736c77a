"""Instruments that count at each event, and the set of all instruments."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from opentelemetry import metrics

from exacto_plugin.core.scoring.flaws import BLAME
from exacto_plugin.telemetry.attributes import (
    AUDIT_KIND,
    BLAMED_SIDE,
    ERROR_TYPE,
    FLAW,
    GROUP,
    OTHER,
    PREVIOUS_TIER,
    REQUEST_OUTCOME,
    RESCUE_OUTCOME,
    ROUTING_OUTCOME,
    ROUTING_REASON,
    STAGE,
    SURFACE,
    TIER,
    TOOL_CALL_OUTCOME,
    deployment_attributes,
)
from exacto_plugin.telemetry.gauges import SnapshotGauges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.metrics import Counter, Meter, MeterProvider

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.model import Candidate, Flaw, Tier, Transition
    from exacto_plugin.core.scoring.evaluation import Evaluation
    from exacto_plugin.records import RecordKind
    from exacto_plugin.telemetry.gauges import TelemetrySource

ROUTING_BUCKETS_S = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 1e-1)
RESCUE_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
RECOMPUTE_BUCKETS_S = (1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 5e-1, 1.0, 2.5)


class Telemetry:
    """All instruments of one runtime.

    Args:
        source: has the snapshot that observable instruments read.
        meter_provider: the provider to use; the global one when omitted, bound late.
    """

    def __init__(self, source: TelemetrySource, meter_provider: MeterProvider | None = None) -> None:
        self._source = source
        meter = metrics.get_meter("exacto_plugin", _package_version(), meter_provider)
        self._evaluations = meter.create_counter(
            "exacto.tool_call.evaluations", "{tool_call}", "Tool calls by verdict."
        )
        self._flaws = meter.create_counter("exacto.answer.flaws", "{answer}", "Answers with a flaw, by blame.")
        self._requests = meter.create_counter("exacto.requests", "{request}", "Answered requests by worst verdict.")
        self._answers = _answer_counters(meter)
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
        self._gauges = SnapshotGauges(source, meter)

    # --- counted at each event -------------------------------------------------------------------------------------

    def evaluations(self, model_group: str, candidate: Candidate, evaluations: Sequence[Evaluation]) -> None:
        """Count each tool call's outcome."""
        attributes = self._attributes_of(model_group, candidate.key, candidate.provider)
        for evaluation in evaluations:
            self._evaluations.add(1, {**attributes, TOOL_CALL_OUTCOME: evaluation.outcome.value})

    def flaws(self, model_group: str, candidate: Candidate, flaws: Iterable[Flaw]) -> None:
        """Count each flaw of an answer by the party that such a flaw is attributed to.

        At most 13 series a deployment.
        """
        attributes = self._attributes_of(model_group, candidate.key, candidate.provider)
        for flaw in flaws:
            self._flaws.add(1, {**attributes, FLAW: flaw.value, BLAMED_SIDE: BLAME[flaw].value})

    def request(self, outcome: str) -> None:
        """Count an answered request."""
        self._requests.add(1, {REQUEST_OUTCOME: outcome})

    def answer(self, surface: str, scored: bool) -> None:
        """Count an answer with tools that was scored, or left for a client."""
        self._answers[scored].add(1, {SURFACE: surface})

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
        provider = self._source.providers.get(transition.deployment, "")
        attributes = self._attributes_of(transition.model_group, transition.deployment, provider)
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

    # --- attributes ------------------------------------------------------------------------------------------------

    def _group(self, model_group: str) -> str:
        return model_group if self._source.knows_group(model_group) else OTHER

    def _attributes_of(self, model_group: str, key: str, provider: str) -> dict[str, str]:
        group = self._group(model_group)
        return deployment_attributes(group, key if group != OTHER else OTHER, provider)


def _answer_counters(meter: Meter) -> dict[bool, Counter]:
    """Return the counters of answers with tools, by whether they were scored."""
    left = meter.create_counter("exacto.answers.left", "{answer}", "Answers with tools that left, by surface.")
    scored = meter.create_counter("exacto.answers.scored", "{answer}", "Answers with tools that were scored.")
    return {False: left, True: scored}


def _package_version() -> str:
    try:
        return importlib.metadata.version("exacto-plugin")
    except importlib.metadata.PackageNotFoundError:
        return "0"

"""Instruments that count at each event, and the set of all instruments."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from opentelemetry import metrics

from exacto_plugin.core.scoring.flaws import BLAME
from exacto_plugin.telemetry import table
from exacto_plugin.telemetry.attributes import (
    ALERT,
    AUDIT_KIND,
    BLAMED_SIDE,
    ERROR_TYPE,
    FLAW,
    GROUP,
    OTHER,
    REFUSED_BY,
    REQUEST_OUTCOME,
    RESCUE_OUTCOME,
    ROUTING_OUTCOME,
    ROUTING_REASON,
    STAGE,
    SURFACE,
    TIER,
    TOOL_CALL_OUTCOME,
    deployment_attributes,
    routing_outcome,
)
from exacto_plugin.telemetry.gauges import SnapshotGauges
from exacto_plugin.telemetry.meters import Meters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.metrics import MeterProvider

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.model import Candidate, Flaw, Tier, Transition
    from exacto_plugin.core.scoring.evaluation import Evaluation
    from exacto_plugin.records import RecordKind
    from exacto_plugin.telemetry.gauges import TelemetrySource
    from exacto_plugin.telemetry.prometheus import PrometheusMirror


class Telemetry:
    """All instruments of one runtime.

    Args:
        source: has the snapshot that observable instruments read.
        meter_provider: the provider to use; the global one when omitted, bound late.
        mirror: gets the same measurements; None where nothing serves it.
    """

    def __init__(
        self,
        source: TelemetrySource,
        meter_provider: MeterProvider | None = None,
        mirror: PrometheusMirror | None = None,
    ) -> None:
        self._source = source
        make = Meters(metrics.get_meter("exacto_plugin", _package_version(), meter_provider), mirror, source.faults)
        self._evaluations = make.counter(table.EVALUATIONS)
        self._flaws = make.counter(table.FLAWS)
        self._deployment_flaws = make.counter(table.DEPLOYMENT_FLAWS)
        self._requests = make.counter(table.REQUESTS)
        self._answers = {False: make.counter(table.ANSWERS_LEFT), True: make.counter(table.ANSWERS_SCORED)}
        self._attempts = make.counter(table.ATTEMPTS)
        self._decisions = make.counter(table.DECISIONS)
        self._transitions = make.counter(table.TRANSITIONS)
        self._refusals = make.counter(table.REFUSALS)
        self._alerts = make.counter(table.ALERTS)
        self._errors = make.counter(table.ERRORS)
        self._records = make.counter(table.RECORDS)
        self._rescues = make.counter(table.RESCUES)
        self._rescue_cost = make.counter(table.RESCUE_COST)
        self._rescue_duration = make.histogram(table.RESCUE_DURATION)
        self._routing_duration = make.histogram(table.ROUTING_DURATION)
        self._recompute_duration = make.histogram(table.RECOMPUTE_DURATION)
        self._gauges = SnapshotGauges(source, make)

    # --- counted at each event -------------------------------------------------------------------------------------

    def evaluations(self, model_group: str, candidate: Candidate, evaluations: Sequence[Evaluation]) -> None:
        """Count each tool call's outcome."""
        if not evaluations:
            return
        attributes = self._attributes_of(model_group, candidate.key, candidate.provider)
        for evaluation in evaluations:
            self._evaluations.add(1, {**attributes, TOOL_CALL_OUTCOME: evaluation.outcome.value})

    def flaws(self, model_group: str, candidate: Candidate, flaws: Iterable[Flaw]) -> None:
        """Count each flaw of an answer by the party that such a flaw is attributed to.

        At most 18 series a model group, and 2 a deployment: flaws of callers and clients tell nothing of one.
        """
        attributes = self._attributes_of(model_group, candidate.key, candidate.provider)
        for flaw in flaws:
            blame = BLAME[flaw].value
            self._flaws.add(1, {GROUP: attributes[GROUP], FLAW: flaw.value, BLAMED_SIDE: blame})
            if blame in table.SIDES_OF_DEPLOYMENTS:
                self._deployment_flaws.add(1, {**attributes, BLAMED_SIDE: blame})

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
        self._rescue_duration.record(seconds, {RESCUE_OUTCOME: outcome})
        if cost:
            self._rescue_cost.add(cost, {GROUP: attributes[GROUP]})

    def decision(self, model_group: str, decision: Decision, seconds: float) -> None:
        """Count a decision and record its duration."""
        outcome = routing_outcome(decision)
        attributes = {GROUP: self._group(model_group), ROUTING_OUTCOME: outcome, ROUTING_REASON: decision.reason}
        self._decisions.add(1, attributes)
        self._routing_duration.record(seconds, {ROUTING_OUTCOME: outcome})

    def fallback_decision(self, model_group: str) -> None:
        """Count a decision that failed by a fault of the plugin: LiteLLM's choice applied."""
        attributes = {GROUP: self._group(model_group), ROUTING_OUTCOME: "error", ROUTING_REASON: "fault"}
        self._decisions.add(1, attributes)

    def refusal(self, model_group: str, filter_name: str | None) -> None:
        """Count an attempt that was refused on purpose.

        Args:
            model_group: that was asked for.
            filter_name: the hard filter; None for a malformed preference.
        """
        self._refusals.add(1, {GROUP: self._group(model_group), REFUSED_BY: filter_name or "invalid"})

    def alert(self, kind: str) -> None:
        """Count an alert."""
        self._alerts.add(1, {ALERT: kind})

    def transition(self, transition: Transition) -> None:
        """Count a change of tier."""
        provider = self._source.providers.get(transition.deployment, "")
        attributes = self._attributes_of(transition.model_group, transition.deployment, provider)
        change = {TIER: transition.tier.value}
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


def _package_version() -> str:
    try:
        return importlib.metadata.version("exacto-plugin")
    except importlib.metadata.PackageNotFoundError:
        return "0"

"""Attributes of routing and of the answer on the span of a request.

No span is made here: LiteLLM makes one for each request where its OpenTelemetry is on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from exacto_plugin.telemetry.attributes import (
    BLAMED_SIDE,
    GROUP,
    REQUEST_OUTCOME,
    ROUTING_OUTCOME,
    ROUTING_REASON,
    routing_outcome,
)

if TYPE_CHECKING:
    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.scoring.attribution import Attribution

PARENT_SPAN = "litellm_parent_otel_span"
"""LiteLLM's name, in a request's metadata, of the span that it makes for the request."""
POLICY = "exacto.routing.policy"
SNAPSHOT = "exacto.snapshot.id"
DEPLOYMENTS = "exacto.routing.deployments"
"""Deployments in the order of the decision."""
TIERS = "exacto.routing.tiers"
"""Tiers of the deployments, in the same order."""
FLAWS = "exacto.answer.flaws"
"""Flaws of the answer; left out without any. A later attempt's answer replaces those of an earlier one."""

_MOST = 20
"""Deployments that a span names."""


def annotate(span: object, model_group: str, decision: Decision, snapshot: str) -> None:
    """Add a decision to a span that records; a later attempt's decision replaces it.

    Args:
        span: of LiteLLM; the current one where it is none.
        model_group: of the attempt.
        decision: about the attempt.
        snapshot: id of the snapshot that was read.
    """
    target = _recording(span)
    if target is None:
        return
    first = decision.ranking[:_MOST]
    target.set_attributes(
        {
            GROUP: model_group,
            POLICY: decision.policy.value,
            ROUTING_OUTCOME: routing_outcome(decision),
            ROUTING_REASON: decision.reason,
            SNAPSHOT: snapshot,
            DEPLOYMENTS: [one.key for one in first],
            TIERS: [one.tier.value for one in first],
        }
    )


def annotate_answer(span: object, outcome: str, attribution: Attribution) -> None:
    """Add an answer's outcome and flaws to a span that records.

    Args:
        span: of LiteLLM; the current one where it is none.
        outcome: of the request, as in ``exacto.requests``.
        attribution: the flaws, and the party that they are attributed to.
    """
    target = _recording(span)
    if target is None:
        return
    target.set_attribute(REQUEST_OUTCOME, outcome)
    if attribution.flaws:
        target.set_attribute(FLAWS, [flaw.value for flaw in attribution.flaws])
    if attribution.blame is not None:
        target.set_attribute(BLAMED_SIDE, attribution.blame.value)


def _recording(span: object) -> trace.Span | None:
    target = span if span is not None and isinstance(span, trace.Span) else trace.get_current_span()
    return target if target.is_recording() else None

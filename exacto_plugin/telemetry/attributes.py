"""Names and closed sets of values of the attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exacto_plugin.core.decision import Decision

GROUP = "exacto.model_group"
DEPLOYMENT = "exacto.deployment.id"
PROVIDER = "gen_ai.provider.name"
TIER = "exacto.tier"
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
FEATURE = "exacto.feature"
SURFACE = "exacto.surface"
ALERT = "exacto.alert"
REFUSED_BY = "exacto.refused_by"
ERROR_TYPE = "error.type"

ATTRIBUTES = frozenset(
    {GROUP, DEPLOYMENT, PROVIDER, TIER, SIGNAL, TOOL_CALL_OUTCOME, REQUEST_OUTCOME}
    | {
        FLAW,
        BLAMED_SIDE,
        ROUTING_OUTCOME,
        ROUTING_REASON,
        RESCUE_OUTCOME,
        STAGE,
        AUDIT_KIND,
        FEATURE,
        SURFACE,
        REFUSED_BY,
        ALERT,
        ERROR_TYPE,
    }
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


def deployment_attributes(group: str, key: str, provider: str) -> dict[str, str]:
    """Return the attributes of a deployment; ``OTHER`` without a known provider."""
    return {GROUP: group, DEPLOYMENT: key, PROVIDER: provider or OTHER}


def routing_outcome(decision: Decision) -> str:
    """Return the value of ``exacto.routing.outcome`` of a decision."""
    if not decision.applied:
        return "bypassed"
    return "reordered" if len(decision.pool) < len(decision.ranking) else "unchanged"

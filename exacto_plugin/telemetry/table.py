"""The table of instruments: names, kinds, units, attributes, bounds of buckets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from exacto_plugin.core.model import Blame, Signal
from exacto_plugin.telemetry.attributes import (
    ALERT,
    AUDIT_KIND,
    BLAMED_SIDE,
    DEPLOYMENT,
    ERROR_TYPE,
    FEATURE,
    FLAW,
    GROUP,
    PROVIDER,
    REFUSED_BY,
    REQUEST_OUTCOME,
    RESCUE_OUTCOME,
    ROUTING_OUTCOME,
    ROUTING_REASON,
    SIGNAL,
    STAGE,
    SURFACE,
    TIER,
    TOOL_CALL_OUTCOME,
)


class Kind(Enum):
    """The kind of an instrument."""

    COUNTER = auto()
    HISTOGRAM = auto()
    STATE = auto()
    """An observable up-down counter: a sum over its attributes has a meaning."""
    GAUGE = auto()
    """An observable gauge."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A row of the table."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...]
    """Every attribute that a measurement may have."""
    buckets: tuple[float, ...] = ()
    """Upper bounds in the instrument's unit; of a histogram only."""


_ROUTING_BUCKETS_S = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 1e-1)
_RESCUE_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
_RECOMPUTE_BUCKETS_S = (1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 5e-1, 1.0, 2.5)

_DEP = (GROUP, DEPLOYMENT, PROVIDER)


def _counter(name: str, unit: str, description: str, *attributes: str) -> Instrument:
    return Instrument(f"exacto.{name}", Kind.COUNTER, unit, description, attributes)


def _state(name: str, unit: str, description: str, *attributes: str) -> Instrument:
    return Instrument(f"exacto.{name}", Kind.STATE, unit, description, attributes)


def _gauge(name: str, unit: str, description: str, *attributes: str) -> Instrument:
    return Instrument(f"exacto.{name}", Kind.GAUGE, unit, description, attributes)


def _histogram(name: str, description: str, buckets: tuple[float, ...], *attributes: str) -> Instrument:
    return Instrument(f"exacto.{name}", Kind.HISTOGRAM, "s", description, attributes, buckets)


EVALUATIONS: Final = _counter(
    "tool_call.evaluations", "{tool_call}", "Tool calls by verdict.", *_DEP, TOOL_CALL_OUTCOME
)
FLAWS: Final = _counter("answer.flaws", "{answer}", "Answers with a flaw, by flaw.", GROUP, FLAW, BLAMED_SIDE)
SIDES_OF_DEPLOYMENTS: Final = frozenset({Blame.PROVIDER.value, Blame.LIMIT.value})
"""The sides whose flaws are counted by deployment."""
DEPLOYMENT_FLAWS: Final = _counter("deployment.flaws", "{flaw}", "Flaws by deployment and blame.", *_DEP, BLAMED_SIDE)
"""Of ``SIDES_OF_DEPLOYMENTS``.
Not by flaw too: 13 of them would pass OpenTelemetry's 2,000 series with 154 deployments."""
REQUESTS: Final = _counter("requests", "{request}", "Answered requests by worst verdict.", REQUEST_OUTCOME)
ANSWERS_LEFT: Final = _counter("answers.left", "{answer}", "Answers with tools that left, by surface.", SURFACE)
ANSWERS_SCORED: Final = _counter("answers.scored", "{answer}", "Answers with tools that were scored.", SURFACE)
ATTEMPTS: Final = _counter(
    "deployment.attempts", "{attempt}", "Attempts by tier of the deployment.", GROUP, TIER, ERROR_TYPE
)
DECISIONS: Final = _counter(
    "routing.decisions", "{decision}", "Routing decisions.", GROUP, ROUTING_OUTCOME, ROUTING_REASON
)
TRANSITIONS: Final = _counter("tier.transitions", "{transition}", "Changes of tier.", *_DEP, TIER)
REFUSALS: Final = _counter("refusals", "{request}", "Attempts refused on purpose, by filter.", GROUP, REFUSED_BY)
ALERTS: Final = _counter("alerts", "{alert}", "Alerts that were sent, by kind.", ALERT)
ERRORS: Final = _counter("plugin.errors", "{error}", "Faults of the plugin itself.", STAGE)
RECORDS: Final = _counter("audit.records", "{record}", "Records kept, or lost.", AUDIT_KIND, ERROR_TYPE)
RESCUES: Final = _counter("rescues", "{rescue}", "Bad answers, by outcome of the rescue.", GROUP, RESCUE_OUTCOME)
RESCUE_COST: Final = _counter("rescue.cost", "USD", "Cost of answers that no client got.", GROUP)
RESCUE_DURATION: Final = _histogram(
    "rescue.duration", "Time that clients waited for another answer.", _RESCUE_BUCKETS_S, RESCUE_OUTCOME
)
ROUTING_DURATION: Final = _histogram(
    "routing.duration", "Time the plugin takes to order deployments.", _ROUTING_BUCKETS_S, ROUTING_OUTCOME
)
RECOMPUTE_DURATION: Final = _histogram(
    "recompute.duration", "Time one recompute takes.", _RECOMPUTE_BUCKETS_S, ERROR_TYPE
)
TIERS: Final = _state("deployment.tier", "1", "1 for the tier a deployment is in, else 0.", *_DEP, TIER)
SAMPLES: Final = _state("window.sample.count", "{sample}", "Samples behind each signal.", *_DEP, SIGNAL)
FEATURES: Final = _state("feature.enabled", "1", "1 for a feature that is on, else 0.", FEATURE)
SNAPSHOT_AGE: Final = _gauge("snapshot.age", "s", "Age of a model group's verdicts.", GROUP)
COMMON_CAUSE: Final = _gauge(
    "common_cause", "1", "Rise of the failure rate at all deployments at once; 0 without one.", GROUP
)
TOKEN_BURN: Final = _gauge("observed.token_burn", "1", "Output tokens beyond the median of comparable requests.", *_DEP)
QUEUE_TIME: Final = _gauge("observed.queue_time", "s", "Time to the first token beyond the deployment's own.", *_DEP)
THROUGHPUT_SPREAD: Final = _gauge(
    "observed.throughput_spread", "1", "Standard deviation of the logarithm of speed.", *_DEP
)

_SIGNALS = {
    Signal.THROUGHPUT: ("throughput", "{token}/s"),
    Signal.TOOL_CALL_SUCCESS: ("tool_call_success", "1"),
    Signal.BENCHMARK: ("benchmark_score", "1"),
    Signal.ANSWER_SUCCESS: ("answer_success", "1"),
}
SIGNALS: Final = {
    signal: _gauge(f"signal.{name}", unit, f"Measured {name}.", *_DEP) for signal, (name, unit) in _SIGNALS.items()
}
"""By signal: the value of each deployment."""
REFERENCES: Final = {
    (signal, part): _gauge(f"reference.{name}.{part}", unit, f"{part} of the peers.", GROUP)
    for signal, (name, unit) in _SIGNALS.items()
    for part in ("median", "mad", "threshold")
}
"""By signal and part of the reference."""

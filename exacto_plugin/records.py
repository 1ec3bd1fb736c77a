"""The records: one frozen dataclass for each kind of thing that is kept. Times are UTC seconds, ids text.

Plain data only; a record's wire names are the columns of its table and its keys in the API. Must not know where it is
kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@wire("digest at rule engine_version")
@dataclass(frozen=True, slots=True)
class RuleRecord:
    """A rule with all its numbers, under the digest that other records name it by."""

    digest: str
    at: float
    """When it was last in force in some process, to the hour."""
    rule: Mapping[str, Any]
    engine_version: str


@wire("snapshot at model_group kind rule engine_version inputs")
@dataclass(frozen=True, slots=True)
class InputsRecord:
    """What the judge read of a model group at one recompute; see ``core.judge_inputs``."""

    snapshot: str
    at: float
    model_group: str
    kind: str
    """``change`` or ``checkpoint``."""
    rule: str
    """Digest of the rule in force."""
    engine_version: str
    inputs: bytes


@wire("snapshot at model_group signal median mad threshold peers settings_digest engine_version")
@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """What the peers of a model group said about a signal; written when it changed and with every ``InputsRecord``."""

    snapshot: str
    at: float
    model_group: str
    signal: str
    median: float | None
    mad: float | None
    threshold: float | None
    peers: int
    settings_digest: str
    engine_version: str


@wire("snapshot at model_group deployment provider tier since reasons signals kind")
@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """A deployment's tier, reasons and numbers: on every change of tier or reasons, and at every checkpoint."""

    snapshot: str
    at: float
    model_group: str
    deployment: str
    provider: str
    tier: str
    since: float
    reasons: Sequence[Mapping[str, Any]]
    signals: Mapping[str, Sequence[Any]]
    """By signal: value and samples."""
    kind: str
    """``change`` or ``checkpoint``."""


@wire("at model_group deployment previous tier reasons snapshot")
@dataclass(frozen=True, slots=True)
class TransitionRecord:
    """A change of tier."""

    at: float
    model_group: str
    deployment: str
    previous: str
    tier: str
    reasons: Sequence[Mapping[str, Any]]
    snapshot: str


@wire(
    "id call_id at model_group policy reason kind applied suffixes candidates attempts refusals rescue_cost "
    "snapshot trace_id span_id"
)
@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One request: who could have served it, who did, what came of it. A later one of the same id replaces it."""

    id: str
    call_id: str
    """LiteLLM's own id of the request."""
    at: float
    model_group: str
    policy: str
    reason: str
    kind: str
    applied: bool
    suffixes: Sequence[str]
    candidates: Sequence[Mapping[str, Any]]
    attempts: Sequence[Mapping[str, Any]]
    refusals: Sequence[str]
    """Names of the hard filters, or kinds of errors, that refused it."""
    rescue_cost: float | None
    """USD of the answers that nobody got."""
    snapshot: str
    trace_id: str
    span_id: str


@wire("at model_group deployment worker numbers")
@dataclass(frozen=True, slots=True)
class HourRecord:
    """What a worker counted of a deployment (of a whole model group: empty) in an hour; replaces its earlier ones."""

    at: float
    """When the hour began."""
    model_group: str
    deployment: str
    worker: str
    numbers: Mapping[str, float]
    """As ``core.pick_counts.PickNumbers`` has them."""


@wire("at model_group deployment word reason author expires")
@dataclass(frozen=True, slots=True)
class OverrideRecord:
    """What an operator said about a deployment's tier."""

    at: float
    """When it was said, which is when it began."""
    model_group: str
    deployment: str
    word: str
    """``good``, ``deranked`` or ``reset``."""
    reason: str
    author: str
    """Salted hash of who said it."""
    expires: float


@wire("at worker source digest changes")
@dataclass(frozen=True, slots=True)
class SettingsRecord:
    """A change of settings that a process took up."""

    at: float
    worker: str
    source: str
    """``start``: what a process began with; ``change``: what it took up since."""
    digest: str
    """Of all settings in force from then on."""
    changes: Mapping[str, Any]
    """By setting: what it was (at the start: its default) and what it is now, without what is secret in it."""


@wire("at model_group deployment worker numbers")
@dataclass(frozen=True, slots=True)
class ObservedRecord:
    """Numbers about a deployment that tiers do not follow: token burn, queue time, variance of the throughput."""

    at: float
    model_group: str
    deployment: str
    worker: str
    numbers: Mapping[str, Any]


@wire("at model_group deployment benchmark score questions run")
@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """What a benchmark run found about a deployment."""

    at: float
    model_group: str
    deployment: str
    benchmark: str
    score: float
    questions: int
    run: str
    """Name of the run."""


Record = (
    RuleRecord
    | InputsRecord
    | ReferenceRecord
    | DeploymentRecord
    | TransitionRecord
    | DecisionRecord
    | HourRecord
    | OverrideRecord
    | SettingsRecord
    | ObservedRecord
    | BenchmarkRecord
)

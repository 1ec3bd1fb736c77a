"""Records, one frozen dataclass each, and their kinds.

Times are UTC seconds, ids text. Plain data only; a record's wire names are the columns of its table and its keys in the
API. Does not depend on the store.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin._version import __version__
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENGINE_VERSION = f"{__version__}, numpy {np.__version__}, {platform.machine()}"
"""The versions that must be equal to reproduce verdicts bit for bit; a field of records."""


class RecordKind(StrEnum):
    """A kind of records, with a retention of its own.

    The values are keys of ``store.retention`` and values of ``exacto.audit.kind``.
    """

    REFERENCES = "references"
    """References of peers, and the rules in force."""
    DEPLOYMENTS = "deployments"
    """Tiers, reasons and numbers, and the inputs that they were computed from."""
    TRANSITIONS = "transitions"
    DECISIONS = "decisions"
    HOURS = "hours"
    """Counts by the hour, for ``exacto report``."""
    OVERRIDES = "overrides"
    SETTINGS = "settings"
    OBSERVED = "observed"
    BENCHMARK_SCORES = "benchmark_scores"


LEAST_DAYS: Mapping[RecordKind, float] = {RecordKind.BENCHMARK_SCORES: 90.0}
"""Kinds that are kept longer than configured."""


@wire("digest at rule engine_version")
@dataclass(frozen=True, slots=True)
class RuleRecord:
    """A rule with all its numbers, under the digest by which other records name it."""

    digest: str
    at: float
    """The last time when it was in force in any process, to the hour."""
    rule: Mapping[str, Any]
    engine_version: str


@wire("snapshot at model_group kind rule engine_version inputs")
@dataclass(frozen=True, slots=True)
class InputsRecord:
    """The inputs of a model group's verdicts at one recompute.

    See ``core.judge_inputs``.
    """

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
    """The reference of a model group for one signal.

    Written when it changed and with every ``InputsRecord``.
    """

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
    """A deployment's tier, reasons and numbers.

    Written on every change of tier or reasons, and at every checkpoint.
    """

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


@wire("at model_group deployment previous tier reasons snapshot changed")
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
    changed: Mapping[str, Any] | None = None
    """When its share of bad calls changed: the fields of ``core.tiers.change_point.ChangePoint``.

    Of deranks and their ends; None where its calls do not tell, or an earlier version wrote it."""


@wire(
    "id call_id at model_group policy reason kind applied suffixes candidates attempts refusals rescue_cost "
    "snapshot trace_id span_id"
)
@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One request: its candidates, attempts and result.

    A later record of the same id replaces it.
    """

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
    """USD of the answers that no client got."""
    snapshot: str
    trace_id: str
    span_id: str


@wire("at model_group deployment worker numbers")
@dataclass(frozen=True, slots=True)
class HourRecord:
    """A worker's counts of a deployment in an hour; replaces its earlier ones.

    An empty deployment stands for the whole model group.
    """

    at: float
    """The beginning of the hour."""
    model_group: str
    deployment: str
    worker: str
    numbers: Mapping[str, float]
    """The fields of ``core.pick_counts.PickNumbers``."""


@wire("at model_group deployment word reason author expires")
@dataclass(frozen=True, slots=True)
class OverrideRecord:
    """An operator's override of a deployment's tier."""

    at: float
    """The time of the override, which is its beginning."""
    model_group: str
    deployment: str
    word: str
    """``good``, ``deranked`` or ``reset``."""
    reason: str
    author: str
    """Salted hash of its author."""
    expires: float


@wire("at worker source digest changes")
@dataclass(frozen=True, slots=True)
class SettingsRecord:
    """A change of settings that a process applied."""

    at: float
    worker: str
    source: str
    """``start``: the settings at a process's start; ``change``: a later change."""
    digest: str
    """Digest of all settings in force from then on."""
    changes: Mapping[str, Any]
    """By setting: the value before (at the start: its default) and after.

    Secret values are redacted.
    """


@wire("at model_group deployment worker numbers")
@dataclass(frozen=True, slots=True)
class ObservedRecord:
    """Numbers about a deployment that do not affect tiers.

    Token burn, queue time, variance of the throughput.
    """

    at: float
    model_group: str
    deployment: str
    worker: str
    numbers: Mapping[str, Any]


@wire(
    "at model_group deployment benchmark score questions run harness configuration tasks error answers errors "
    "input_tokens output_tokens paired refused"
)
@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """A run of a benchmark against a deployment, accepted or refused."""

    at: float
    """End of the run."""
    model_group: str
    deployment: str
    benchmark: str
    score: float
    """Mean over tasks, 0..1."""
    questions: int
    """Scored tasks."""
    run: str
    """Name of the run: the digest of its log."""
    harness: str
    """The program that ran it, with its version."""
    configuration: str
    """Hash of all that must be equal for two scores to be compared."""
    tasks: Mapping[str, Sequence[float]]
    """By key of the task: mean score and number of answers; no text."""
    error: float | None
    """Standard error over tasks; None when there is none."""
    answers: int
    errors: int
    """Answers that ended in an error."""
    input_tokens: int
    output_tokens: int | None
    paired: bool
    """The keys name tasks; False where answers were only counted."""
    refused: str
    """The reason why it does not count; empty when it does."""


@wire(
    "at started model_group deployment run suite requests errors calls bad flaws triggers input_tokens output_tokens "
    "cost refused"
)
@dataclass(frozen=True, slots=True)
class VerifierRecord:
    """Tool-call requests replayed against a deployment; holds none of their text."""

    at: float
    """End of the run."""
    started: float
    model_group: str
    deployment: str
    run: str
    """Name of the run."""
    suite: str
    """Hash of the requests, their parameters and the way of scoring: only equal ones are compared."""
    requests: int
    """Requests with an answer."""
    errors: int
    """Requests without one."""
    calls: int
    """Answers with a tool call that was evaluated, or lost."""
    bad: int
    """Those of ``calls`` that a client cannot use."""
    flaws: Mapping[str, int]
    """By kind of flaw: answers with it."""
    triggers: str
    """In the order of the suite: ``1`` for an answer with a call, ``0`` without, ``-`` for none."""
    input_tokens: int
    output_tokens: int
    cost: float | None
    """USD by LiteLLM's prices; None where they are not known."""
    refused: str
    """The reason why it does not count; empty when it does."""


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
    | VerifierRecord
)

"""Domain records: enums and frozen dataclasses; times are UTC seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from exacto_plugin.core.flaw_kinds import BROKEN as BROKEN
from exacto_plugin.core.flaw_kinds import Blame as Blame  # noqa: TC001 - other modules import it from here
from exacto_plugin.core.flaw_kinds import Flaw as Flaw  # noqa: TC001 - as the one above
from exacto_plugin.core.pace import RecentPace  # noqa: TC001 - the codec reads the annotation
from exacto_plugin.core.steps import StepChoice  # noqa: TC001 - the codec reads the annotation
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Mapping


LiteLLMId = NewType("LiteLLMId", str)
"""LiteLLM's id of a deployment in its router: ``model_info.id``."""
DeploymentKey = NewType("DeploymentKey", str)
"""Key of a deployment's history: the operator's id, else a fingerprint of provider, model and host."""


class Tier(StrEnum):
    """Quality class of a deployment within its model group, best first."""

    VERIFIED_GOOD = "verified_good"
    INSUFFICIENT_DATA = "insufficient_data"
    DERANKED = "deranked"


class Outcome(StrEnum):
    """Evaluation of one tool call; ``unscored`` is stored but never counted."""

    VALID = "valid"
    INVALID_JSON = "invalid_json"
    UNKNOWN_NAME = "unknown_name"
    SCHEMA_MISMATCH = "schema_mismatch"
    UNSCORED = "unscored"

    @property
    def is_bad(self) -> bool:
        """True for a call that a client cannot execute."""
        return self not in (Outcome.VALID, Outcome.UNSCORED)


class Signal(StrEnum):
    """A measured quantity; the last five are observed only by default."""

    THROUGHPUT = "throughput"
    TOOL_CALL_SUCCESS = "tool_call_success"
    BENCHMARK = "benchmark"
    VERIFIER = "verifier"
    PROPENSITY = "propensity"
    TOKEN_BURN = "token_burn"
    REFUSED = "refused"
    CAPACITY = "capacity"
    ANSWER_SUCCESS = "answer_success"


class Sort(StrEnum):
    """Sort order of a request; the values of the ``x-exacto-policy`` header."""

    AUTO = "auto"
    """Tiers for requests that offer tools; otherwise the operator's own strategy."""
    EXACTO = "exacto"
    """Tiers for every request."""
    PRICE_WEIGHTED = "price_weighted"
    """Random order with weight 1/price^2."""
    PRICE = "price"
    THROUGHPUT = "throughput"
    LATENCY = "latency"
    ORDER = "order"
    """The client's own explicit list."""
    NONE = "none"
    """The operator's own strategy, untouched."""


class Mode(StrEnum):
    """Mode of the tiers: applied, only decided and recorded, or off."""

    APPLY = "apply"
    OBSERVE = "observe"
    OFF = "off"


class ReasonCode(StrEnum):
    """Reason for a deployment's tier."""

    WITHIN_THRESHOLD = "within_threshold"
    BELOW_THRESHOLD = "below_threshold"
    """The signal is worse than the threshold of its peers."""
    TOO_FEW_SAMPLES = "too_few_samples"
    TOO_FEW_PEERS = "too_few_peers"
    UNDECIDED = "undecided"
    """Enough samples, but no test rejects or verifies; the previous tier is kept."""
    READMITTED = "readmitted"
    """A deranked deployment is readmitted after fresh calls without enough failures."""
    EVIDENCE_RESTARTED = "evidence_restarted"
    """A sudden change of the deployment; the samples from before it no longer count."""
    PROBABLY_BAD = "probably_bad"
    """Too few calls for a verdict, but more likely above the threshold than within."""
    CAPACITY = "capacity"
    """Would be deranked, but the others cannot carry the traffic; ``LEARNED_CAPACITY``: the requests that one can."""
    LEARNED_CAPACITY = "learned_capacity"
    COMMON_CAUSE = "common_cause"
    """All deployments failed more often in the same minutes; no deployment is to blame."""
    OVERRIDE = "override"
    """Set by an operator's override."""


@wire(
    "model_group deployment at ok tools_offered outcome lost flaws blame input_tokens output_tokens duration_s "
    "first_token_s streamed routed probe caller complexity account refused"
)
@dataclass(frozen=True, slots=True)
class Sample:
    """One finished answer or failed attempt of one deployment; no text and no key."""

    model_group: str
    deployment: DeploymentKey
    at: float
    """Time at which the answer ended."""
    ok: bool = True
    """False for an attempt that failed with an error instead of an answer."""
    tools_offered: bool = False
    outcome: Outcome | None = None
    """Worst evaluation of the answer's calls; None without one. The caller's faults can make it unscored."""
    lost: bool = False
    """A tool call arrived in another form (markup, a finish reason without a call)."""
    flaws: tuple[Flaw, ...] = ()
    blame: Blame | None = None
    """All flaws of the answer, each at most once, counted for tiers or not; attribution of them, or of the failure."""
    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: float = 0.0
    first_token_s: float | None = None
    """Seconds from sending to the last byte (0: unknown), and to the first chunk (None without streaming)."""
    streamed: bool = False
    routed: bool = True
    """False when the caller pinned the deployment, so that the router did not choose."""
    probe: bool = False
    caller: str = ""
    """Salted hash of the API key; empty when there is none."""
    complexity: int = 0
    """Case-mix bucket 0..3 from the number and size of the offered tools."""
    account: str = ""
    """Salted hash of the key's user, else team, else organisation; empty without any."""
    refused: bool = False
    """True for a failed attempt that the provider refused for a rate limit (429)."""


@wire("code signal value threshold samples needed window_s peers strictness begin end chance traffic_share run")
@dataclass(frozen=True, slots=True)
class Reason:
    """One machine-readable reason for a tier: a number against a threshold."""

    code: ReasonCode
    signal: Signal | None = None
    value: float | None = None
    threshold: float | None = None
    samples: int = 0
    needed: int = 0
    """Samples (for ``too_few_peers`` deployments, with this one) that are required."""
    window_s: float = 0.0
    peers: int = 0
    """Deployments with enough data, this one included; set with ``too_few_peers`` and, for those that rose by
    ``value``, with ``common_cause``."""
    strictness: StepChoice | None = None
    """How strict the threshold is; None for a rule with one step."""
    begin: float | None = None
    """Start of a common cause."""
    end: float | None = None
    """Its end; None until now."""
    chance: float | None = None
    """Chance that the value is within the threshold; set with ``probably_bad``."""
    traffic_share: float | None = None
    """Share of the requests with tools that it gets; set with ``probably_bad``."""
    run: str | None = None
    """Run of a benchmark or of the verifier that the value comes from, the latest one; None for measured traffic."""


@wire("value samples")
@dataclass(frozen=True, slots=True)
class SignalValue:
    """Measured value of a signal: in its unit, with the number of samples."""

    value: float | None
    samples: int


@wire("signal median mad threshold peers")
@dataclass(frozen=True, slots=True)
class Reference:
    """Statistics of a model group's peers for a signal at one recompute."""

    signal: Signal
    median: float | None
    mad: float | None
    threshold: float | None
    """Median absolute deviation, unscaled; threshold, None when the signal cannot derank (too few peers)."""
    peers: int
    """Deployments with enough data; a rule may compare with the others only."""


@wire(
    "deployment tier reasons signals since throughput latency_s keep_probability probe_share probe_budget probe_faults"
)
@dataclass(frozen=True, slots=True)
class Verdict:
    """The tier of one deployment in one model group, and the numbers behind it."""

    deployment: DeploymentKey
    tier: Tier
    reasons: tuple[Reason, ...] = ()
    signals: Mapping[Signal, SignalValue] = field(default_factory=dict)
    since: float = 0.0
    """Time at which this tier began."""
    throughput: float | None = None
    latency_s: float | None = None
    """Medians of recent answers for their sorts: tokens a second, seconds to the first token (whole answers: end)."""
    keep_probability: float = 1.0
    """Probability that a pool includes the deployment; for ``insufficient_data``."""
    probe_share: float = 0.0
    """Share of tool requests that probe the deployment while it is not verified good."""
    probe_budget: float = 0.0
    probe_faults: float = math.inf
    """Largest number of probes until the next recompute, and number of bad calls after which they stop."""


@wire("model_group verdicts references at merge_tiers paces common_cause")
@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """The verdicts and references of one model group."""

    model_group: str
    verdicts: Mapping[DeploymentKey, Verdict] = field(default_factory=dict)
    references: Mapping[Signal, Reference] = field(default_factory=dict)
    at: float = 0.0
    """Time at which this group was recomputed."""
    merge_tiers: bool = False
    """Verified good and insufficient data share the traffic, so that the first verdict does not draw all of it."""
    paces: Mapping[DeploymentKey, RecentPace] = field(default_factory=dict)
    """Percentiles by deployment; only of recently requested groups."""
    common_cause: Reason | None = None
    """The latest of the last day."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Immutable result of one recompute; all that the request path reads."""

    id: str
    at: float
    groups: Mapping[str, GroupSnapshot] = field(default_factory=dict)

    def verdict(self, model_group: str, deployment: DeploymentKey) -> Verdict | None:
        """Return the verdict on a deployment, or None when there is none."""
        group = self.groups.get(model_group)
        return group.verdicts.get(deployment) if group is not None else None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that LiteLLM accepts for the current request."""

    id: LiteLLMId
    key: DeploymentKey
    provider: str = ""
    price: float | None = None
    """USD per token, prompt plus completion; None when unknown."""
    level: int | None = None
    """The operator's ``litellm_params.order``."""
    prompt_price: float | None = None
    """USD per prompt token; None when unknown."""
    completion_price: float | None = None
    """USD per completion token; None when unknown."""
    quantization: str = ""
    """As declared by the operator, in lower case; empty without a declaration."""
    data_collection: str = ""
    """``allow`` or ``deny`` as declared by the operator; empty without it."""
    zdr: bool = False
    """Zero data retention, as declared by the operator."""
    parameters: frozenset[str] | None = None
    """Supported request parameters; None when unknown."""
    caches: bool = True
    """False if a cached prompt is known to cost as much as an uncached one."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Change of a deployment's tier at a recompute."""

    model_group: str
    deployment: DeploymentKey
    previous: Tier
    tier: Tier
    at: float
    reasons: tuple[Reason, ...] = ()
    previous_since: float = 0.0
    """Since when it had the previous tier, UTC seconds."""


@wire("run started at calls bad limit flagged cleared")
@dataclass(frozen=True, slots=True)
class VerifierFinding:
    """Result of a run of the verifier; neither flagged nor cleared: undecided."""

    run: str
    started: float
    at: float
    """The end of the run."""
    calls: int
    bad: int
    limit: float
    """Failure rate between that of flagged and that of cleared deployments."""
    flagged: bool
    cleared: bool


@wire("scores baseline threshold needed window_s limits runs findings")
@dataclass(frozen=True, slots=True)
class BenchmarkScores:
    """Benchmark scores of a model group, measured outside the plugin."""

    scores: Mapping[DeploymentKey, SignalValue]
    """Accuracy 0..1 and number of questions, per deployment."""
    baseline: float
    """The frozen median that scores are compared with."""
    threshold: float | None
    """A score below this is abnormal (OpenRouter: baseline minus 2 sigma); None: only ``limits`` tell."""
    needed: int
    """Questions that a score requires (OpenRouter: 50 for GPQA, 45 for tau2)."""
    window_s: float = 32 * 86_400.0
    """Window of the results; only reported. Source: OpenRouter's rolling 32 days."""
    limits: Mapping[DeploymentKey, float] = field(default_factory=dict)  # of single deployments, in place of threshold
    runs: Mapping[DeploymentKey, str] = field(default_factory=dict)
    """The newest run behind each score."""
    findings: Mapping[DeploymentKey, VerifierFinding] = field(default_factory=dict)

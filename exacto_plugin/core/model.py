"""The words of the domain: enums and frozen records that flow between the parts.

Nothing here computes. Times are seconds since the Unix epoch (UTC) unless a name says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tier(StrEnum):
    """Quality class of a deployment within its model group, best first."""

    VERIFIED_GOOD = "verified_good"
    INSUFFICIENT_DATA = "insufficient_data"
    DERANKED = "deranked"


TIER_RANK: Mapping[Tier, int] = {tier: rank for rank, tier in enumerate(Tier)}
"""Position of each tier in the order; 0 is tried first."""


class Outcome(StrEnum):
    """Verdict on one tool call; ``unscored`` is kept but never counted."""

    VALID = "valid"
    INVALID_JSON = "invalid_json"
    UNKNOWN_NAME = "unknown_name"
    SCHEMA_MISMATCH = "schema_mismatch"
    UNSCORED = "unscored"


class Blame(StrEnum):
    """Whose fault a failed answer is."""

    PROVIDER = "provider"
    """Who serves the model: its parser, its template, its sampling."""
    CALLER = "caller"
    """Who asked: a schema, a choice or a history that no model could follow."""
    LIMIT = "limit"
    """A limit that was set on the answer: its length, or a content filter."""
    CLIENT = "client"
    """Who asked left before the answer ended."""


class Flaw(StrEnum):
    """What is wrong with an answer to a request with tools; whose fault each is stands in ``blame``."""

    INVALID_JSON = "invalid_json"
    UNKNOWN_NAME = "unknown_name"
    SCHEMA_MISMATCH = "schema_mismatch"
    MISSING_CALL = "missing_call"
    """It says that it ends with tool calls, and there is none."""
    LEAKED_MARKUP = "leaked_markup"
    """A call stands in the text, in the model's own markup, which the provider's parser should have taken out."""
    IGNORED_CHOICE = "ignored_choice"
    """``tool_choice`` demanded a call, or named tools, or forbade them, and the answer does otherwise."""
    DUPLICATE_ID = "duplicate_id"
    """Two calls carry one id, so that a client cannot tell their results apart."""
    BROKEN_SCHEMA = "broken_schema"
    """The called tool's schema does not compile, so the call counts as valid unseen."""
    CONTRADICTORY_CHOICE = "contradictory_choice"
    """``tool_choice`` names a tool that the request does not offer."""
    BROKEN_HISTORY = "broken_history"
    """A tool result without its call, or a call that was never answered, among the messages of the request."""
    TRUNCATED = "truncated"
    FILTERED = "filtered"
    DISCONNECTED = "disconnected"


class Signal(StrEnum):
    """A measured quantity. Propensity and token burn are observed, not routed on, by default."""

    THROUGHPUT = "throughput"
    TOOL_CALL_SUCCESS = "tool_call_success"
    BENCHMARK = "benchmark"
    PROPENSITY = "propensity"
    TOKEN_BURN = "token_burn"


class Sort(StrEnum):
    """How a request wants its deployments ordered; the values of the ``x-exacto-policy`` header."""

    AUTO = "auto"
    """Tiers for requests that offer tools; otherwise the operator's own strategy."""
    EXACTO = "exacto"
    """Tiers for every request."""
    PRICE_WEIGHTED = "price_weighted"
    """A lottery with weight 1/price^2."""
    PRICE = "price"
    THROUGHPUT = "throughput"
    LATENCY = "latency"
    ORDER = "order"
    """The client's own explicit list."""
    NONE = "none"
    """The operator's own strategy, untouched."""


class Mode(StrEnum):
    """Whether tiers are applied, only decided and recorded, or neither."""

    APPLY = "apply"
    OBSERVE = "observe"
    OFF = "off"


class ReasonCode(StrEnum):
    """Why a deployment has its tier."""

    WITHIN_THRESHOLD = "within_threshold"
    BELOW_THRESHOLD = "below_threshold"
    """The signal is worse than the threshold of its peers."""
    TOO_FEW_SAMPLES = "too_few_samples"
    TOO_FEW_PEERS = "too_few_peers"
    UNDECIDED = "undecided"
    """Enough samples, but they neither convict nor acquit; the previous tier is kept."""
    READMITTED = "readmitted"
    """Fresh calls showed that a deranked deployment works again."""
    EVIDENCE_RESTARTED = "evidence_restarted"
    """A sudden change of the deployment; what was measured before it no longer counts."""
    CAPACITY = "capacity"
    """Would be deranked, but the rest could not carry the traffic."""
    OVERRIDE = "override"
    """An operator said so."""


@wire(
    "model_group deployment at ok tools_offered outcome lost flaws blame input_tokens output_tokens duration_s "
    "first_token_s streamed routed probe caller complexity"
)
@dataclass(frozen=True, slots=True)
class Sample:
    """One finished answer (or failed attempt) of one deployment. Holds no text and no key."""

    model_group: str
    deployment: str
    at: float
    """When the answer ended."""
    ok: bool = True
    """False for an attempt that failed with an error instead of an answer."""
    tools_offered: bool = False
    outcome: Outcome | None = None
    """The worst verdict among the answer's tool calls, as tiers count it: a bad call that is the caller's fault can be
    unscored. None when the answer ended without any, or lost one."""
    lost: bool = False
    """A tool call was meant but arrived in another form (leaked markup, a finish reason without a call)."""
    flaws: tuple[Flaw, ...] = ()
    """All that is wrong with the answer, whether or not it counts for tiers; each at most once."""
    blame: Blame | None = None
    """Whose fault the flaws are; None without any."""
    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: float = 0.0
    """From sending the request to the last byte; 0 when unknown."""
    first_token_s: float | None = None
    """From sending the request to the first chunk; None when the answer was not streamed."""
    streamed: bool = False
    routed: bool = True
    """False when the caller pinned the deployment, so that the router did not choose."""
    probe: bool = False
    caller: str = ""
    """Salted hash of the API key; empty when there is none."""
    complexity: int = 0
    """Case-mix bucket 0..3 from the number and size of the offered tools."""


@wire("code signal value threshold samples needed window_s peers")
@dataclass(frozen=True, slots=True)
class Reason:
    """One machine-readable reason behind a tier: a number against a threshold."""

    code: ReasonCode
    signal: Signal | None = None
    value: float | None = None
    threshold: float | None = None
    samples: int = 0
    needed: int = 0
    """Samples (for ``too_few_peers`` deployments, itself included) that the rule asks for."""
    window_s: float = 0.0
    peers: int = 0
    """Deployments with enough data, the one itself included; told where they were too few."""


@wire("value samples")
@dataclass(frozen=True, slots=True)
class SignalValue:
    """What was measured of one deployment: ``value`` in the unit of the signal, ``samples`` behind it."""

    value: float | None
    samples: int


@wire("signal median mad threshold peers")
@dataclass(frozen=True, slots=True)
class Reference:
    """What the peers of a model group say about a signal at one recompute."""

    signal: Signal
    median: float | None
    mad: float | None
    """Median absolute deviation, unscaled."""
    threshold: float | None
    """None when the signal cannot derank anybody (too few peers)."""
    peers: int
    """Deployments that had enough data to take part; a rule may compare each with the others among them only."""


@wire(
    "deployment tier reasons signals since throughput latency_s keep_probability probe_share probe_budget probe_faults"
)
@dataclass(frozen=True, slots=True)
class Verdict:
    """The tier of one deployment in one model group, and the numbers behind it."""

    deployment: str
    tier: Tier
    reasons: tuple[Reason, ...] = ()
    signals: Mapping[Signal, SignalValue] = field(default_factory=dict)
    since: float = 0.0
    """When this tier began."""
    throughput: float | None = None
    """Median tokens per second of recent answers; what ``throughput`` sorts by."""
    latency_s: float | None = None
    """Median seconds to the first token (whole answers: to the end); what ``latency`` sorts by."""
    keep_probability: float = 1.0
    """With ``insufficient_data``: probability that a request's pool includes this deployment."""
    probe_share: float = 0.0
    """Share of tool requests that is spent on probing this deployment while it is not verified good."""
    probe_budget: float = 0.0
    """Probes until the next recompute, at most."""
    probe_faults: float = math.inf
    """Bad calls of probes that end them until the next recompute."""


PERCENTILES = (50, 75, 90, 99)
"""Percentiles that a preference may name."""


@wire("throughput latency_s")
@dataclass(frozen=True, slots=True)
class RecentPace:
    """Percentiles of one deployment over the last minutes, in the order of ``PERCENTILES``; None: too few answers."""

    throughput: tuple[float, ...] | None = None
    """Tokens per second that 50, 75, 90 and 99 % of the answers reach."""
    latency_s: tuple[float, ...] | None = None
    """Seconds to the first token that 50, 75, 90 and 99 % of the answers do not exceed."""


@wire("model_group verdicts references at merge_tiers paces")
@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """The verdicts and references of one model group."""

    model_group: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    references: Mapping[Signal, Reference] = field(default_factory=dict)
    at: float = 0.0
    """When this group was recomputed."""
    merge_tiers: bool = False
    """True while verified good and insufficient data share the traffic, so that early verdicts do not draw it all."""
    paces: Mapping[str, RecentPace] = field(default_factory=dict)
    """Percentiles by deployment; only of groups that somebody asked about lately."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One recompute's immutable result. The request path reads it and nothing else."""

    id: str
    at: float
    groups: Mapping[str, GroupSnapshot] = field(default_factory=dict)

    def verdict(self, model_group: str, deployment: str) -> Verdict | None:
        """The verdict on a deployment, or None when nothing is known of it."""
        group = self.groups.get(model_group)
        return group.verdicts.get(deployment) if group is not None else None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that LiteLLM would accept for the request at hand."""

    id: str
    """LiteLLM's ``model_info.id``."""
    key: str
    """The name its history is kept under: the operator's id, else a fingerprint of provider, model and host."""
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
    """As the operator declared it, in lower case; empty when nobody did."""
    data_collection: str = ""
    """``allow`` or ``deny`` as the operator declared it; empty when nobody did."""
    zdr: bool = False
    """The operator declared zero data retention."""
    parameters: frozenset[str] | None = None
    """Request parameters that it supports; None when nobody said."""
    caches: bool = True
    """False where reading a prompt from the provider's cache is known to cost as much as sending it."""


@dataclass(frozen=True, slots=True)
class AffinityTarget:
    """Where the conversation that a request belongs to is."""

    id: str
    """LiteLLM's ``model_info.id`` of the deployment."""
    is_new: bool = False
    """The request has no earlier turn: it opens a conversation that begins as a known one does."""
    from_probe: bool = False
    """A probe of the deployment began the conversation."""
    pinned: bool = False
    """The request carries what only this deployment can read (encrypted reasoning, a stored response)."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate with its place in the decision. Equal ranks share a pool."""

    id: str
    key: str
    rank: int
    tier: Tier


@dataclass(frozen=True, slots=True)
class Decision:
    """One attempt's ordering: who may be picked now and in which order the rest would follow."""

    policy: Sort
    ranking: tuple[Ranked, ...]
    """Every candidate, best rank first; stable inside a rank."""
    pool: tuple[str, ...]
    """LiteLLM ids that this attempt may go to; never empty when there were candidates."""
    applied: bool
    """False when the ordering was only observed (or nothing was asked) and LiteLLM chooses freely."""
    reason: str
    """Machine-readable: tiers, one_tier, sort, no_tools, mode_off, observe, share, tried_all, ..."""
    preferred: tuple[str, ...] = ()
    """The pool that would have been used; differs from ``pool`` when the ordering is only observed."""
    explored: bool = False
    """True when chance sent this attempt to a deployment that needs measuring."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A deployment's change from one tier to another at a recompute."""

    model_group: str
    deployment: str
    previous: Tier
    tier: Tier
    at: float
    reasons: tuple[Reason, ...] = ()


@wire("scores baseline threshold needed window_s")
@dataclass(frozen=True, slots=True)
class BenchmarkScores:
    """What a benchmark said about the deployments of one model group; measured outside, judged with the rest."""

    scores: Mapping[str, SignalValue]
    """Accuracy 0..1 per deployment and the questions behind it."""
    baseline: float
    """The frozen median that scores are compared with."""
    threshold: float
    """A score below this is abnormal (OpenRouter: baseline minus 2 sigma)."""
    needed: int
    """Questions that a score needs to count (OpenRouter: 50 for GPQA, 45 for tau2)."""
    window_s: float = 32 * 86_400.0
    """How far back results reach; only reported. Source: OpenRouter's rolling 32 days."""

"""Closed sets of texts that are stored, sent, configured or shown, in their order where that counts."""

from __future__ import annotations

from typing import Any

from exacto_plugin.audit.entries import KINDS
from exacto_plugin.audit.readmission import readmission_conditions
from exacto_plugin.config.tiers import TierPreset
from exacto_plugin.core.decision import AffinityTarget
from exacto_plugin.core.model import (
    Blame,
    Candidate,
    DeploymentKey,
    Flaw,
    GroupSnapshot,
    LiteLLMId,
    Mode,
    Outcome,
    ReasonCode,
    Signal,
    Snapshot,
    Sort,
    Tier,
    Verdict,
)
from exacto_plugin.core.pace import PERCENTILES, RecentPace
from exacto_plugin.core.routing.affinity_rule import apply_affinity
from exacto_plugin.core.routing.ordering import RoutingRequest, decide
from exacto_plugin.core.routing.overrides import OverrideAction
from exacto_plugin.core.routing.policy import SORTING_SUFFIXES, Policy, Preference
from exacto_plugin.core.scoring.evaluator import EmptyArguments
from exacto_plugin.core.scoring.json_schema.engine import EngineSetting
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.checkpoints import RecordCause
from exacto_plugin.litellm_hooks.runtime.decision_log import DecisionKind as RequestKind
from exacto_plugin.litellm_hooks.runtime.replication import SINGLE_PROCESS
from exacto_plugin.records import RecordKind as RecordKind
from exacto_plugin.sharing.replica import Role
from exacto_plugin.store.database import Fault
from exacto_plugin.telemetry.attributes import ERROR_TYPES, OTHER

ENUMS = {
    "tiers": Tier,
    "outcomes of tool calls": Outcome,
    "flaws of answers": Flaw,
    "blame": Blame,
    "signals": Signal,
    "sorts": Sort,
    "modes": Mode,
    "presets": TierPreset,
    "reason codes": ReasonCode,
    "overrides": OverrideAction,
    "kinds of records": RecordKind,
    "kinds of requests on record": RequestKind,
    "kinds of recomputes on record": RecordCause,
    "roles of workers": Role,
    "readings of empty arguments": EmptyArguments,
    "schema engines": EngineSetting,
    "faults of stores": Fault,
}


def values() -> Any:
    """All of them."""
    return {
        **{name: [member.value for member in enum] for name, enum in ENUMS.items()},
        "role of a worker that shares nothing": SINGLE_PROCESS,
        "suffixes": {suffix: sort.value for suffix, sort in SORTING_SUFFIXES.items()},
        "percentiles": list(PERCENTILES),
        "kinds of audit entries": list(KINDS),
        "failures of attempts": sorted(ERROR_TYPES),
        "unknown model groups in metrics": OTHER,
    }


def reasons_of_decisions() -> Any:
    """The ``reason`` of every kind of decision."""
    a, b = DeploymentKey("a"), DeploymentKey("b")
    verdicts = {a: Verdict(a, Tier.VERIFIED_GOOD), b: Verdict(b, Tier.DERANKED, probe_share=1.0)}
    paces = {a: RecentPace((60.0,) * 4, None), b: RecentPace((6.0,) * 4, None)}
    snapshot = Snapshot("s", 0.0, {"g": GroupSnapshot("g", verdicts, paces=paces)})
    everybody = [Candidate(LiteLLMId(key), key) for key in (a, b)]

    def said(draw: float = 1.0, **more: Any) -> str:
        ask = RoutingRequest(**{"model_group": "g", "candidates": everybody, "policy": Policy(), "tools": True, **more})
        return apply_affinity(ask, snapshot, decide(ask, snapshot, lambda: draw)).reason

    return [
        said(),
        said(candidates=everybody[:1]),
        said(tried=("a", "b")),
        said(busy=("a",), candidates=[*everybody, Candidate(LiteLLMId("c"), DeploymentKey("c"))]),
        said(draw=0.0),
        said(tools=False),
        said(policy=Policy(Sort.NONE)),
        said(policy=Policy(Sort.PRICE)),
        said(policy=Policy(preferences=(Preference("throughput", 50, 30.0),))),
        said(mode=Mode.OFF),
        said(mode=Mode.OBSERVE),
        said(in_share=False),
        said(home=AffinityTarget(LiteLLMId("a"))),
        said(home=AffinityTarget(LiteLLMId("b"), pinned=True)),
    ]


def ways_back() -> Any:
    """Every kind of condition under which a deployment is verified again, and the keys of each."""
    below = {"code": "below_threshold", "signal": "tool_call_success", "value": 0.5, "threshold": 0.9}
    slow = {**below, "signal": "throughput", "threshold": 30.0}
    missing = {"signal": "tool_call_success", "samples": 3, "needed": 50, "peers": 1}
    codes = ("too_few_samples", "too_few_peers", "undecided")
    told = readmission_conditions(
        AdaptivePreset(), None, "a", "deranked", [below, slow, {**below, "signal": "benchmark"}]
    )
    told += readmission_conditions(
        AdaptivePreset(), None, "a", "insufficient_data", [{**missing, "code": code} for code in codes]
    )
    return {one["kind"]: sorted(one) for one in told}


SECTIONS = (values, reasons_of_decisions, ways_back)

"""Conditions of readmission by the rule in force, and the progress towards them.

Pure; uses the inputs of the rule. Phrases nothing, so that each caller can use its own words and time zone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.core.stats.binomial import rate_below
from exacto_plugin.core.tiers.adaptive.exploration import trial_share
from exacto_plugin.core.tiers.adaptive.history import THREE_DAYS_S
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.other_signals import FRESH_MARGIN, FRESH_SPEEDS
from exacto_plugin.core.tiers.adaptive.parameters import TRIAL_CALLS
from exacto_plugin.core.tiers.adaptive.state import ERRORS, SLOW, VERIFIER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.core.tiers.replay import GroupInputs

Plain = dict[str, Any]

LONG_S = 2 * 86_400.0
"""Seconds of a way back from which its duration is told."""

_MISSING_REASONS = (
    ReasonCode.TOO_FEW_SAMPLES,
    ReasonCode.TOO_FEW_PEERS,
    ReasonCode.UNDECIDED,
    ReasonCode.PROBABLY_BAD,
)


def readmission_conditions(
    preset: Preset | None, inputs: GroupInputs | None, deployment: str, tier: str, reasons: Sequence[Mapping[str, Any]]
) -> list[Plain]:
    """Return the conditions that must all be met for readmission.

    Empty when nothing is missing, or when the conditions are not known.

    Args:
        preset: the rule in force; None when it is not known.
        inputs: of the rule for the model group; None when they were not kept.
        deployment: its name.
        tier: of the deployment.
        reasons: of the tier, as the API writes them.
    """
    if tier == Tier.VERIFIED_GOOD or preset is None:
        return []
    if tier != Tier.DERANKED:
        found = [reason for reason in reasons if reason["code"] in _MISSING_REASONS]
        return [dict(_missing(reason)) for reason in found if reason["signal"] != Signal.VERIFIER]
    below = {str(reason["signal"]): reason for reason in reasons if reason["code"] == ReasonCode.BELOW_THRESHOLD}
    if not isinstance(preset, AdaptivePreset):
        return [_above(reason) for reason in below.values()]
    rule, share = preset.rule, preset.exploration_share
    conditions: list[Plain] = []
    signals = {str(reason["signal"]): reason for reason in reasons}
    cause = int(_of(inputs, "memory.cause", deployment) or 0)
    # Calls of traffic end a flag of the verifier as well.
    if {Signal.TOOL_CALL_SUCCESS, Signal.VERIFIER} & below.keys() or cause & (ERRORS | VERIFIER):
        conditions.append(_fresh_calls(rule, share, inputs, deployment, signals.get(Signal.TOOL_CALL_SUCCESS)))
    speed = signals.get(Signal.THROUGHPUT)
    if speed is not None and (Signal.THROUGHPUT in below or cause & SLOW) and speed["threshold"] is not None:
        conditions.append(
            {"kind": "speed", "above": speed["threshold"] * math.exp(FRESH_MARGIN), "answers": FRESH_SPEEDS}
        )
    if Signal.VERIFIER in below or cause & VERIFIER:
        conditions.append({"kind": "run", "deployment": deployment})
    separate = (Signal.TOOL_CALL_SUCCESS, Signal.THROUGHPUT, Signal.VERIFIER)
    return conditions + [_above(reason) for signal, reason in below.items() if signal not in separate]


def _missing(reason: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = {ReasonCode.TOO_FEW_SAMPLES: "samples", ReasonCode.TOO_FEW_PEERS: "peers"}.get(reason["code"], "certainty")
    have = reason["peers"] if kind == "peers" else reason["samples"]
    return {"kind": kind, "signal": reason["signal"], "have": have, "needed": reason["needed"]}


def _above(reason: Mapping[str, Any]) -> Plain:
    return {"kind": "threshold", "signal": reason["signal"], "above": reason["threshold"]}


def _fresh_calls(
    rule: AdaptiveParameters,
    share: float,
    inputs: GroupInputs | None,
    deployment: str,
    reason: Mapping[str, Any] | None,
) -> Plain:
    """Return the condition on fresh calls: their number, and the most bad ones."""
    phi = _of(inputs, "memory.phi", deployment) or rule.phi_start
    threshold = reason["threshold"] if reason is not None else None
    limit = rule.good_ceiling if threshold is None else 1.0 - threshold
    if reason is not None and (chosen := reason.get("strictness")) is not None:
        limit = chosen["acquits_below"]
    calls = math.ceil(_calls_for(rule, limit) * phi)
    bad = np.arange(calls + 1, dtype=np.float64)
    passes = rate_below(bad / phi, np.full_like(bad, calls / phi), np.full_like(bad, limit), rule.fresh_tail)
    at_most = int(passes.argmin()) - 1 if not passes.all() else calls
    known = (_of(inputs, "memory.cause", deployment) or 0) > 0
    so_far = _of(inputs, "evidence.fresh_calls", deployment) if known else 0.0
    limit_of_trials = max(share, trial_share(rule, share))
    return {
        "kind": "fresh_calls",
        "calls": calls,
        "bad_at_most": at_most if at_most >= 0 else None,
        "so_far": so_far,
        "so_far_bad": _of(inputs, "evidence.fresh_bad", deployment) if known else 0.0,
        "so_far_at": inputs.reading.times[0] if inputs is not None and inputs.reading.times else None,
        "probe_share": limit_of_trials,
        "usual_share": share,
        "next_trial_at": _next_trial(rule, inputs, deployment, known=known),
        "deployment": deployment,
        **_duration(rule, limit_of_trials, inputs, max(0.0, calls - (so_far or 0.0))),
    }


def _next_trial(rule: AdaptiveParameters, inputs: GroupInputs | None, deployment: str, *, known: bool) -> float | None:
    """Return when the next trial begins, UTC seconds; None in a trial, or unknown.

    Inputs are of before the recompute, which sets the first time one pause after a derank.
    """
    if inputs is None or not inputs.reading.times or _of(inputs, "memory.burst_from", deployment) is not None:
        return None
    planned = _of(inputs, "memory.burst_at", deployment) if known else None
    return inputs.reading.times[0] + rule.burst_pause_s if planned is None else planned


def _calls_for(rule: AdaptiveParameters, limit: float) -> float:
    """Return the calls without a failure that readmit, before the design effect.

    >>> from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    >>> [round(_calls_for(AdaptiveParameters(), limit)) for limit in (0.02, 0.01, 0.001)]
    [150, 298, 800]
    """
    clean = math.log(rule.fresh_tail) / math.log1p(-min(max(limit, 1e-9), 1.0 - 1e-9))
    return max(rule.fresh_calls, min(clean, TRIAL_CALLS) if rule.trial_share > 0 else 0.0)


def _duration(rule: AdaptiveParameters, share: float, inputs: GroupInputs | None, calls: float) -> Plain:
    """Return how long a trial that goes well takes and how long calls are kept.

    Nothing where it is not long, or not known.
    """
    names = ("evidence.offered_day", "evidence.offered_hour", "evidence.meant_day")
    if inputs is None or not set(names) <= inputs.reading.columns.keys():
        return {}
    day, hour, meant = (float(np.sum(inputs.reading.columns[name])) for name in names)
    # The larger of both, as a group that has just begun has no day yet.
    offered_per_s = max(day / 86_400.0, hour / 3600.0)
    per_s = min(share * offered_per_s * meant / max(day, 1.0), rule.probe_calls_per_hour / 3600.0)
    if per_s <= 0.0 or calls / per_s <= LONG_S:
        return {}
    return {"takes_s": calls / per_s, "kept_s": max(THREE_DAYS_S, rule.quiet_ttl_s)}


def _of(inputs: GroupInputs | None, column: str, deployment: str) -> float | None:
    """Return one number of a deployment from the inputs; None if unknown or NaN.

    Columns have their wire names, whatever the attributes are called.
    """
    if inputs is None or deployment not in inputs.deployments or column not in inputs.reading.columns:
        return None
    number = float(inputs.reading.columns[column][inputs.deployments.index(deployment)])
    return None if math.isnan(number) else number

"""The answer to ``why`` as plain data, in one shape for present and past.

Pure. Looks nothing up and phrases nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit.readmission import readmission_conditions
from exacto_plugin.audit.verdict_errors import wrong_one_in
from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.core.routing.overrides import OverriddenVerdict
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.checkpoints import CHECKPOINT_S
from exacto_plugin.core.tiers.replay import preset_as_plain
from exacto_plugin.core.views import flaw_rates_view, reason_view, reference_view, signal_view, with_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import DeploymentKey, GroupSnapshot, Reference
    from exacto_plugin.core.routing.overrides import Override
    from exacto_plugin.core.scoring.flaws import FlawCounts
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.core.tiers.replay import GroupInputs
    from exacto_plugin.records import DeploymentRecord, ReferenceRecord

Plain = dict[str, Any]

STALE_S = 2 * CHECKPOINT_S
"""Seconds without a record until a deployment counts as not served.

Or no records were kept."""


class Judged(NamedTuple):
    """The measured state of one deployment, without overrides."""

    model_group: str
    deployment: str
    provider: str
    tier: str
    since: float
    snapshot: str
    measured_at: float | None
    """When it was put on record; None for the state in force."""
    throughput: float | None
    """Sort key, as is ``latency_s``.

    None without answers, and for the past, which has no record of it."""
    latency_s: float | None
    reasons: Sequence[Mapping[str, Any]]
    """As the API writes them."""
    signals: Mapping[str, tuple[float | None, int]]
    """By signal: value and samples."""
    references: Mapping[str, Reference | ReferenceRecord]
    """By signal."""
    flaws: Mapping[str, int] | None = None
    """Flaw -> answers with it since the process started; None for the past."""
    pairs: list[Plain] | None = None
    """Comparisons with other deployments by requests that both were sent; None for the past."""
    flaw_rates: list[Plain] | None = None
    """Shares of answers with each flaw over the last hour and day; None for the past."""
    benchmarks: Plain | None = None
    """Benchmark scores and refused runs; None for the past."""


def judged_now(
    group: GroupSnapshot, deployment: DeploymentKey, provider: str, snapshot: str, flaws: FlawCounts, now: float
) -> Judged:
    """Return the state of a deployment in the snapshot in force at a time.

    Raises:
        KeyError: the deployment is not in the group.
    """
    verdict = group.verdicts[deployment]
    tier = verdict.measured if isinstance(verdict, OverriddenVerdict) else verdict.tier
    return Judged(
        model_group=group.model_group,
        deployment=deployment,
        provider=provider,
        tier=tier.value,
        since=verdict.since,
        snapshot=snapshot,
        measured_at=None,
        throughput=verdict.throughput,
        latency_s=verdict.latency_s,
        reasons=[reason_view(one) for one in verdict.reasons if one.code is not ReasonCode.OVERRIDE],
        signals={signal.value: (one.value, one.samples) for signal, one in verdict.signals.items()},
        references={signal.value: one for signal, one in group.references.items()},
        flaws={flaw.value: count for flaw, count in flaws.of(group.model_group, deployment).items()},
        flaw_rates=flaw_rates_view(flaws.rates.of(group.model_group, deployment, now)),
    )


def judged_then(record: DeploymentRecord, references: Mapping[str, ReferenceRecord]) -> Judged:
    """Return the state on record of a deployment and its model group at a time."""
    return Judged(
        model_group=record.model_group,
        deployment=record.deployment,
        provider=record.provider,
        tier=record.tier,
        since=record.since,
        snapshot=record.snapshot,
        measured_at=record.at,
        throughput=None,
        latency_s=None,
        reasons=list(record.reasons),
        signals={signal: (value, samples) for signal, (value, samples) in record.signals.items()},
        references=references,
    )


def under_override(tier: str, since: float, override: Override | None) -> tuple[str, float, Plain | None]:
    """Return the tier in force, its start, and the override as plain data.

    Args:
        tier: the measured one.
        since: of the measured one.
        override: in force; None without one.
    """
    if override is None:
        return tier, since, None
    in_force = tier if override.tier is None else override.tier.value
    return in_force, override.since, {**override.as_plain(), "measured_tier": tier}


def why_view(
    judged: Judged, forced: Override | None, preset: Preset | None, inputs: GroupInputs | None, at: float, *, past: bool
) -> Plain:
    """Build the answer: a deployment's tier with its reasons.

    Args:
        judged: the measured state.
        forced: the override in force; None without one.
        preset: the rule in force; None when it is not known.
        inputs: of the rule; None when they were not kept, or cannot be read.
        at: the requested time, UTC seconds.
        past: True for a time in the past.
    """
    measured_at = judged.measured_at
    tier, since, shown = under_override(judged.tier, judged.since, forced)
    return {
        "model_group": judged.model_group,
        "deployment": judged.deployment,
        "provider": judged.provider,
        "tier": tier,
        "since": since,
        "at": at,
        "past": past,
        "measured_at": measured_at,
        "stale": measured_at is not None and at - measured_at > STALE_S,
        "snapshot": judged.snapshot,
        "override": shown,
        "throughput": judged.throughput,
        "latency_s": judged.latency_s,
        "signals": {signal: signal_view(*numbers) for signal, numbers in judged.signals.items()},
        "reasons": list(judged.reasons),
        "references": with_step(
            {signal: reference_view(one) for signal, one in judged.references.items()}, judged.reasons
        ),
        "preset": None if preset is None else str(preset_as_plain(preset)["preset"]),
        "way_back": readmission_conditions(preset, inputs, judged.deployment, judged.tier, judged.reasons),
        "wrong_one_in": _wrong_one_in(judged, preset, inputs),
        **{name: getattr(judged, name) for name in ("flaws", "flaw_rates", "pairs", "benchmarks")},
    }


_SIGNAL = Signal.TOOL_CALL_SUCCESS
_DECIDES: Mapping[str, str] = {
    Tier.DERANKED: ReasonCode.BELOW_THRESHOLD,
    Tier.VERIFIED_GOOD: ReasonCode.WITHIN_THRESHOLD,
}
"""The reason of tool calls that gives each tier."""


def _wrong_one_in(judged: Judged, preset: Preset | None, inputs: GroupInputs | None) -> int | None:
    """Return N if about one of N verdicts on such evidence was wrong in simulations."""
    causes = None if inputs is None else inputs.reading.columns.get("memory.cause")
    if not isinstance(preset, AdaptivePreset) or inputs is None or causes is None:
        return None
    wanted = _DECIDES.get(judged.tier)
    calls = [one["samples"] for one in judged.reasons if (one["signal"], one["code"]) == (_SIGNAL, wanted)]
    if not calls:
        return None
    # The inputs are those before the recompute, so its own derank is added.
    others = [cause > 0 for name, cause in zip(inputs.deployments, causes, strict=True) if name != judged.deployment]
    deranked = sum(others) + (judged.tier == Tier.DERANKED)
    return wrong_one_in(judged.tier, calls[0], deranked / (len(others) + 1), preset.rule)

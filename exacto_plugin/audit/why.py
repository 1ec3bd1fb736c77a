"""The answer to ``why`` as plain data: one shape for what is in force and for what was at any time on record.

Pure. Must not look anything up, and must not phrase anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit.readmission import readmission_conditions
from exacto_plugin.core.routing.overrides import OverriddenVerdict
from exacto_plugin.core.tiers.checkpoints import CHECKPOINT_S
from exacto_plugin.core.tiers.replay import preset_as_plain
from exacto_plugin.web.views import reason_view, reference_view, signal_view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import GroupSnapshot, Reference
    from exacto_plugin.core.routing.overrides import Override
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.core.tiers.replay import GroupInputs
    from exacto_plugin.records import DeploymentRecord, ReferenceRecord

Plain = dict[str, Any]

STALE_S = 2 * CHECKPOINT_S
"""Without a record for so long, a deployment was not served, or nobody kept records."""


class Judged(NamedTuple):
    """What measurements said of one deployment, whatever an operator said."""

    model_group: str
    deployment: str
    provider: str
    tier: str
    since: float
    snapshot: str
    measured_at: float | None
    """When it was put on record; None of what is in force."""
    throughput: float | None
    """As is ``latency_s``: what sorts go by. None without answers, and of the past, which has no record of it."""
    latency_s: float | None
    reasons: Sequence[Mapping[str, Any]]
    """As the API writes them."""
    signals: Mapping[str, tuple[float | None, int]]
    """By signal: value and samples."""
    references: Mapping[str, Reference | ReferenceRecord]
    """By signal."""


def judged_now(group: GroupSnapshot, deployment: str, provider: str, snapshot: str) -> Judged:
    """From the snapshot in force, of this id; KeyError when the deployment is not in the group."""
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
        reasons=[reason_view(one) for one in verdict.reasons if one.signal is not None],
        signals={signal.value: (one.value, one.samples) for signal, one in verdict.signals.items()},
        references={signal.value: one for signal, one in group.references.items()},
    )


def judged_then(record: DeploymentRecord, references: Mapping[str, ReferenceRecord]) -> Judged:
    """From what is on record of a deployment, and of its model group at that time."""
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


def why_view(
    judged: Judged, word: Override | None, preset: Preset | None, inputs: GroupInputs | None, at: float, *, past: bool
) -> Plain:
    """Why a deployment has, or had, its tier.

    Args:
        judged: what measurements said.
        word: the operator's that held; None without one.
        preset: the rule in force; None when it is not known.
        inputs: what its judge last read; None when that was not kept, or cannot be read.
        at: the time that is asked about, UTC seconds.
        past: whether that time was asked for.
    """
    measured_at = judged.measured_at
    return {
        "model_group": judged.model_group,
        "deployment": judged.deployment,
        "provider": judged.provider,
        "tier": judged.tier if word is None or word.tier is None else word.tier.value,
        "since": judged.since if word is None else word.since,
        "at": at,
        "past": past,
        "measured_at": measured_at,
        "stale": measured_at is not None and at - measured_at > STALE_S,
        "snapshot": judged.snapshot,
        "override": None if word is None else {**word.as_plain(), "measured_tier": judged.tier},
        "throughput": judged.throughput,
        "latency_s": judged.latency_s,
        "signals": {signal: signal_view(*numbers) for signal, numbers in judged.signals.items()},
        "reasons": list(judged.reasons),
        "references": {signal: reference_view(one) for signal, one in judged.references.items()},
        "preset": None if preset is None else str(preset_as_plain(preset)["preset"]),
        "way_back": readmission_conditions(preset, inputs, judged.deployment, judged.tier, judged.reasons),
    }

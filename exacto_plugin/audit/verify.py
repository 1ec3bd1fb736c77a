"""Verification: recomputes the results on record and compares them bit for bit.

For every checkpoint and every change: tiers, reasons, references and transitions must follow from the numbers that were
kept with them. Pure; the source of the records is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.tiers.replay import InputsError, decode, preset_of_plain, replay
from exacto_plugin.core.views import reason_view
from exacto_plugin.records import ENGINE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import GroupSnapshot, Reference
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.records import (
        DeploymentRecord,
        InputsRecord,
        ReferenceRecord,
        RuleRecord,
        TransitionRecord,
    )


class Recompute(NamedTuple):
    """All records of one model group at one recompute."""

    inputs: InputsRecord
    deployments: Sequence[DeploymentRecord]
    references: Sequence[ReferenceRecord]
    transitions: Sequence[TransitionRecord]


@dataclass(frozen=True, slots=True)
class Difference:
    """A record that does not follow from its inputs."""

    snapshot: str
    at: float
    model_group: str
    what: str
    """``deployment NAME``, ``transition NAME``, ``reference SIGNAL`` or ``inputs``.

    ``inputs`` when those are damaged."""
    recorded: Any
    follows: Any
    engine_version: str
    """Version that wrote the record."""


@dataclass(slots=True)
class Verification:
    """The result of a verification: the number of comparisons, and the differences."""

    recomputes: int = 0
    deployments: int = 0
    transitions: int = 0
    references: int = 0
    differences: list[Difference] = field(default_factory=list)
    unreadable: int = 0
    """Recomputes that another version wrote in a form that this one cannot read."""
    without_inputs: int = 0
    """Transitions that cannot be verified: their inputs are not on record (any more)."""

    @property
    def compared(self) -> int:
        """Records that were compared, and recomputes whose inputs are damaged."""
        return self.deployments + self.transitions + self.references + len(self.differences)


class Verifier:
    """Verifies recomputes one after the other, in any order.

    Args:
        rules: by digest.
    """

    def __init__(self, rules: Mapping[str, RuleRecord]) -> None:
        self.result = Verification()
        self._rules = rules
        self._presets: dict[str, Preset] = {}

    def verify(self, recompute: Recompute) -> None:
        """Compare one recompute's records with the results computed from its inputs."""
        inputs, result = recompute.inputs, self.result
        result.recomputes += 1
        try:
            group = self._replayed(inputs)
        except InputsError as error:
            if inputs.engine_version == ENGINE_VERSION:
                self._differs(inputs, "inputs", str(error), None)
            else:
                result.unreadable += 1
            return
        for record in recompute.deployments:
            result.deployments += 1
            recorded = [record.tier, list(record.reasons), dict(record.signals)]
            self._compare(
                inputs, f"deployment {record.deployment}", recorded, _outcome(group, DeploymentKey(record.deployment))
            )
        for change in recompute.transitions:
            result.transitions += 1
            recomputed = _outcome(group, DeploymentKey(change.deployment))
            recorded = [change.tier, list(change.reasons)]
            self._compare(inputs, f"transition {change.deployment}", recorded, recomputed and recomputed[:2])
        references = {signal.value: _numbers(reference) for signal, reference in group.references.items()}
        for reference in recompute.references:
            result.references += 1
            numbers = [reference.median, reference.mad, reference.threshold, reference.peers]
            self._compare(inputs, f"reference {reference.signal}", numbers, references.get(reference.signal))

    def _replayed(self, inputs: InputsRecord) -> GroupSnapshot:
        preset = self._presets.get(inputs.rule)
        if preset is None:
            if inputs.rule not in self._rules:
                raise InputsError("the rule in force is not on record")
            preset = self._presets[inputs.rule] = preset_of_plain(self._rules[inputs.rule].rule)
        return replay(decode(inputs.inputs, preset), preset, inputs.at)

    def _compare(self, inputs: InputsRecord, what: str, recorded: Any, recomputed: Any) -> None:
        if recorded != recomputed:
            self._differs(inputs, what, recorded, recomputed)

    def _differs(self, inputs: InputsRecord, what: str, recorded: Any, recomputed: Any) -> None:
        self.result.differences.append(
            Difference(
                inputs.snapshot, inputs.at, inputs.model_group, what, recorded, recomputed, inputs.engine_version
            )
        )


def _outcome(group: GroupSnapshot, deployment: DeploymentKey) -> list[Any] | None:
    """Return tier, reasons and signals in the form on record.

    None when there is no such deployment.
    """
    verdict = group.verdicts.get(deployment)
    if verdict is None:
        return None
    signals = {signal.value: [value.value, value.samples] for signal, value in verdict.signals.items()}
    outcome = [verdict.tier.value, [reason_view(reason) for reason in verdict.reasons], signals]
    return list(orjson.loads(orjson.dumps(outcome)))  # in the form that a store writes


def _numbers(reference: Reference) -> list[float | int | None]:
    return [reference.median, reference.mad, reference.threshold, reference.peers]

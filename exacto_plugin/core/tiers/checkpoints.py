"""Selection of the model groups that a recompute records.

These are the groups in which a tier or a reason changed, and each group once an hour. The inputs of the rule are
included, so that the verdicts can be replayed. Does no I/O; the only state is the last outcome of each group, set when
the recompute comes into force.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import DeploymentKey, Signal
from exacto_plugin.core.tiers.replay import read_block
from exacto_plugin.core.tiers.signals import NO_REASON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.columns import Block, TierAssignments, TierRule
    from exacto_plugin.core.tiers.replay import BlockInputs, GroupInputs

CHECKPOINT_S = 3600.0
"""Period of a group's checkpoints; the groups' checkpoints are spread over it."""

_SIGNALS = {signal: place for place, signal in enumerate(Signal)}


class RecordCause(StrEnum):
    """Cause of a group's record."""

    CHANGE = "change"
    CHECKPOINT = "checkpoint"


class GroupChange(NamedTuple):
    """Group of a recompute that is to be recorded."""

    model_group: str
    cause: RecordCause
    deployments: tuple[DeploymentKey, ...]
    """Deployments whose tier or reasons changed; all of them at a checkpoint."""
    block: BlockInputs
    number: int
    """Index of the group within its block."""

    def inputs(self) -> GroupInputs:
        """Return the inputs of the rule for the group."""
        return self.block.of(self.number)


class LastSeen(NamedTuple):
    """State of a group at the last scan."""

    deployments: Mapping[DeploymentKey, int]
    outcome: NDArray[np.int8]
    """Tier, phase of a common cause, then the reason code of each signal.
    Shape ``[2 + signal, deployment]``."""
    hour: int
    """Hour of its last checkpoint, in the group's own phase."""


class ScanResult(NamedTuple):
    """Result of scanning one block."""

    changes: list[GroupChange]
    last_seen: dict[str, LastSeen]


class ChangeDetector:
    """Detector of changes between consecutive recomputes."""

    def __init__(self) -> None:
        self.changes: tuple[GroupChange, ...] = ()
        """Changes of the last recompute that came into force."""
        self._seen: dict[str, LastSeen] = {}

    def is_due(self, model_group: str, now: float) -> bool:
        """Return True if a model group is recorded whether or not anything changed."""
        before = self._seen.get(model_group)
        return before is None or before.hour != _hour(model_group, now)

    def scan(
        self,
        judge: TierRule,
        block: Block,
        assignments: TierAssignments,
        scores: Mapping[str, BenchmarkScores],
        now: float,
    ) -> ScanResult:
        """Find the groups of an evaluated block that are to be recorded.

        Call it before the rule stores the new state.
        """
        outcome = _outcome(assignments)
        found = ScanResult([], {})
        inputs: BlockInputs | None = None
        for number, group in enumerate(block.groups):
            positions = block.positions[number]
            own = outcome[:, number, : len(positions)].copy()  # so that no group keeps its block's
            before = self._seen.get(group)
            due = self.is_due(group, now)
            changed = tuple(positions) if before is None else _differs(before, positions, own)
            found.last_seen[group] = LastSeen(positions, own, _hour(group, now))
            if due or changed is not None:
                inputs = inputs or read_block(judge, block, scores)
                cause, names = (
                    (RecordCause.CHECKPOINT, tuple(positions)) if due else (RecordCause.CHANGE, changed or ())
                )
                found.changes.append(GroupChange(group, cause, names, inputs, number))
        return found

    def commit(self, scans: Iterable[ScanResult], unchanged: Iterable[str]) -> None:
        """Store the scans of the recompute that came into force.

        Of ``unchanged`` groups, which were not scanned, the last scan stays; others are forgotten.
        """
        found = list(scans)
        self.changes = tuple(change for scan in found for change in scan.changes)
        seen = {group: before for group in unchanged if (before := self._seen.get(group)) is not None}
        self._seen = seen | {group: seen for scan in found for group, seen in scan.last_seen.items()}


def _hour(model_group: str, now: float) -> int:
    """Return the hour of a time, in the group's own phase."""
    return int((now + zlib.crc32(model_group.encode()) % CHECKPOINT_S) // CHECKPOINT_S)


def _outcome(assignments: TierAssignments) -> NDArray[np.int8]:
    outcome = np.full((2 + len(_SIGNALS), *assignments.tier.shape), NO_REASON, np.int8)
    outcome[0] = assignments.tier
    outcome[1] = 0 if assignments.common is None else assignments.common.phase()[:, np.newaxis]
    for columns in assignments.signals:
        outcome[2 + _SIGNALS[columns.signal]] = columns.code
    return outcome


def _differs(
    before: LastSeen, positions: Mapping[DeploymentKey, int], outcome: NDArray[np.int8]
) -> tuple[DeploymentKey, ...] | None:
    """Return the deployments whose tier or reasons changed.

    None when nothing changed and no deployment was added or removed.
    """
    if before.deployments is positions or before.deployments == positions:
        different = (before.outcome != outcome).any(axis=0)
        return tuple(name for name, place in positions.items() if different[place]) if different.any() else None
    return tuple(
        name
        for name, place in positions.items()
        if name not in before.deployments or (before.outcome[:, before.deployments[name]] != outcome[:, place]).any()
    )

"""Results of earlier recomputes that are still in force.

A verdict follows from these inputs, and a model group is judged again when one of them may have changed:

* counts of samples, of calls as of answers: ``WindowBlock.changed`` marks the rows of new, restored and erased ones,
  and of those that time takes out of a window or from one ring of a history to the next;
* the age of the evidence on calls and on answers, and of trials: ``TierRule.due_slots``;
* refused attempts, and the dispersion of ended half-hours, which leaves out common causes: ``TierRule.measure_block``
  returns the rows that changed;
* the rule's own state, that of broken answers included: ``TierAssignments.commit`` returns the slots in which a verdict
  changed it; ``EngineState.load`` and ``restart`` mark theirs. A group is therefore judged until two recomputes agree;
* reported limits: ``TierRule.note_limits`` returns the slots;
* pauses, holds, learned limits, common causes and the times from and to which a verifier's finding counts:
  ``TierAssignments.holds_until``;
* the interval between recomputes, where there are probes: ``TierAssignments.by_interval``;
* peers, weights, capacities, prices, benchmark scores and a verifier's findings: they are compared, and so is whether
  any model group has scores, since a derank by scores that are gone ends only while others are known;
* the preset: ``EngineState.change_rule`` marks all slots. So does a clock that went back;
* the slots themselves, and the width of the block that a group is part of (sums of floats depend on it): compared.

Overrides are applied to a snapshot and are no input. A group whose checkpoint is due is judged as well, since its
inputs are recorded with its verdicts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import GroupSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from exacto_plugin.core.engine.marks import SlotMarks
    from exacto_plugin.core.model import BenchmarkScores, DeploymentKey
    from exacto_plugin.core.pace import RecentPace
    from exacto_plugin.core.tiers.columns import BlockVerdicts
    from exacto_plugin.core.tiers.rosters import GroupMembers

_LEAST_IN_FORCE = 0.5
"""Share of a block's groups in force below which it is copied without the others, so that memory stays bounded."""


class GroupResult(NamedTuple):
    """Result of judging one model group, and what it follows from."""

    snapshot: GroupSnapshot
    """Without percentiles."""
    verdicts: BlockVerdicts
    number: int
    """Index of the group in the block of ``verdicts``."""
    revision: int
    """``GroupMembers.revision`` at the time."""
    slots: NDArray[np.intp]
    """``GroupMembers.slots``; other members have another array, and so have members that lost a slot."""
    width: int
    scores: BenchmarkScores | None
    any_scores: bool
    """True if some model group had scores."""
    mark: int
    """Slots without a mark from this one on have not changed; see ``marks``."""
    until: float
    """UTC seconds."""
    interval_s: float | None
    """None: independent of it."""

    def holds(
        self,
        members: GroupMembers,
        width: int,
        scores: Mapping[str, BenchmarkScores],
        marks: SlotMarks,
        interval_s: float,
    ) -> bool:
        """Return True if nothing has changed but the time; ``scores`` are by model group."""
        own = scores.get(self.snapshot.model_group)
        return (
            self.slots is members.slots
            and self.revision == members.revision
            and self.width == width
            and (self.scores is own or self.scores == own)
            and self.any_scores == bool(scores)
            and (self.interval_s is None or self.interval_s == interval_s)
            and marks.newest(members.slots) < self.mark
        )


class KeptResults:
    """Results in force, by model group in the order of the groups."""

    __slots__ = ("_results",)

    def __init__(self) -> None:
        self._results: dict[str, GroupResult] = {}

    def get(self, model_group: str) -> GroupResult | None:
        """Return the result of a model group; None without one."""
        return self._results.get(model_group)

    def replace(self, results: Mapping[str, GroupResult]) -> None:
        """Put results in force in place of all others."""
        in_force = Counter(id(result.verdicts) for result in results.values())
        sparse: dict[int, dict[str, GroupResult]] = {}
        for name, result in results.items():
            key = id(result.verdicts)
            if in_force[key] < _LEAST_IN_FORCE * len(result.verdicts.block.groups):
                sparse.setdefault(key, {})[name] = result
        self._results = {**results, **dict(_copied(sparse.values()))}

    def snapshots(self, at: float, paces: Mapping[str, Mapping[DeploymentKey, RecentPace]]) -> Iterator[GroupSnapshot]:
        """Iterate over the groups' parts of a snapshot as of ``at``, with percentiles."""
        for name, result in self._results.items():
            if result.snapshot.at == at and name not in paces:
                yield result.snapshot
            else:
                own = result.snapshot
                # ``dataclasses.replace`` takes ten times as long: 11 ms for 1,000 groups in one slice.
                yield GroupSnapshot(
                    own.model_group,
                    own.verdicts,
                    own.references,
                    at,
                    own.merge_tiers,
                    paces.get(name, own.paces),
                    own.common_cause,
                )


def _copied(blocks: Iterable[Mapping[str, GroupResult]]) -> Iterator[tuple[str, GroupResult]]:
    """Copy what is in force of some blocks.

    Verdicts that were read remain the same objects.
    """
    for results in blocks:
        whole = next(iter(results.values())).verdicts
        part = whole.only([result.number for result in results.values()])
        for number, (name, result) in enumerate(results.items()):
            snapshot = part.group(number, result.snapshot)
            yield name, result._replace(snapshot=snapshot, verdicts=part, number=number)

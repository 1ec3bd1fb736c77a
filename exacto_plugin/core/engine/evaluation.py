"""Evaluation of blocks of model groups for the next snapshot.

Changes no state before ``BlockResult.commit``; ``recompute`` selects the groups.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.engine.kept import GroupResult
from exacto_plugin.core.model import DeploymentKey, Tier, Transition
from exacto_plugin.core.tiers.change_point import call_histories
from exacto_plugin.core.tiers.columns import TIERS, BlockVerdicts, no_commit
from exacto_plugin.core.windows.percentiles import PercentileReader
from exacto_plugin.core.windows.speed import merge_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.engine.state import EngineState
    from exacto_plugin.core.model import BenchmarkScores, GroupSnapshot
    from exacto_plugin.core.pace import RecentPace
    from exacto_plugin.core.tiers.change_point import CallHistory
    from exacto_plugin.core.tiers.checkpoints import ChangeDetector, ScanResult
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.core.tiers.rosters import GroupMembers


class BlockResult(NamedTuple):
    """Result of evaluating one block."""

    verdicts: BlockVerdicts
    groups: Mapping[str, GroupResult]
    transitions: Sequence[Transition]
    scan: ScanResult | None
    histories: Mapping[tuple[str, DeploymentKey], CallHistory]
    """The calls of deranks and of their ends, by model group and deployment; empty unless changes are detected."""
    store: Callable[[], NDArray[np.intp]]
    """Stores the rule's new state; see ``TierAssignments.commit``."""

    def commit(self, state: EngineState) -> None:
        """Store the result when its snapshot comes into force."""
        state.tier_state.commit(self.verdicts.block, self.verdicts.assignments.tier, self.verdicts.since)
        state.measure_again(self.store())


def evaluate_block(
    block: Block,
    members: Sequence[GroupMembers],
    state: EngineState,
    scores: Mapping[str, BenchmarkScores],
    now: float,
    change_detector: ChangeDetector | None,
) -> BlockResult:
    """Evaluate a block for the next snapshot; changes no state."""
    mark = state.marks.next()
    assignments = state.rule.judge(block, scores)
    previous, since = state.tier_state.compare(block, assignments.tier, now)
    scan = None if change_detector is None else change_detector.scan(state.rule, block, assignments, scores, now)
    speed = merge_modes(state.speed.at(block.slots), 1.0)
    latency = merge_modes(state.latency.at(block.slots), math.nan)
    # The verdicts outlive the recompute, and must not keep what only ``commit`` needs.
    kept = replace(assignments, commit=no_commit)
    verdicts = BlockVerdicts(block, kept, since, speed, latency, now)
    groups = {
        name: _group_result(verdicts, number, members[number], scores, mark, state.rule.interval_s)
        for number, name in enumerate(block.groups)
    }
    before = np.nan_to_num(state.tier_state.since[block.slots])
    changed = [(int(number), int(place)) for number, place in np.argwhere(previous != assignments.tier)]
    transitions = [
        _transition(
            groups[block.groups[number]].snapshot,
            tuple(block.positions[number])[place],
            TIERS[previous[number, place]],
            float(before[number, place]),
        )
        for number, place in changed
    ]
    histories: dict[tuple[str, DeploymentKey], CallHistory] = {}
    if change_detector is not None:
        slots = [int(block.slots[number, place]) for number, place in changed]
        histories = _histories(transitions, slots, state, now)
    return BlockResult(verdicts, groups, transitions, scan, histories, assignments.commit)


def _histories(
    transitions: Sequence[Transition], slots: Sequence[int], state: EngineState, now: float
) -> dict[tuple[str, DeploymentKey], CallHistory]:
    """Return the calls of deranks and of their ends."""
    deranks = [place for place, one in enumerate(transitions) if Tier.DERANKED in (one.tier, one.previous)]
    histories = call_histories(state.windows.blocks, [slots[place] for place in deranks], now)
    keys = [(transitions[place].model_group, transitions[place].deployment) for place in deranks]
    return dict(zip(keys, histories, strict=True))


def _group_result(
    verdicts: BlockVerdicts,
    number: int,
    members: GroupMembers,
    scores: Mapping[str, BenchmarkScores],
    mark: int,
    interval_s: float,
) -> GroupResult:
    assignments = verdicts.assignments
    until, by_interval = assignments.holds_until, assignments.by_interval
    return GroupResult(
        verdicts.group(number),
        verdicts,
        number,
        members.revision,
        members.slots,
        verdicts.block.member.shape[1],
        scores.get(verdicts.block.groups[number]),
        bool(scores),
        mark,
        -math.inf if until is None else float(until[number]),
        interval_s if by_interval is None or by_interval[number] else None,
    )


def percentiles(
    groups: Iterable[GroupSnapshot], state: EngineState, requested: Collection[str], now: float
) -> Iterator[tuple[str, Mapping[DeploymentKey, RecentPace]]]:
    """Compute the percentiles of each requested group, one at a time."""
    wanted = frozenset(requested)
    reader = PercentileReader(state.windows.blocks, now)
    for group in groups:
        if group.model_group in wanted:
            yield group.model_group, reader.of(group.verdicts, partial(state.slot, group.model_group))


def _transition(group: GroupSnapshot, deployment: DeploymentKey, previous: Tier, since: float) -> Transition:
    verdict = group.verdicts[deployment]
    return Transition(group.model_group, deployment, previous, verdict.tier, group.at, verdict.reasons, since)

"""Evaluation of blocks of model groups for the next snapshot.

Changes no state before ``BlockResult.commit``; the engine puts the resulting snapshot in force.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import DeploymentKey, Tier, Transition
from exacto_plugin.core.tiers.change_point import call_histories
from exacto_plugin.core.tiers.columns import TIERS, BlockVerdicts
from exacto_plugin.core.windows.percentiles import PercentileReader
from exacto_plugin.core.windows.speed import merge_modes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from exacto_plugin.core.engine.state import EngineState
    from exacto_plugin.core.model import BenchmarkScores, GroupSnapshot
    from exacto_plugin.core.pace import RecentPace
    from exacto_plugin.core.tiers.change_point import CallHistory
    from exacto_plugin.core.tiers.checkpoints import ChangeDetector, ScanResult
    from exacto_plugin.core.tiers.columns import Block, TierState


class BlockResult(NamedTuple):
    """Result of evaluating one block."""

    verdicts: BlockVerdicts
    groups: Sequence[GroupSnapshot]
    transitions: Sequence[Transition]
    scan: ScanResult | None
    histories: Mapping[tuple[str, DeploymentKey], CallHistory]
    """The calls of deranks and of their ends, by model group and deployment; empty unless changes are detected."""

    def commit(self, tier_state: TierState) -> None:
        """Store the result when its snapshot comes into force."""
        tier_state.commit(self.verdicts.block, self.verdicts.assignments.tier, self.verdicts.since)
        self.verdicts.assignments.commit()


def locked_slices(lock: AbstractContextManager[object], slices: Iterator[None]) -> Iterator[None]:
    """Run each slice under the lock and release it in between."""
    while True:
        with lock:
            try:
                next(slices)
            except StopIteration:
                return
        yield


def evaluate_block(
    block: Block,
    state: EngineState,
    scores: Mapping[str, BenchmarkScores],
    now: float,
    change_detector: ChangeDetector | None,
) -> BlockResult:
    """Evaluate a block for the next snapshot; changes no state."""
    assignments = state.rule.judge(block, scores)
    previous, since = state.tier_state.compare(block, assignments.tier, now)
    speed = merge_modes(state.speed.at(block.slots), 1.0)
    latency = merge_modes(state.latency.at(block.slots), math.nan)
    verdicts = BlockVerdicts(block, assignments, since, speed, latency, now)
    groups = [verdicts.group(number) for number in range(len(block.groups))]
    before = np.nan_to_num(state.tier_state.since[block.slots])
    changed = [(int(number), int(place)) for number, place in np.argwhere(previous != assignments.tier)]
    transitions = [
        _transition(
            groups[number],
            tuple(block.positions[number])[place],
            TIERS[previous[number, place]],
            float(before[number, place]),
        )
        for number, place in changed
    ]
    scan = None
    histories: dict[tuple[str, DeploymentKey], CallHistory] = {}
    if change_detector is not None:
        scan = change_detector.scan(state.rule, block, assignments, scores, now)
        slots = [int(block.slots[number, place]) for number, place in changed]
        histories = _histories(transitions, slots, state, now)
    return BlockResult(verdicts, groups, transitions, scan, histories)


def _histories(
    transitions: Sequence[Transition], slots: Sequence[int], state: EngineState, now: float
) -> dict[tuple[str, DeploymentKey], CallHistory]:
    """Return the calls of deranks and of their ends."""
    deranks = [place for place, one in enumerate(transitions) if Tier.DERANKED in (one.tier, one.previous)]
    histories = call_histories(state.windows.blocks, [slots[place] for place in deranks], now)
    keys = [(transitions[place].model_group, transitions[place].deployment) for place in deranks]
    return dict(zip(keys, histories, strict=True))


def percentiles(
    results: Iterable[BlockResult], state: EngineState, requested: Collection[str], now: float
) -> Iterator[tuple[str, Mapping[DeploymentKey, RecentPace]]]:
    """Compute the percentiles of each requested group, one at a time."""
    wanted = frozenset(requested)
    reader = PercentileReader(state.windows.blocks, now)
    for group in chain.from_iterable(result.groups for result in results):
        if group.model_group in wanted:
            yield group.model_group, reader.of(group.verdicts, partial(state.slot, group.model_group))


def _transition(group: GroupSnapshot, deployment: DeploymentKey, previous: Tier, since: float) -> Transition:
    verdict = group.verdicts[deployment]
    return Transition(group.model_group, deployment, previous, verdict.tier, group.at, verdict.reasons, since)

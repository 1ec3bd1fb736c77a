"""Evaluation of one block of model groups, without changing any state.

The preset contains the rule; the engine puts the resulting snapshot in force.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Transition
from exacto_plugin.core.tiers.columns import TIERS, BlockVerdicts
from exacto_plugin.core.windows.speed import merge_modes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import BenchmarkScores, GroupSnapshot, Tier
    from exacto_plugin.core.tiers.checkpoints import ChangeDetector, ScanResult
    from exacto_plugin.core.tiers.columns import Block, TierRule, TierState
    from exacto_plugin.core.windows.speed import SpeedMedians


class BlockResult(NamedTuple):
    """Result of evaluating one block."""

    verdicts: BlockVerdicts
    groups: Sequence[GroupSnapshot]
    transitions: Sequence[Transition]
    scan: ScanResult | None

    def commit(self, standing: TierState) -> None:
        """Store the result when its snapshot comes into force."""
        standing.commit(self.verdicts.block, self.verdicts.assignments.tier, self.verdicts.since)
        self.verdicts.assignments.commit()


def evaluate_block(
    block: Block,
    judge: TierRule,
    standing: TierState,
    scores: Mapping[str, BenchmarkScores],
    paces: tuple[SpeedMedians, SpeedMedians],
    now: float,
    ledger: ChangeDetector | None,
) -> BlockResult:
    """Evaluate a block for the next snapshot; changes no state.

    ``paces`` are medians of speed and latency, by slot.
    """
    judgement = judge.judge(block, scores)
    previous, since = standing.compare(block, judgement.tier, now)
    speed = merge_modes(paces[0].at(block.slots), 1.0)
    latency = merge_modes(paces[1].at(block.slots), math.nan)
    findings = BlockVerdicts(block, judgement, since, speed, latency, now)
    groups = [findings.group(number) for number in range(len(block.groups))]
    transitions = [
        _transition(groups[number], tuple(block.positions[number])[place], TIERS[previous[number, place]])
        for number, place in np.argwhere(previous != judgement.tier)
    ]
    look = None if ledger is None else ledger.scan(judge, block, judgement, scores, now)
    return BlockResult(findings, groups, transitions, look)


def _transition(group: GroupSnapshot, deployment: str, previous: Tier) -> Transition:
    verdict = group.verdicts[deployment]
    return Transition(group.model_group, deployment, previous, verdict.tier, group.at, verdict.reasons)

"""Portions: the part of the next snapshot that comes from one block, concluded before anything is changed.

Which rule decides is the judge's business; when a snapshot comes into force, the engine's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Transition
from exacto_plugin.core.tiers.columns import TIERS, Findings
from exacto_plugin.core.windows.speed import levelled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import BenchmarkScores, GroupSnapshot, Tier
    from exacto_plugin.core.tiers.checkpoints import Ledger, Look
    from exacto_plugin.core.tiers.columns import Block, Judge, Standing
    from exacto_plugin.core.windows.speed import Pace


class Portion(NamedTuple):
    """What was concluded about one block."""

    findings: Findings
    groups: Sequence[GroupSnapshot]
    transitions: Sequence[Transition]
    look: Look | None

    def settle(self, standing: Standing) -> None:
        """Remember it, when the snapshot that holds it comes into force."""
        standing.settle(self.findings.block, self.findings.judgement.tier, self.findings.since)
        self.findings.judgement.settle()


def conclude(
    block: Block,
    judge: Judge,
    standing: Standing,
    scores: Mapping[str, BenchmarkScores],
    paces: tuple[Pace, Pace],
    now: float,
    ledger: Ledger | None,
) -> Portion:
    """What the next snapshot says about a block; changes nothing yet. ``paces`` are speed and latency, by slot."""
    judgement = judge.judge(block, scores)
    previous, since = standing.compare(block, judgement.tier, now)
    speed = levelled(paces[0].at(block.slots), 1.0)
    latency = levelled(paces[1].at(block.slots), math.nan)
    findings = Findings(block, judgement, since, speed, latency, now)
    groups = [findings.group(number) for number in range(len(block.groups))]
    transitions = [
        _transition(groups[number], tuple(block.rosters[number])[place], TIERS[previous[number, place]])
        for number, place in np.argwhere(previous != judgement.tier)
    ]
    look = None if ledger is None else ledger.look(judge, block, judgement, scores, now)
    return Portion(findings, groups, transitions, look)


def _transition(group: GroupSnapshot, deployment: str, previous: Tier) -> Transition:
    verdict = group.verdicts[deployment]
    return Transition(group.model_group, deployment, previous, verdict.tier, group.at, verdict.reasons)

"""Benchmark scores as columns of a block.

The scores are measured outside the plugin and laid out like the measured signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.columns import Block


class ScoreColumns(NamedTuple):
    """Benchmark scores of a block.

    ``values`` and ``samples`` are per group and deployment, the other fields per group.
    """

    values: NDArray[np.float64]
    """NaN where a deployment has no score."""
    samples: NDArray[np.int64]
    baseline: NDArray[np.float64]
    """NaN in groups without scores."""
    threshold: NDArray[np.float64]
    window_s: NDArray[np.float64]
    needed: NDArray[np.int64]


def score_columns(block: Block, scores: Mapping[str, BenchmarkScores]) -> ScoreColumns:
    """Lay out the scores of a block's groups; ``scores`` are by model group."""
    shape, groups = block.member.shape, len(block.groups)
    baseline, threshold, window_s = (np.full(groups, np.nan) for _ in range(3))
    columns = ScoreColumns(
        np.full(shape, np.nan), np.zeros(shape, np.int64), baseline, threshold, window_s, np.ones(groups, np.int64)
    )
    for number, group in enumerate(block.groups):
        if (given := scores.get(group)) is None:
            continue
        baseline[number], threshold[number], window_s[number] = given.baseline, given.threshold, given.window_s
        columns.needed[number] = max(1, given.needed)
        for deployment, place in block.positions[number].items():
            score = given.scores.get(deployment)
            if score is not None and score.value is not None:
                columns.values[number, place], columns.samples[number, place] = score.value, score.samples
    return columns

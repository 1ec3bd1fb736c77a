"""The benchmark signal of a block.

The scores are measured outside the plugin and compared with their own frozen baseline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Signal
from exacto_plugin.core.tiers.signals import NO_REASON, SignalColumns, reason_codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.columns import Block


class ScoreColumns(NamedTuple):
    """Benchmark scores of a block.

    ``values``, ``samples`` and ``threshold`` are per group and deployment, the other fields per group.
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
    baseline, window_s = (np.full(groups, np.nan) for _ in range(2))
    threshold = np.full(shape, np.nan)
    columns = ScoreColumns(
        np.full(shape, np.nan), np.zeros(shape, np.int64), baseline, threshold, window_s, np.ones(groups, np.int64)
    )
    for number, group in enumerate(block.groups):
        if (given := scores.get(group)) is None:
            continue
        baseline[number], window_s[number] = given.baseline, given.window_s
        columns.needed[number] = max(1, given.needed)
        for deployment, place in block.positions[number].items():
            score = given.scores.get(deployment)
            limit = given.limits.get(deployment, given.threshold)
            threshold[number, place] = np.nan if limit is None else limit
            if score is not None and score.value is not None:
                columns.values[number, place], columns.samples[number, place] = score.value, score.samples
    return columns


def benchmark_columns(block: Block, scores: Mapping[str, BenchmarkScores], min_peers: int) -> SignalColumns:
    """Compare the scores of a block's groups with their thresholds.

    Groups without scores have no reason for this signal.

    Args:
        block: the model groups.
        scores: by model group.
        min_peers: deployments with enough questions without which a group has no threshold; 0: it always has one.
    """
    values, samples, baseline, threshold, window_s, needed = score_columns(block, scores)
    enough = block.member & (samples >= needed[:, np.newaxis])
    peers = enough.sum(axis=-1)
    limit = np.where((peers >= min_peers)[:, np.newaxis], threshold, np.nan)
    with np.errstate(invalid="ignore"):
        code = reason_codes(block.member, values < limit, enough, np.isnan(limit))
    code[np.isnan(baseline)] = NO_REASON
    mad = np.full(len(block.groups), np.nan)
    return SignalColumns(
        Signal.BENCHMARK,
        values,
        samples,
        code,
        baseline,
        mad,
        limit,
        peers,
        needed,
        window_s,
        max(1, min_peers),
        runs=_runs(block, scores),
    )


def _runs(block: Block, scores: Mapping[str, BenchmarkScores]) -> NDArray[np.object_]:
    """Return the newest run of each score."""
    found = np.full(block.member.shape, None, np.object_)
    for number, group in enumerate(block.groups):
        given = scores.get(group)
        for deployment, run in () if given is None else given.runs.items():
            if (place := block.positions[number].get(deployment)) is not None:
                found[number, place] = run
    return found

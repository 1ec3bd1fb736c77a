"""Signals beside failure rates: throughput, propensity and benchmarks.

Each compares a deployment with the others of its group on arrays ``[group, deployment]``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Signal
from exacto_plugin.core.stats.leave_one_out import leave_one_out_median
from exacto_plugin.core.stats.peers import Peers, peers
from exacto_plugin.core.tiers.benchmark import benchmark_columns
from exacto_plugin.core.tiers.signals import BELOW, SignalColumns, reason_codes
from exacto_plugin.core.windows.speed import merge_modes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.core.windows.speed import SpeedMedians

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

FRESH_SPEEDS = 8
"""Answers within an hour from which a slow deployment can be normal again."""

FRESH_MARGIN = 0.2
"""Margin above the threshold, as a logarithm, for this; it prevents alternation."""

_HOUR_S, _DAY_S = 3600.0, 86_400.0


class SignalResult(NamedTuple):
    """Result of one signal for a block."""

    columns: SignalColumns
    is_outlier: Bools
    """Reason to derank, if it is not deranked yet."""
    is_normal: Bools
    """End of this signal's reason for a derank."""


class SpeedWindows(NamedTuple):
    """Speeds of an hour and of a day, and distinct minutes of the day, by slot."""

    hour: SpeedMedians
    day: SpeedMedians
    minutes: Floats


def throughput(block: Block, paces: SpeedWindows, epoch_age_s: Floats, rule: AdaptiveParameters) -> SignalResult:
    """Compare speeds on the log scale; only slow deployments are outliers.

    Streamed and whole answers are merged by ``merge_modes``. The last hour is used where it has enough answers, else
    the day.
    """
    hour = merge_modes(paces.hour.at(block.slots), 1.0)
    day = merge_modes(paces.day.at(block.slots), 1.0)
    recent = hour.samples >= 2 * rule.speed_minutes
    speed = np.where(recent, hour.medians, day.medians)
    samples = np.where(recent, hour.samples, day.samples).astype(np.int64)
    enough = block.member & (samples >= rule.speed_minutes) & (paces.minutes[block.slots] >= rule.speed_minutes)
    logs = np.log(np.where(samples > 0, speed, 1.0))
    others = leave_one_out_median(logs, enough)
    margin = np.maximum(rule.speed_deviations * others.deviation, math.log(max(1.0, rule.speed_ratio)))
    limit = np.where(others.members >= rule.speed_peers, others.median - margin, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        slow = enough & (logs < limit)
        fast = (hour.samples >= FRESH_SPEEDS) & (np.log(hour.medians) > limit + FRESH_MARGIN)
    normal = (epoch_age_s > _HOUR_S) & (fast | np.isnan(limit)) | (epoch_age_s > _DAY_S) & ~enough
    of = peers(np.where(enough, speed, 0.0), enough)
    code = reason_codes(block.member, slow, enough, np.isnan(limit))
    window_s = np.where(recent, _HOUR_S, _DAY_S)
    needed = np.full(len(block.groups), rule.speed_minutes)
    return SignalResult(
        _columns(Signal.THROUGHPUT, speed, samples, code, of, np.exp(limit), (needed, window_s), rule.speed_peers + 1),
        slow,
        normal,
    )


def propensity(block: Block, offered: Floats, meant: Floats, phi: Floats, rule: AdaptiveParameters) -> SignalResult:
    """Compare the share of tool requests answered with tool calls.

    The comparison is two-sided on log-odds, less three standard errors.
    """
    other = np.maximum(offered - meant, 0.0)
    odds = np.log((meant + 0.5) / (other + 0.5))
    error = 3 * np.sqrt(phi * (1 / (meant + 0.5) + 1 / (other + 0.5)))
    enough = block.member & (offered >= rule.propensity_requests)
    others = leave_one_out_median(odds, enough)
    margin = np.maximum(rule.propensity_deviations * others.deviation, math.log(max(1.0, rule.propensity_ratio)))
    distance = odds - others.median
    known = others.members >= rule.speed_peers
    with np.errstate(invalid="ignore"):
        unusual = enough & known & (np.abs(distance) - error > margin)
        bound = others.median + np.where(distance < 0, -1, 1) * (margin + error)
        share = np.where(offered > 0, meant / np.maximum(offered, 1), np.nan)
    limit = np.where(known, 1 / (1 + np.exp(-bound)), np.nan)
    code = reason_codes(block.member, unusual, enough, ~known)
    of = peers(np.nan_to_num(share), enough)
    needed = np.full(len(block.groups), rule.propensity_requests)
    asked = (needed, np.full(len(block.groups), _DAY_S))
    columns = _columns(Signal.PROPENSITY, share, offered.astype(np.int64), code, of, limit, asked, rule.speed_peers + 1)
    return SignalResult(columns, unusual, ~unusual)


def benchmark(block: Block, scores: Mapping[str, BenchmarkScores]) -> SignalResult:
    """Compare scores with their own frozen baseline; no peers are needed."""
    columns = benchmark_columns(block, scores, 0)
    poor = columns.code == BELOW
    return SignalResult(columns, poor, ~poor)


def _columns(
    signal: Signal,
    value: Floats,
    samples: NDArray[np.int64],
    code: NDArray[np.int64],
    of: Peers,
    limit: Floats,
    asked: tuple[NDArray[np.int64], Floats],
    min_peers: int,
) -> SignalColumns:
    return SignalColumns(signal, value, samples, code, of.median, of.mad, limit, of.members, *asked, min_peers)

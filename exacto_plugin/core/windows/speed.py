"""How fast deployments are: median speeds and latencies from the windows, compared like with like.

Streamed and whole answers are measured apart, because their end-to-end rates are not comparable: mixed, a provider
with 80 % whole answers looks 0.83 times as fast as an equal one with 20 % (measured). ``merge_modes`` brings both
to one number. What is slow enough to matter is not decided here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.stats.log_bins import medians
from exacto_plugin.core.stats.peers import masked_median
from exacto_plugin.core.windows.increments import HistogramKind
from exacto_plugin.core.windows.windows import ROWS
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.windows.windows import WindowBlock

RECENT_S = (300.0, 1800.0, 86_400.0)
"""Windows that a sort looks at, in this order, until one has ``RECENT_SAMPLES``; the last one serves as it is.
OpenRouter's percentiles for preferences cover 5 minutes."""

RECENT_SAMPLES = 5
"""Fewer samples than this make a window too thin to sort by."""

PAIRED_SAMPLES = 10
"""A deployment tells how modes differ when it has this many samples in each."""


@wire("samples medians")
class SpeedMedians(NamedTuple):
    """Medians in two modes, streamed and whole, and the samples behind them; both of shape ``[mode, ...]``."""

    samples: NDArray[np.int64]
    medians: NDArray[np.float64]

    def at(self, slots: NDArray[np.intp]) -> SpeedMedians:
        """The same for some slots, in their shape."""
        return SpeedMedians(self.samples[:, slots], self.medians[:, slots])


def empty_medians() -> SpeedMedians:
    """The pace of no slots in two modes."""
    return SpeedMedians(np.zeros((2, 0), np.int64), np.zeros((2, 0)))


def grow(of: SpeedMedians, slots: int) -> SpeedMedians:
    """The same with room for slots below ``slots``, which have no samples."""
    more = max(0, slots - of.samples.shape[-1])
    return SpeedMedians(np.pad(of.samples, ((0, 0), (0, more))), np.pad(of.medians, ((0, 0), (0, more))))


def speed_medians(
    slab: WindowBlock,
    first: HistogramKind,
    last: HistogramKind,
    now: float,
    window_s: float,
    rows: NDArray[np.intp] | None = None,
) -> SpeedMedians:
    """The pace of a slab's rows (None: all) over a window in the modes from ``first`` to ``last``."""
    samples = np.zeros((last - first + 1, ROWS), np.int64)
    values = np.full(samples.shape, np.nan)
    cells = slab.cells(first, last, now, window_s)
    where = slice(int(np.flatnonzero(slab.seen).max(initial=-1)) + 1) if rows is None else rows
    samples[:, where], values[:, where] = medians(cells[:, :, where])
    return SpeedMedians(samples, values)


def recent_medians(slab: WindowBlock, now: float) -> tuple[SpeedMedians, SpeedMedians]:
    """Speed and latency of a slab's rows for sorting, each from the shortest window that is not too thin."""
    samples = np.zeros((4, ROWS), np.int64)
    values = np.full(samples.shape, np.nan)
    rows: NDArray[np.intp] | None = None
    for window_s in RECENT_S:
        thin = samples < RECENT_SAMPLES
        if rows is not None:
            thin &= np.isin(np.arange(ROWS), rows)
        for place, first in enumerate((HistogramKind.SPEED_STREAMED, HistogramKind.LATENCY_STREAMED)):
            found = speed_medians(slab, first, HistogramKind(first + 1), now, window_s, rows)
            np.copyto(samples[2 * place : 2 * place + 2], found.samples, where=thin[2 * place : 2 * place + 2])
            np.copyto(values[2 * place : 2 * place + 2], found.medians, where=thin[2 * place : 2 * place + 2])
        # Either mode will do: callers decide about streaming, so one of them is often unused.
        speeds, latencies = samples[:2].max(axis=0), samples[2:].max(axis=0)
        rows = np.flatnonzero(slab.seen & (np.minimum(speeds, latencies) < RECENT_SAMPLES))
        if not len(rows):
            break
    return SpeedMedians(samples[:2], values[:2]), SpeedMedians(samples[2:], values[2:])


def merge_modes(of: SpeedMedians, unknown_ratio: float) -> SpeedMedians:
    """One number per deployment out of two modes; input ``[mode, group, deployment]``, output without the mode.

    Values are in terms of the group's prevailing mode. Those of the other mode are multiplied by the median ratio
    between the modes among deployments that have ``PAIRED_SAMPLES`` in both, or by ``unknown_ratio`` if there is no
    such deployment (NaN: the other mode is left out); then both are averaged on the log scale by their samples.
    """
    whole_is_usual = (of.samples[1].sum(axis=-1) > of.samples[0].sum(axis=-1))[..., np.newaxis]
    samples = np.where(whole_is_usual, of.samples[::-1], of.samples)
    values = np.where(whole_is_usual, of.medians[::-1], of.medians)
    logs = np.log(np.where(samples > 0, values, 1.0))
    ratio = masked_median(logs[0] - logs[1], np.minimum(*samples) >= PAIRED_SAMPLES)
    ratio = np.where(np.isnan(ratio), math.log(unknown_ratio), ratio)[..., np.newaxis]
    prevailing, other = samples[0], np.where(np.isnan(ratio), 0, samples[1])
    total = prevailing + other
    with np.errstate(invalid="ignore"):
        mean = (prevailing * logs[0] + other * np.nan_to_num(logs[1] + ratio)) / total
    return SpeedMedians(total, np.exp(mean))

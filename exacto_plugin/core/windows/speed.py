"""Median speeds and latencies from the windows.

Streamed and whole answers are measured separately, because their end-to-end rates are not comparable: mixed, a
provider with 80 % whole answers has 0.83 times the rate of an equal one with 20 % (measured). ``merge_modes`` converts
both to one number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.stats.concentration import answer_weights
from exacto_plugin.core.stats.log_bins import BINS, CLASSES, coarse_classes, medians
from exacto_plugin.core.stats.peers import masked_median
from exacto_plugin.core.windows.increments import (
    FIRST_LATENCY,
    FIRST_SPEED,
    LATENCY_BY_CALLER,
    LATENCY_CLASSES,
    SPEED_CALLERS,
    HistogramKind,
)
from exacto_plugin.core.windows.windows import ALL_ROWS, ROWS, select_rows
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.windows.windows import Rows, WindowBlock

RECENT_S = (300.0, 1800.0, 86_400.0)
"""Windows for sorting: the first with ``RECENT_SAMPLES`` samples is used, else
the last. OpenRouter's percentiles for preferences cover 5 minutes."""

RECENT_SAMPLES = 5
"""Samples that a window needs to be used for sorting."""

PAIRED_SAMPLES = 10
"""Samples in each mode from which a deployment counts for the ratio of the modes."""


@wire("samples medians")
class SpeedMedians(NamedTuple):
    """Medians of two modes, streamed and whole, and their sample counts.

    Both arrays are of shape ``[mode, ...]``.
    """

    samples: NDArray[np.int64]
    medians: NDArray[np.float64]

    def at(self, slots: NDArray[np.intp]) -> SpeedMedians:
        """Return the medians of some slots, in the shape of ``slots``."""
        return SpeedMedians(self.samples[:, slots], self.medians[:, slots])


def empty_medians() -> SpeedMedians:
    """Return the medians of no slots, in two modes."""
    return SpeedMedians(np.zeros((2, 0), np.int64), np.zeros((2, 0)))


def grow(of: SpeedMedians, slots: int) -> SpeedMedians:
    """Pad to slots below ``slots``; new slots have no samples."""
    more = max(0, slots - of.samples.shape[-1])
    return SpeedMedians(np.pad(of.samples, ((0, 0), (0, more))), np.pad(of.medians, ((0, 0), (0, more))))


def speed_medians(
    window_block: WindowBlock,
    first: HistogramKind,
    last: HistogramKind,
    now: float,
    window_s: float,
    rows: Rows = ALL_ROWS,
    *,
    limits_callers: bool = False,
) -> SpeedMedians:
    """Compute medians over a window, for the modes ``first`` to ``last``.

    Args:
        window_block: the windows.
        first: kind of streamed answers, as ``last`` is of whole ones.
        last: see ``first``.
        now: UTC seconds.
        window_s: the window.
        rows: the rows of the window block that are computed.
        limits_callers: True to limit the answers of every caller.
    """
    cells = select_rows(window_block.cells(first, last, now, window_s), rows)
    samples, values = medians(cells)
    if limits_callers:
        answers, class_of_bin = _answers_by_caller(window_block, first, now, window_s)
        _limit_callers(values, cells, select_rows(answers, rows), class_of_bin)
    return SpeedMedians(samples, values)


_SPEED_CLASS = coarse_classes(np.arange(BINS), FIRST_SPEED)
_LATENCY_CLASS = np.minimum(coarse_classes(np.arange(BINS), FIRST_LATENCY), LATENCY_CLASSES - 1)
"""Coarse class of each bin."""

_WEIGHT_STEPS = 1024
"""Resolution of weights, so that weighted counts stay whole numbers."""


def _answers_by_caller(
    window_block: WindowBlock, first: HistogramKind, now: float, window_s: float
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Return answers ``[caller number, class, row]`` and the class of each bin."""
    timed = first < HistogramKind.LATENCY_STREAMED
    kind = HistogramKind.SPEED_BY_CALLER if timed else HistogramKind.CASE_MIX
    (cells,) = window_block.cells(kind, kind, now, window_s)
    if timed:
        return cells.reshape(SPEED_CALLERS, CLASSES, ROWS), _SPEED_CLASS
    return cells[LATENCY_BY_CALLER:].reshape(SPEED_CALLERS, LATENCY_CLASSES, ROWS), _LATENCY_CLASS


def _limit_callers(
    values: NDArray[np.float64],
    cells: NDArray[np.integer],
    answers: NDArray[np.integer],
    class_of_bin: NDArray[np.int64],
) -> None:
    """Replace the medians of rows in which a caller has too many answers."""
    rows, weights = answer_weights(answers)
    if len(rows):
        # Weighted cells of up to 16 bits fit into 32, and so take half of the time.
        kind: type[np.integer] = np.int32 if cells.itemsize <= 2 else np.int64
        factors: NDArray[np.integer] = np.rint(weights * _WEIGHT_STEPS).astype(kind)
        values[:, rows] = medians(np.take(cells, rows, axis=-1), factors[class_of_bin])[1]


def recent_medians(window_block: WindowBlock, now: float, rows: Rows = ALL_ROWS) -> tuple[SpeedMedians, SpeedMedians]:
    """Compute speed and latency of some of a window block's rows for sorting.

    Each is taken from the shortest window of ``RECENT_S`` with ``RECENT_SAMPLES`` samples, every caller limited.
    """
    wanted = np.arange(ROWS)[rows]
    samples = np.zeros((4, len(wanted)), np.int64)
    values = np.full(samples.shape, np.nan)
    thin: NDArray[np.intp] | slice = ALL_ROWS
    for window_s in RECENT_S:
        for place, first in enumerate((HistogramKind.SPEED_STREAMED, HistogramKind.LATENCY_STREAMED)):
            asked = rows if isinstance(thin, slice) else wanted[thin]
            found = speed_medians(
                window_block, first, HistogramKind(first + 1), now, window_s, asked, limits_callers=True
            )
            own = slice(2 * place, 2 * place + 2)
            replaced = samples[own, thin] < RECENT_SAMPLES
            samples[own, thin] = np.where(replaced, found.samples, samples[own, thin])
            values[own, thin] = np.where(replaced, found.medians, values[own, thin])
        # One mode is enough: callers choose streaming, so one of them is often without samples.
        speeds, latencies = samples[:2].max(axis=0), samples[2:].max(axis=0)
        thin = np.flatnonzero(window_block.seen[wanted] & (np.minimum(speeds, latencies) < RECENT_SAMPLES))
        if not len(thin):
            break
    return SpeedMedians(samples[:2], values[:2]), SpeedMedians(samples[2:], values[2:])


def merge_modes(of: SpeedMedians, unknown_ratio: float) -> SpeedMedians:
    """Merge two modes into one number per deployment.

    Input is of shape ``[mode, group, deployment]``, output without the mode. Values are in terms of the mode with more
    samples in the group. Those of the other mode are multiplied by the median ratio between the modes among
    deployments that have ``PAIRED_SAMPLES`` in both, or by ``unknown_ratio`` if there is no such deployment (NaN: the
    other mode is left out); then both are averaged on the log scale, weighted by their samples.

    In the example whole answers are the usual ones of the group, and 80 streamed tokens/s count as 40 whole ones,
    because streamed answers of the other two deployments are twice as fast as their whole ones.

    >>> samples = np.array([[[10, 10, 30]], [[90, 90, 0]]])
    >>> medians = np.array([[[60.0, 100.0, 80.0]], [[30.0, 50.0, 0.0]]])
    >>> merge_modes(SpeedMedians(samples, medians), 1.0).medians.round(1).tolist()
    [[30.0, 50.0, 40.0]]
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

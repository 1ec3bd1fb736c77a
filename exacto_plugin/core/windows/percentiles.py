"""Percentiles of recent speed and latency, for requested model groups.

A recompute reads them from the windows; requests read them from the snapshot. Groups without a recent request for
percentiles cost nothing. The thresholds that clients set for percentiles are not part of this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.core.pace import PERCENTILES, RecentPace
from exacto_plugin.core.stats.log_bins import quantiles
from exacto_plugin.core.windows.increments import HistogramKind
from exacto_plugin.core.windows.speed import RECENT_SAMPLES
from exacto_plugin.core.windows.windows import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import DeploymentKey
    from exacto_plugin.core.windows.windows import WindowBlock

WINDOWS_S = (300.0, 1800.0)
"""Windows of percentiles: 5 minutes, as OpenRouter's.
A window with fewer than ``RECENT_SAMPLES`` answers is replaced by half an hour: with 5 minutes alone a deployment
with an answer a minute would be unknown half of the time."""

KEPT_FOR_S = 3600.0
"""Seconds for which a group's percentiles are computed after the last request
for them."""

_GROUPS = 1000
"""Largest number of groups with percentiles; under a wildcard callers choose
names freely."""


class PercentileRequests:
    """Model groups whose percentiles were requested recently."""

    def __init__(self) -> None:
        self._requested_at: dict[str, float] = {}

    def request(self, model_group: str, now: float) -> None:
        """Request the percentiles of a group, as of ``now`` (UTC seconds)."""
        self._requested_at.pop(model_group, None)
        self._requested_at[model_group] = now
        if len(self._requested_at) > _GROUPS:
            del self._requested_at[next(iter(self._requested_at))]

    def current(self, now: float) -> tuple[str, ...]:
        """Return the groups requested within ``KEPT_FOR_S``; forget the others."""
        self._requested_at = {group: at for group, at in self._requested_at.items() if now - at <= KEPT_FOR_S}
        return tuple(self._requested_at)


class PercentileReader:
    """Percentiles of one recompute.

    The histograms of a window block are read once for all groups.

    Args:
        blocks: the window blocks.
        now: UTC seconds of the recompute.
    """

    def __init__(self, blocks: Sequence[WindowBlock], now: float) -> None:
        self._blocks = blocks
        self._now = now
        self._cells: dict[tuple[int, float], NDArray[Any]] = {}

    def of(
        self, deployments: Iterable[DeploymentKey], slot: Callable[[DeploymentKey], int]
    ) -> dict[DeploymentKey, RecentPace]:
        """Return the percentiles of deployments with enough recent answers."""
        by_block: dict[int, dict[DeploymentKey, int]] = {}
        for name in deployments:
            number, row = divmod(slot(name), ROWS)
            by_block.setdefault(number, {})[name] = row
        return {
            name: pace
            for number, rows in by_block.items()
            for name, pace in zip(rows, self._speeds(number, list(rows.values())), strict=True)
            if pace != RecentPace()
        }

    def _speeds(self, number: int, rows: Sequence[int]) -> list[RecentPace]:
        windows = [self._histograms(number, rows, window_s) for window_s in WINDOWS_S]
        speed = [cells[HistogramKind.SPEED_STREAMED] + cells[HistogramKind.SPEED_WHOLE] for cells in windows]
        # The duration of a whole answer is no measure of the time to the first token.
        latency = [
            cells[kind] for cells in windows for kind in (HistogramKind.LATENCY_STREAMED, HistogramKind.LATENCY_WHOLE)
        ]
        shares = [share / 100 for share in PERCENTILES]
        told = (
            _named_quantiles(_first_enough(speed), [1 - one for one in shares]),
            _named_quantiles(_first_enough(latency), shares),
        )
        return [RecentPace(*pair) for pair in zip(*told, strict=True)]

    def _histograms(self, number: int, rows: Sequence[int], window_s: float) -> NDArray[np.float64]:
        """Return histograms of some rows over a window, ``[kind, bin, row]``."""
        if (number, window_s) not in self._cells:
            cells = self._blocks[number].cells(
                HistogramKind.SPEED_STREAMED, HistogramKind.LATENCY_WHOLE, self._now, window_s
            )
            self._cells[number, window_s] = cells
        return self._cells[number, window_s][:, :, list(rows)].astype(np.float64)


def _first_enough(histograms: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Select for each row the first histogram with enough samples.

    Shape ``[bin, row]``; an empty histogram where none has enough. In the example the first row has enough samples in
    the short window, the second one only in the long window.

    >>> short, long = np.array([[5.0, 1.0]]), np.array([[9.0, 6.0]])
    >>> _first_enough([short, long]).tolist()
    [[5.0, 6.0]]
    """
    chosen = np.zeros_like(histograms[0])
    for histogram in histograms:
        missing = chosen.sum(axis=0) == 0
        chosen = np.where(missing & (histogram.sum(axis=0) >= RECENT_SAMPLES), histogram, chosen)
    return chosen


def _named_quantiles(histograms: NDArray[np.float64], shares: Sequence[float]) -> list[tuple[float, ...] | None]:
    values = quantiles(histograms, shares)
    known: list[bool] = (histograms.sum(axis=0) > 0).tolist()
    return [tuple(told) if one else None for told, one in zip(values.T.tolist(), known, strict=True)]

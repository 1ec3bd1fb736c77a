"""Percentiles of recent speed and latency, for the model groups that somebody asked about.

A recompute takes them from the windows; requests read them from the snapshot. Groups that nobody asked about for a
while cost nothing. What a percentile has to be is the client's wish and not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.core.model import PERCENTILES, RecentPace
from exacto_plugin.core.pace import RECENT_SAMPLES
from exacto_plugin.core.sketch import quantile
from exacto_plugin.core.tally import Kind
from exacto_plugin.core.window import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.window import Slab

WINDOWS_S = (300.0, 1800.0)
"""OpenRouter's percentiles cover 5 minutes. Where that holds fewer than ``RECENT_SAMPLES`` answers, half an hour does:
a deployment with an answer a minute would be unknown half of the time."""

ASKED_FOR_S = 3600.0
"""A group is looked at for this long after it was last asked about."""

_GROUPS = 1000
"""Groups that are looked at, at most; under a wildcard callers make up names."""


class Watched:
    """Which model groups somebody asked about lately."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}

    def ask(self, model_group: str, now: float) -> None:
        """Somebody wants to know about a group, as of ``now`` (UTC seconds)."""
        self._asked.pop(model_group, None)
        self._asked[model_group] = now
        if len(self._asked) > _GROUPS:
            del self._asked[next(iter(self._asked))]

    def current(self, now: float) -> tuple[str, ...]:
        """The groups that were asked about within ``ASKED_FOR_S``; the others are forgotten."""
        self._asked = {group: at for group, at in self._asked.items() if now - at <= ASKED_FOR_S}
        return tuple(self._asked)


class Percentiles:
    """Percentiles of one recompute; the histograms of a slab are read once for all that ask.

    Args:
        slabs: the windows.
        now: UTC seconds of the recompute.
    """

    def __init__(self, slabs: Sequence[Slab], now: float) -> None:
        self._slabs = slabs
        self._now = now
        self._cells: dict[tuple[int, float], NDArray[Any]] = {}

    def of(self, deployments: Iterable[str], slot: Callable[[str], int]) -> dict[str, RecentPace]:
        """The percentiles of those deployments that have enough recent answers."""
        found = {name: self._pace(slot(name)) for name in deployments}
        return {name: pace for name, pace in found.items() if pace is not None}

    def _pace(self, slot: int) -> RecentPace | None:
        speed = self._recent(slot, (Kind.SPEED_STREAMED, Kind.SPEED_WHOLE), together=True)
        # How long a whole answer takes says little about the wait for the first token.
        latency = self._recent(slot, (Kind.LATENCY_STREAMED, Kind.LATENCY_WHOLE), together=False)
        if speed is None and latency is None:
            return None
        return RecentPace(
            None if speed is None else tuple(quantile(speed, 1 - share / 100) for share in PERCENTILES),
            None if latency is None else tuple(quantile(latency, share / 100) for share in PERCENTILES),
        )

    def _recent(self, slot: int, kinds: tuple[Kind, Kind], *, together: bool) -> NDArray[np.float64] | None:
        """One histogram from the shortest window that is not too thin; None when all are."""
        for window_s in WINDOWS_S:
            cells = self._histograms(slot, window_s)
            modes: list[NDArray[np.float64]] = [cells[kind] for kind in kinds]
            histograms: list[NDArray[np.float64]] = [modes[0] + modes[1]] if together else modes
            for histogram in histograms:
                if histogram.sum() >= RECENT_SAMPLES:
                    return histogram
        return None

    def _histograms(self, slot: int, window_s: float) -> NDArray[np.float64]:
        """The histograms of a slot over a window, shape ``[kind, bin]``."""
        number = slot // ROWS
        if (number, window_s) not in self._cells:
            cells = self._slabs[number].cells(Kind.SPEED_STREAMED, Kind.LATENCY_WHOLE, self._now, window_s)
            self._cells[number, window_s] = cells
        return self._cells[number, window_s][:, :, slot % ROWS].astype(np.float64)

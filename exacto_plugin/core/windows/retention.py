"""Retention of samples in the rings of a window block."""

from __future__ import annotations

from dataclasses import dataclass

from exacto_plugin.core.windows.minute_buffer import MINUTE_S


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention of samples as ``(seconds per bucket, buckets)``, finest first.

    Counters reach 2 h by the minute, 6 h by 5 minutes and 72 h by half-hours, those of tool calls 7 days by 6 hours,
    histograms 1 h by 5 minutes and 24 h by two hours. One-minute buckets keep the edge error of a 15-minute window
    below 1 percentage point while a rate steps by 25 (measured); speeds and latencies do not need that.
    """

    counters: tuple[tuple[int, int], ...] = ((60, 120), (300, 72), (1800, 144))
    histograms: tuple[tuple[int, int], ...] = ((300, 12), (7200, 12))
    lasting: tuple[int, int] = (21_600, 28)
    """Of the counters ``lasting_ring.LASTING`` alone, behind the other rings."""

    def __post_init__(self) -> None:
        """Check the widths of the rings.

        Raises:
            ValueError: rings that are not finest first, or a width that is no multiple of a minute and the finest one.
        """
        for rings, unit_s in ((self.counters, MINUTE_S), (self.histograms, self.histograms[0][0])):
            widths = [width_s for width_s, _ in rings]
            if widths != sorted(widths) or any(width_s % MINUTE_S or width_s % unit_s for width_s in widths):
                raise ValueError(f"widths must be multiples of {MINUTE_S} and {unit_s} s, finest first: {rings}")
        if self.lasting[0] % self.counters[-1][0]:
            raise ValueError(f"widths must be multiples of the finer ones: {self.lasting}")

    @property
    def span_s(self) -> float:
        """Seconds after which all counts of a sample are gone."""
        return max(width_s * buckets for width_s, buckets in (*self.counters, *self.histograms, self.lasting))

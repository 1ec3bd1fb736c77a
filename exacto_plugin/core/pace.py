"""Percentiles of the speed of recent answers."""

from __future__ import annotations

from dataclasses import dataclass

from exacto_plugin.core.wire import wire

PERCENTILES = (50, 75, 90, 99)
"""Percentiles that a preference may name."""


@wire("throughput latency_s")
@dataclass(frozen=True, slots=True)
class RecentPace:
    """Percentiles of recent answers, in order of ``PERCENTILES``; None: too few."""

    throughput: tuple[float, ...] | None = None
    """Tokens per second that 50, 75, 90 and 99 % of the answers reach."""
    latency_s: tuple[float, ...] | None = None
    """Seconds to the first token that 50, 75, 90 and 99 % of answers do not exceed."""

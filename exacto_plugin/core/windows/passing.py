"""Periods whose counts are read differently as time passes, without a new sample.

A period is read differently when it begins or ends, when it leaves a window, or when a longer period takes over its
counts in a history of several rings. Periods are numbered as in the rings (time / width).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise


def tile_start(now: float, width_s: int, reach_s: float, coarser_s: int) -> int:
    """Return where a ring's history begins that is told by its periods.

    What is older is told by the next ring, so this is the start of one of the longer periods of ``coarser_s``.

    >>> tile_start(10_000.0, 60, 7200, 300)
    3000
    """
    oldest = (int(now // width_s) - math.ceil(reach_s / width_s)) * width_s
    return -(-oldest // coarser_s) * coarser_s


@lru_cache(maxsize=8)
def passed_edges(
    before: float, now: float, widths: tuple[tuple[int, int], ...], ages_s: frozenset[float]
) -> tuple[tuple[int, int], ...]:
    """Return starts of windows and of rings' histories, before and now, in seconds."""
    edges = [(math.ceil(before - age_s), math.ceil(now - age_s)) for age_s in ages_s]
    for (width_s, reach_s), (coarser_s, _) in pairwise(widths):
        edges.append((tile_start(before, width_s, reach_s, coarser_s), tile_start(now, width_s, reach_s, coarser_s)))
    return tuple(edges)


@lru_cache(maxsize=64)
def passed_periods(
    width_s: int, before: int, current: int, spans: frozenset[int], edges: tuple[tuple[int, int], ...]
) -> tuple[int, ...]:
    """Return the periods that are read differently than before.

    Cached, since all rings of a width have the same: it takes 10 microseconds, as long as finding their rows.

    >>> passed_periods(60, 100, 101, frozenset({5}), ((1200, 1260),))
    (20, 95, 100, 101)
    """
    # A period that begins enters with a span of -1, and one with 0 ends.
    moved = [range(before - span, current - span) for span in (-1, 0, *spans)] if current != before else []
    moved += [range(-(-first // width_s), -(-end // width_s)) for first, end in edges]
    return tuple(sorted({period for periods in moved for period in periods}))

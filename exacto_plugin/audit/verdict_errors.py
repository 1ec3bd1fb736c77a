"""How often verdicts on as much evidence were wrong in simulations.

The table is measured by ``benchmarks/verdict_errors.py`` with the default numbers of the adaptive rule; with others
nothing is known.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Tier

if TYPE_CHECKING:
    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters

CALLS = (20, 50, 200, 1000, 5000)
"""Least calls of each row; a row ends where the next one begins, the last at three
times its begin."""

SHARES = (0.125, 0.25, 0.5, 0.75)
"""Largest share of deranked deployments of each column."""

LEAST_VERDICTS = 100
"""Verdicts from which a cell tells a frequency."""

_KINDS = {Tier.DERANKED.value: "deranked", Tier.VERIFIED_GOOD.value: "verified"}


def wrong_one_in(tier: str, calls: int, deranked_share: float, rule: AdaptiveParameters) -> int | None:
    """Return N if about one of N such verdicts was wrong.

    None outside of the table: another rule, other evidence, or too few verdicts to tell. A derank is wrong if the
    deployment fails at most 2 points more often than the best one, a verification if more than 5.

    Args:
        tier: deranked or verified good by tool calls.
        calls: its evidence.
        deranked_share: share of the model group's deployments that are deranked.
        rule: the numbers in force.
    """
    table, kind = _table(), _KINDS.get(tier)
    if kind is None or table["rule"] != asdict(rule) or calls >= 3 * CALLS[-1]:
        return None
    row, column = bisect_right(CALLS, calls) - 1, bisect_left(SHARES, deranked_share)
    if row < 0 or column >= len(SHARES):
        return None
    verdicts, wrong = table[kind]["verdicts"][row][column], table[kind]["wrong"][row][column]
    # With one wrong verdict more than were found, so that none found does not mean never.
    return None if verdicts < LEAST_VERDICTS else int((verdicts + 1) // (wrong + 1))


@cache
def _table() -> dict[str, Any]:
    text = files("exacto_plugin").joinpath("data/verdict_errors.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table

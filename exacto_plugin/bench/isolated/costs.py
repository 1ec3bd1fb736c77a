"""The file of costs of the isolated proxy: a line of JSON for each answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

COSTS: Final = "EXACTO_BENCH_COSTS"
"""Environment variable with the path of that file."""

BUDGET: Final = "EXACTO_BENCH_BUDGET"
"""Environment variable with the budget in USD; unset: none."""


def lines_of(costs: Path) -> list[dict[str, Any]]:
    """Return the answers on file; a line that was cut off by a crash is left out."""
    try:
        text = costs.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def spent_in(costs: Path) -> float:
    """Return the cost in USD of the answers on file."""
    return sum(float(line["usd"]) for line in lines_of(costs))

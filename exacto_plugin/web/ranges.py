"""Ranges of time of the page, and the one that fits what is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from exacto_plugin.core.routing.counterfactual import HOUR_S
from exacto_plugin.records import DeploymentRecord
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

RANGES: Mapping[str, tuple[str, float]] = {
    "1h": ("1 hour", HOUR_S),
    "6h": ("6 hours", 6 * HOUR_S),
    "24h": ("24 hours", 24 * HOUR_S),
    "7d": ("7 days", 168 * HOUR_S),
    "30d": ("30 days", 720 * HOUR_S),
}
"""Ranges of time: name in links, words, seconds."""

USUAL = "24h"
"""The range where none is asked for, at most."""


def fitting_range(connection: Connection, model_group: str, now: float) -> str:
    """Return the shortest range that has all that is on record of a model group.

    At most ``USUAL``, so that the charts of a proxy that has just started are not squeezed into their right edge.
    """
    table: Any = table_of(DeploymentRecord)
    for name, (_, seconds) in RANGES.items():
        older = select(table.c.at).where(table.c.model_group == model_group, table.c.at < now - seconds).limit(1)
        if name == USUAL or connection.execute(older).first() is None:
            return name
    return USUAL

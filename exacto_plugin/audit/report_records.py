"""The report from the records of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit import queries
from exacto_plugin.audit.report import report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def recorded_report(
    connection: Connection, since: float, until: float, model_groups: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the report of a time range; None for ``model_groups`` means all."""
    changes = queries.transitions(connection, since, until, model_groups)
    return report(queries.hours(connection, since, until, model_groups), changes)

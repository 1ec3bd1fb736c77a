"""Common causes on record: rises of the failure rate at all deployments at once.

The reasons of every deployment tell the latest one of its model group, for a day after its end, so one deployment of
each recompute is read. Phrases nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Text, cast, func, select

from exacto_plugin.audit.why import STALE_S
from exacto_plugin.core.model import ReasonCode
from exacto_plugin.records import DeploymentRecord
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

Plain = dict[str, Any]

_CODE = f'"{ReasonCode.COMMON_CAUSE.value}"'


def common_causes(
    connection: Connection, since: float, until: float, model_group: str | None = None
) -> list[tuple[str, Plain]]:
    """Return model group and event of those that overlap a time range, newest first.

    Each event is a reason as ``core.views.reason_view`` has it; ``end`` is None while it lasts.

    Args:
        connection: to the store.
        since: UTC seconds.
        until: UTC seconds.
        model_group: only of this one.
    """
    table: Any = table_of(DeploymentRecord)
    reasons = cast(table.c.reasons, Text)
    conditions = [table.c.at >= since - STALE_S, table.c.at <= until]
    if model_group is not None:
        conditions.append(table.c.model_group == model_group)
    read = select(func.max(table.c.row)).where(*conditions).group_by(table.c.model_group, table.c.at)
    query = select(table.c.model_group, reasons).where(table.c.row.in_(read), reasons.contains(_CODE))
    told: dict[str, list[str]] = {}
    for group, text in connection.execute(query.order_by(table.c.at)):
        told.setdefault(group, []).append(text)
    found = [
        (group, one)
        for group, texts in told.items()
        for one in _events(texts)
        if one["begin"] < until and (one["end"] is None or one["end"] >= since)
    ]
    return sorted(found, key=lambda one: -one[1]["begin"])


def _events(reasons: Iterable[str]) -> list[Plain]:
    """Return the events of one model group, in order of their beginnings.

    One that is not said to have ended before the next one began, as after a restart, ended then.

    Args:
        reasons: of its records in order of time, as JSON.
    """
    found: dict[float, Plain] = {}
    for text in reasons:
        for reason in orjson.loads(text):
            if reason.get("code") == ReasonCode.COMMON_CAUSE:
                found[reason["begin"]] = reason
    events = [found[begin] for begin in sorted(found)]
    for event, following in pairwise(events):
        if event["end"] is None or event["end"] > following["begin"]:
            event["end"] = following["begin"]
    return events

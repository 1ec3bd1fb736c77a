"""Common causes on record: rises of the failure rate at all deployments at once.

Every deployment's reasons tell the latest one of its model group, for a day after its end. Phrases nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Text, cast, select

from exacto_plugin.core.model import ReasonCode
from exacto_plugin.records import DeploymentRecord
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

Plain = dict[str, Any]

_CODE = f'"{ReasonCode.COMMON_CAUSE.value}"'


def events_of(reasons: Iterable[str]) -> list[Plain]:
    """Return the events that reasons tell, in order of their beginnings.

    Each is a reason as ``core.views.reason_view`` has it. One that is not said to have ended before the next one began,
    as after a restart, ended then.

    Args:
        reasons: of records of one model group in order of time, as JSON.
    """
    found: dict[float, Plain] = {}
    for text in reasons:
        # Most reasons have none, and reading them takes most of the time.
        for reason in orjson.loads(text) if _CODE in text else ():
            if reason["code"] == ReasonCode.COMMON_CAUSE:
                found[reason["begin"]] = reason
    events = [found[begin] for begin in sorted(found)]
    for event, following in pairwise(events):
        if event["end"] is None or event["end"] > following["begin"]:
            event["end"] = following["begin"]
    return events


def within(events: Iterable[Plain], since: float, until: float) -> list[Plain]:
    """Return the events that overlap a time range; one without an end lasts."""
    return [one for one in events if one["begin"] < until and (one["end"] is None or one["end"] >= since)]


def common_causes(connection: Connection, since: float, until: float) -> list[tuple[str, Plain]]:
    """Return model group and event of those that overlap a time range, newest first."""
    table: Any = table_of(DeploymentRecord)
    reasons = cast(table.c.reasons, Text)
    query = select(table.c.model_group, reasons).where(
        table.c.at >= since, table.c.at <= until, reasons.contains(_CODE, autoescape=True)
    )
    told: dict[str, list[str]] = {}
    for group, text in connection.execute(query.order_by(table.c.at)):
        told.setdefault(group, []).append(text)
    found = [(group, one) for group, texts in told.items() for one in within(events_of(texts), since, until)]
    return sorted(found, key=lambda one: -one[1]["begin"])

"""Details of incidents and common causes that their own records do not have."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.series import hour_rows
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, HOUR_S, WHOLE_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.web.why_now import WhyNow

Plain = dict[str, Any]
HourRow = tuple[float, str, str, "Mapping[str, float]"]
"""Hour, model group, deployment, and counts."""

_MOST_ASKED = 20
"""Open incidents whose way back is told; each takes two reads of the store."""


async def with_way_back(incidents: Iterable[Plain], why_now: WhyNow) -> list[Plain]:
    """Return incidents, the open ones with the conditions of readmission at present."""
    found: list[Plain] = []
    asked = 0
    for one in incidents:
        if one["open"] and asked < _MOST_ASKED:
            asked += 1
            answers = await why_now.answers(one["deployment"], one["model_group"])
            ways = [{**way, "asked_at": answer["at"]} for answer in answers for way in answer["way_back"]]
            found.append({**one, "way_back": ways})
        else:
            found.append(one)
    return found


def with_latest(recorded: Iterable[tuple[str, Plain]], groups: Iterable[Plain]) -> list[tuple[str, Plain]]:
    """Return common causes on record with those in force, newest first.

    The records of the latest recompute may not be written yet.

    Args:
        recorded: model group and cause.
        groups: the model groups in force.
    """
    causes = {(group, cause["begin"]): cause for group, cause in recorded}
    for one in groups:
        if one["common_cause"]:
            causes[one["model_group"], one["common_cause"]["begin"]] = one["common_cause"]
    return [(group, cause) for (group, _), cause in sorted(causes.items(), key=lambda one: -one[0][1])]


def read_details(connection: Connection, causes: Iterable[tuple[str, Plain]], now: float) -> list[tuple[str, Plain]]:
    """Return model groups and common causes, these with their deployments and kinds."""
    return [
        (name, with_details(cause, hour_rows(connection, [name], *cause_hours(cause, now)))) for name, cause in causes
    ]


def cause_hours(cause: Mapping[str, Any], now: float) -> tuple[float, float]:
    """Return the whole hours of a common cause."""
    ends = now if cause["end"] is None else cause["end"]
    return cause["begin"] // HOUR_S * HOUR_S, ends


def with_details(cause: Plain, rows: Sequence[HourRow]) -> Plain:
    """Return a common cause with its deployments and the kinds of bad answers.

    Args:
        cause: the reason, as the API has it.
        rows: the hourly counts of the model group in the hours of ``cause_hours``.
    """
    answers: dict[str, float] = defaultdict(float)
    kinds: dict[str, float] = defaultdict(float)
    for _, _, deployment, counts in rows:
        if deployment != WHOLE_GROUP:
            answers[deployment] += counts.get("answers", 0.0)
            for kind in BAD_KINDS:
                kinds[kind] += counts.get(kind, 0.0)
    # Those with the most answers had enough calls.
    most = sorted(answers, key=lambda name: -answers[name])[: cause["peers"]]
    return {**cause, "deployments": sorted(most), "kinds": {kind: count for kind, count in kinds.items() if count}}

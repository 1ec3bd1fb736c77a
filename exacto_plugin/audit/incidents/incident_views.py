"""Incidents of a store: the list, one of them, the file for its provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit import queries
from exacto_plugin.audit.hours.hour_counts import HourReader
from exacto_plugin.audit.incidents.incident_paragraph import incident_sentence
from exacto_plugin.audit.incidents.incidents import MOST_ONSET_S, Key, LastKnownTier, incidents
from exacto_plugin.core.model import ReasonCode
from exacto_plugin.core.routing.counterfactual import HOUR_S
from exacto_plugin.core.wire import to_wire
from exacto_plugin.records import DeploymentRecord, TransitionRecord
from exacto_plugin.store.rows import find
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

Plain = dict[str, Any]


def incident_list(
    connection: Connection,
    now: float,
    *,
    since: float | None = None,
    until: float | None = None,
    model_group: str | None = None,
    deployment: str | None = None,
    hours: HourReader | None = None,
) -> list[Plain]:
    """Return the incidents that overlap a time range, open ones first.

    Args:
        connection: to the store.
        now: UTC seconds.
        since: leaves out those that ended before.
        until: leaves out those that began later.
        model_group: only of this one.
        deployment: only of this one.
        hours: keeps hourly counts for the next time; None: they are read.
    """
    transitions = _transitions(connection, model_group)
    seen, providers = _last_known(connection, transitions, now)

    def wanted(one: Plain) -> bool:
        return deployment in (None, one["deployment"]) and _overlaps(one, since, until)

    spans = [one for one in incidents(transitions, {}, seen, now) if wanted(one)]
    if not spans:
        return []
    # The counts only of what is shown, and of the day before.
    begins = min(one["since"] for one in spans) - 2 * MOST_ONSET_S - HOUR_S
    reader = hours or HourReader()
    counts = {
        group: reader.read(connection, group, begins, now) for group in sorted({one["model_group"] for one in spans})
    }
    found = [one for one in incidents(transitions, counts, seen, now) if wanted(one)]
    return [{**one, "provider": providers.get((one["model_group"], one["deployment"]), "")} for one in found]


def _last_known(
    connection: Connection, transitions: Iterable[TransitionRecord], now: float
) -> tuple[dict[Key, LastKnownTier], dict[Key, str]]:
    """Return the last tier on record and the provider of each deployment."""
    keys = {(one.model_group, one.deployment) for one in transitions}
    records = {key: queries.tier_at(connection, *key, now) for key in keys}
    known = [(key, record) for key, record in records.items() if record is not None]
    seen = {key: LastKnownTier(record.at, record.tier, record.since) for key, record in known}
    return seen, {key: record.provider for key, record in known}


def _transitions(connection: Connection, model_group: str | None) -> list[TransitionRecord]:
    table: Any = table_of(TransitionRecord)
    conditions = [] if model_group is None else [table.c.model_group == model_group]
    return find(connection, TransitionRecord, *conditions)


def _overlaps(incident: Mapping[str, Any], since: float | None, until: float | None) -> bool:
    ended = incident["until"]
    return (since is None or ended is None or ended >= since) and (until is None or incident["since"] < until)


def incident_of(connection: Connection, name: str, now: float, hours: HourReader | None = None) -> Plain | None:
    """Return one incident with its timeline; None where there is none of this name."""
    found = next((one for one in incident_list(connection, now, hours=hours) if one["id"] == name), None)
    if found is None:
        return None
    changes = queries.audit(
        connection,
        kinds=("transition", "override"),
        model_group=found["model_group"],
        deployment=found["deployment"],
        since=found["onset"],
        until=None if found["until"] is None else found["until"] + 1.0,
        limit=1000,
    )
    timeline = [{**to_wire(entry), "kind": kind} for kind, entry in reversed(changes)]
    return {**found, "timeline": timeline, "common_causes": _common_causes(connection, found, now)}


def _common_causes(connection: Connection, incident: Mapping[str, Any], now: float) -> list[Plain]:
    """Return the common causes that the deployment's reasons tell in this time."""
    table: Any = table_of(DeploymentRecord)
    same = (table.c.model_group == incident["model_group"], table.c.deployment == incident["deployment"])
    ends = now if incident["until"] is None else incident["until"] + HOUR_S
    found: dict[float, Plain] = {}
    for record in find(connection, DeploymentRecord, *same, table.c.at >= incident["onset"], table.c.at <= ends):
        for reason in record.reasons:
            if reason["code"] == ReasonCode.COMMON_CAUSE:
                found[reason["begin"]] = dict(reason)
    return [found[begin] for begin in sorted(found)]


_FOR_PROVIDERS = (
    *("id", "provider", "deployment", "model_group", "since", "until", "open", "onset", "change", "recovered"),
    *("signal", "value", "threshold", "samples", "window_s", "answers", "calls", "bad", "kinds"),
)


_NOT_FOR_PROVIDERS: Plain = {
    **dict.fromkeys(("moved", "saved", "would_move", "would_save", "rescued"), 0.0),
    **dict.fromkeys(("cost_usd", "traffic", "others_now")),
}
"""What is left out of the summary."""


def provider_file(incident: Mapping[str, Any], failures: list[Plain]) -> Plain:
    """Return what a provider may see of an incident.

    Nothing of other deployments, callers or spend.

    Args:
        incident: of ``incident_of``.
        failures: the latest bad answers that are known: time, kind and schema path.
    """
    shown = {name: incident[name] for name in _FOR_PROVIDERS}
    timeline = [
        {"at": one["at"], "from": one["previous"], "to": one["tier"]}
        for one in incident["timeline"]
        if one["kind"] == "transition"
    ]
    told = [{name: one[name] for name in ("at", "kind", "path")} for one in failures]
    return {
        "summary": incident_sentence({**incident, **_NOT_FOR_PROVIDERS}),
        **shown,
        "timeline": timeline,
        "failures": told,
    }

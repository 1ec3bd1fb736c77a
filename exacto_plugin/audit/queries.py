"""Queries of a store: plain functions on a connection, with indexed look-ups.

Results are the records as they were written. Writes nothing, and phrases nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import and_, func, or_, select

from exacto_plugin.audit.entries import KINDS, USUAL_KINDS
from exacto_plugin.audit.report import report
from exacto_plugin.audit.verify import Recompute, Verification, Verifier
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.records import (
    DecisionRecord,
    DeploymentRecord,
    HourRecord,
    InputsRecord,
    ObservedRecord,
    OverrideRecord,
    ReferenceRecord,
    RuleRecord,
    SettingsRecord,
    TransitionRecord,
)
from exacto_plugin.store.rows import find
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

R = TypeVar("R")

_SLICE_S = 3600.0
"""Seconds whose records are verified at once."""


def _latest(connection: Connection, kind: type[R], *conditions: ColumnElement[bool]) -> R | None:
    found = find(connection, kind, *conditions, newest_first=True, limit=1)
    return found[0] if found else None


def _of(kind: type[Any], model_group: str, deployment: str, at: float) -> tuple[ColumnElement[bool], ...]:
    table: Any = table_of(kind)
    return table.c.model_group == model_group, table.c.deployment == deployment, table.c.at <= at


def groups_of(connection: Connection, deployment: str) -> list[str]:
    """Return the model groups in which a deployment of this name is on record."""
    table: Any = table_of(DeploymentRecord)
    found = connection.execute(select(table.c.model_group).where(table.c.deployment == deployment).distinct())
    return sorted(found.scalars())


def deployments_in(connection: Connection, model_group: str | None = None) -> list[tuple[str, str]]:
    """Return the model groups and deployments on record."""
    table: Any = table_of(DeploymentRecord)
    query = select(table.c.model_group, table.c.deployment).distinct()
    if model_group is not None:
        query = query.where(table.c.model_group == model_group)
    return sorted((row[0], row[1]) for row in connection.execute(query))


def known_deployments(connection: Connection) -> list[tuple[str, str, str]]:
    """Return model group, deployment and provider of all deployments on record."""
    table: Any = table_of(DeploymentRecord)
    query = select(table.c.model_group, table.c.deployment, table.c.provider).distinct()
    return sorted((row[0], row[1], row[2]) for row in connection.execute(query))


def tier_at(connection: Connection, model_group: str, deployment: str, at: float) -> DeploymentRecord | None:
    """Return the last record of a deployment at a time."""
    return _latest(connection, DeploymentRecord, *_of(DeploymentRecord, model_group, deployment, at))


def first_tier(connection: Connection, deployment: str, model_group: str | None = None) -> DeploymentRecord | None:
    """Return a deployment's oldest record, in one model group or in any."""
    table: Any = table_of(DeploymentRecord)
    # One query for each group, because the index begins with it.
    groups = groups_of(connection, deployment) if model_group is None else [model_group]
    found: list[DeploymentRecord] = []
    for group in groups:
        found += find(
            connection, DeploymentRecord, table.c.model_group == group, table.c.deployment == deployment, limit=1
        )
    return min(found, key=lambda record: record.at, default=None)


def observed_at(connection: Connection, model_group: str, deployment: str, at: float) -> ObservedRecord | None:
    """Return the observed signals of the last whole hour on record, of any worker."""
    return _latest(connection, ObservedRecord, *_of(ObservedRecord, model_group, deployment, at))


def inputs_at(connection: Connection, model_group: str, at: float) -> InputsRecord | None:
    """Return the rule's inputs when the model group was last put on record."""
    table: Any = table_of(InputsRecord)
    return _latest(connection, InputsRecord, table.c.model_group == model_group, table.c.at <= at)


def references_at(connection: Connection, model_group: str, at: float) -> dict[str, ReferenceRecord]:
    """Return the references at a time, by signal.

    A reference is written only when it changes, so it may be older.
    """
    inputs = inputs_at(connection, model_group, at)
    if inputs is None:
        return {}
    table: Any = table_of(ReferenceRecord)
    within = (table.c.model_group == model_group, table.c.at <= at, table.c.at >= inputs.at)
    return {record.signal: record for record in find(connection, ReferenceRecord, *within)}


def rule_of(connection: Connection, digest: str) -> RuleRecord | None:
    """Return a rule by its digest."""
    table: Any = table_of(RuleRecord)
    return _latest(connection, RuleRecord, table.c.digest == digest)


def override_at(connection: Connection, model_group: str, deployment: str, at: float) -> Override | None:
    """Return the override in force at a time; None without one."""
    found = _latest(connection, OverrideRecord, *_of(OverrideRecord, model_group, deployment, at))
    if found is None or found.expires <= at or found.word == OverrideAction.RESET:
        return None
    word = OverrideAction(found.word)
    return Override(model_group, DeploymentKey(deployment), word, found.reason, found.author, found.at, found.expires)


def decision_of(connection: Connection, name: str) -> DecisionRecord | None:
    """Return a request by its decision id or LiteLLM's call id."""
    table: Any = table_of(DecisionRecord)
    return _latest(connection, DecisionRecord, or_(table.c.id == name, table.c.call_id == name))


def hours(
    connection: Connection, since: float, until: float, model_groups: Sequence[str] | None = None
) -> list[HourRecord]:
    """Return the hourly counts of hours that overlap a time range."""
    table: Any = table_of(HourRecord)
    conditions = [table.c.at > since - 3600.0, table.c.at < until]
    if model_groups:
        conditions.append(table.c.model_group.in_(model_groups))
    return find(connection, HourRecord, *conditions)


def recorded_report(
    connection: Connection, since: float, until: float, model_groups: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the report of a time range; None for ``model_groups`` means all."""
    changes = transitions(connection, since, until, model_groups)
    return report(hours(connection, since, until, model_groups), changes)


def transitions(
    connection: Connection, since: float, until: float, model_groups: Sequence[str] | None = None
) -> list[TransitionRecord]:
    """Return the transitions in a time range, in order of time."""
    table: Any = table_of(TransitionRecord)
    conditions = _within(table, since, until)
    if model_groups:
        conditions.append(table.c.model_group.in_(model_groups))
    return find(connection, TransitionRecord, *conditions)


# --- audit ------------------------------------------------------------------------------------------------------------

_AUDITED: Mapping[str, type[Any]] = dict(
    zip(KINDS, (TransitionRecord, OverrideRecord, SettingsRecord, DecisionRecord, DeploymentRecord), strict=True)
)


def audit(
    connection: Connection,
    *,
    kinds: Sequence[str] | None = None,
    model_group: str | None = None,
    deployment: str | None = None,
    since: float | None = None,
    until: float | None = None,
    limit: int = 100,
) -> list[tuple[str, Any]]:
    """Return the newest entries first, each with its kind.

    Args:
        connection: to the store.
        kinds: of ``KINDS``; None: transitions, overrides and settings.
        model_group: only of this one; settings concern all.
        deployment: only of this one; kinds without a deployment are left out.
        since: UTC seconds, inclusive.
        until: exclusive.
        limit: most entries.
    """
    found: list[tuple[str, Any]] = []
    for kind in kinds or USUAL_KINDS:
        table: Any = table_of(_AUDITED[kind])
        wanted = {"model_group": model_group, "deployment": deployment}
        if deployment is not None and "deployment" not in table.c:
            continue
        conditions = [table.c[name] == value for name, value in wanted.items() if value is not None and name in table.c]
        conditions += _within(table, since, until)
        entries = find(connection, _AUDITED[kind], *conditions, newest_first=True, limit=limit)
        found += [(kind, entry) for entry in entries]
    found.sort(key=lambda entry: -entry[1].at)
    return found[:limit]


def _within(table: Any, since: float | None, until: float | None) -> list[ColumnElement[bool]]:
    conditions = [] if since is None else [table.c.at >= since]
    return conditions if until is None else [*conditions, table.c.at < until]


# --- verify -----------------------------------------------------------------------------------------------------------


def verify(connection: Connection, since: float | None = None, until: float | None = None) -> Verification:
    """Recompute all results on record in a time range and compare them bit for bit."""
    verifier = Verifier({record.digest: record for record in find(connection, RuleRecord)})
    for page in _time_slices(connection, since, until):
        for recompute in page:
            verifier.verify(recompute)
    verifier.result.without_inputs = _without_inputs(connection, since, until)
    return verifier.result


def _time_slices(connection: Connection, since: float | None, until: float | None) -> Iterator[list[Recompute]]:
    table: Any = table_of(InputsRecord)
    bounds = select(func.min(table.c.at), func.max(table.c.at)).where(*_within(table, since, until))
    first, last = connection.execute(bounds).one()
    while first is not None and first <= last:
        ends = first + _SLICE_S if until is None else min(first + _SLICE_S, until)
        yield _recomputes(connection, first, ends)
        later = select(func.min(table.c.at)).where(table.c.at >= ends, table.c.at <= last)
        first = connection.execute(later).scalar()


def _recomputes(connection: Connection, since: float, until: float) -> list[Recompute]:
    def records(kind: type[R]) -> list[R]:
        return find(connection, kind, *_within(table_of(kind), since, until))

    def by_group(kind: type[Any]) -> dict[tuple[str, str], list[Any]]:
        found: dict[tuple[str, str], list[Any]] = {}
        for record in records(kind):
            found.setdefault((record.snapshot, record.model_group), []).append(record)
        return found

    kinds = (DeploymentRecord, ReferenceRecord, TransitionRecord)
    deployments, references, changes = (by_group(kind) for kind in kinds)
    keyed = [((one.snapshot, one.model_group), one) for one in records(InputsRecord)]
    return [
        Recompute(one, deployments.get(key, []), references.get(key, []), changes.get(key, [])) for key, one in keyed
    ]


def _without_inputs(connection: Connection, since: float | None, until: float | None) -> int:
    """Return transitions whose recompute has no inputs on record."""
    changes, inputs = table_of(TransitionRecord), table_of(InputsRecord)
    same = and_(inputs.c.snapshot == changes.c.snapshot, inputs.c.model_group == changes.c.model_group)
    query = select(changes.c.at).select_from(changes.outerjoin(inputs, same)).where(inputs.c.snapshot.is_(None))
    return len(list(connection.execute(query.where(*_within(changes, since, until)))))

"""Stored deployments and requests as plain data, for the API and the command line.

Times are UTC seconds; words and time zones are the caller's. Writes nothing.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit import queries
from exacto_plugin.audit.why import STALE_S, judged_then, under_override, why_view
from exacto_plugin.core.tiers.replay import InputsError, decode, preset_of_plain
from exacto_plugin.core.views import observed_view, reference_view, signal_view, with_step
from exacto_plugin.core.windows.observed import Observed
from exacto_plugin.core.wire import from_wire, to_wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from exacto_plugin.core.routing.overrides import Override
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.core.tiers.replay import GroupInputs
    from exacto_plugin.records import DecisionRecord, DeploymentRecord

Plain = dict[str, Any]

NOT_KEPT = (
    "request {name!r} is not on record: of ordinary requests one in a hundred is kept (store.decision_share); rescued,"
    " failed over, probing and refused ones are always kept, a few seconds after their end"
)
"""For people, when a request cannot be found."""

_OBSERVED_S = 3 * 3600.0
"""Seconds without a record until a deployment counts as not served.

Or no records were kept."""


def why(
    connection: Connection, deployment: str, at: float, *, past: bool, model_group: str | None = None
) -> list[Plain]:
    """Return a deployment's tier at a time with its reasons.

    One answer for each model group that the deployment is on record in.
    """
    groups = [model_group] if model_group is not None else queries.groups_of(connection, deployment)
    found = [(group, queries.tier_at(connection, group, deployment, at)) for group in groups]
    return [_why_record(connection, record, at, past=past) for _, record in found if record is not None]


def why_past(
    connection: Connection, deployment: str, at: float, *, past: bool, model_group: str | None = None
) -> Plain:
    """Return ``answers``, as ``why`` gives them, and ``first_at`` if there are none.

    ``first_at`` is the time of the first record.
    """
    found = why(connection, deployment, at, past=past, model_group=model_group)
    first = None if found else queries.first_tier(connection, deployment, model_group)
    return {"answers": found, **({} if first is None else {"first_at": first.at})}


def _why_record(connection: Connection, record: DeploymentRecord, at: float, *, past: bool) -> Plain:
    override = queries.override_at(connection, record.model_group, record.deployment, at)
    # All of this record's moment: later records of the group concern other deployments.
    preset, inputs = kept_inputs(connection, record.model_group, record.at)
    references = queries.references_at(connection, record.model_group, record.at)
    return why_view(judged_then(record, references), override, preset, inputs, at, past=past)


def kept_inputs(connection: Connection, model_group: str, at: float) -> tuple[Preset | None, GroupInputs | None]:
    """Return the rule in force at a time, and its last inputs.

    Each is None when it is not on record or cannot be read.
    """
    inputs = queries.inputs_at(connection, model_group, at)
    rule = None if inputs is None else queries.rule_of(connection, inputs.rule)
    if inputs is None or rule is None:
        return None, None
    try:
        preset = preset_of_plain(rule.rule)
        return preset, decode(inputs.inputs, preset)
    except InputsError:  # written by another version
        return None, None


def decision(connection: Connection, name: str) -> Plain | None:
    """Return a request by its decision id or LiteLLM's call id; None if not kept.

    With the tiers' reasons at that time.
    """
    record = queries.decision_of(connection, name)
    return None if record is None else decision_view(connection, record)


def decision_view(connection: Connection, record: DecisionRecord) -> Plain:
    """Return a request with the records of its candidates at that time."""

    def explained(candidate: Mapping[str, Any]) -> Plain:
        known = queries.tier_at(connection, record.model_group, candidate["deployment"], record.at)
        return {**candidate, "reasons": list(known.reasons) if known is not None else []}

    return {**to_wire(record), "candidates": [explained(one) for one in record.candidates]}


def audit(connection: Connection, **filters: Any) -> list[Plain]:
    """Return entries, newest first; see ``queries.audit``."""
    found = queries.audit(connection, **filters)
    entries = [{**to_wire(record), "kind": kind, **_record_cause(kind, record)} for kind, record in found]
    # An earlier version, and any change but a derank and its end, has no time of a change of calls.
    return [{name: value for name, value in one.items() if (name, value) != ("changed", None)} for one in entries]


def _record_cause(kind: str, record: Any) -> Plain:
    """Return the kind that a record has in a field of its own."""
    return {"occasion": record.kind} if kind in ("decision", "deployment") else {}


def tiers(connection: Connection, at: float, model_group: str | None = None) -> list[Plain]:
    """Return the model groups with their deployments' tiers at a time.

    Only those with a recent record. The numbers of a deployment are of its own ``at``, when it was last put on record;
    the references of the group's ``at``, which is the newest of them.
    """
    groups: dict[str, Plain] = {}
    for group, deployment in queries.deployments_in(connection, model_group):
        record = queries.tier_at(connection, group, deployment, at)
        if record is None or at - record.at > STALE_S:
            continue
        if group not in groups:
            groups[group] = {"model_group": group, "at": record.at, "references": {}, "deployments": []}
        override = queries.override_at(connection, group, deployment, at)
        seen = queries.observed_at(connection, group, deployment, at)
        fresh = seen is not None and at - seen.at <= _OBSERVED_S
        observed = observed_view(from_wire(Observed, seen.numbers) if seen and fresh else Observed())
        groups[group]["at"] = max(groups[group]["at"], record.at)
        groups[group]["deployments"].append({**_tier(record, override), "observed": observed})
    for group, view in groups.items():
        references = queries.references_at(connection, group, view["at"])
        reasons = chain.from_iterable(one["reasons"] for one in view["deployments"])
        view["references"] = with_step({signal: reference_view(one) for signal, one in references.items()}, reasons)
    return list(groups.values())


def _tier(record: DeploymentRecord, override: Override | None) -> Plain:
    tier, since, shown_override = under_override(record.tier, record.since, override)
    return {
        "deployment": record.deployment,
        "provider": record.provider,
        "at": record.at,
        "tier": tier,
        "since": since,
        "override": shown_override,
        "signals": {signal: signal_view(*numbers) for signal, numbers in record.signals.items()},
        "reasons": list(record.reasons),
    }

"""The facts that a provider needs to mend its parser, without anyone's data.

Counts, kinds, times and places in schemas. Of other deployments only rates, without a name; no callers, requests,
spend, keys or addresses.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exacto_plugin._version import __version__
from exacto_plugin.audit import entries, queries
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, WHOLE_GROUP
from exacto_plugin.core.stats.rates import rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from exacto_plugin.records import DeploymentRecord, HourRecord

    Plain = dict[str, Any]

VERSION = 1
"""Of the bundle's form."""

LEAST_PEER_ANSWERS = 20
"""Answers from which another deployment's rate is in the bundle."""

_REASON_PARTS = ("code", "signal", "value", "threshold", "samples", "needed", "window_s")
"""Parts of a reason that tell nothing of others."""


_PAIR_PARTS = ("pairs", "counted", "offset", "share", "constant", "valid", "other_valid")


def bundle(
    connection: Connection,
    deployment: str,
    since: float,
    until: float,
    *,
    models: Mapping[str, str],
    failures: Callable[[str], Sequence[Mapping[str, Any]]],
    pairs: Callable[[str], Sequence[Mapping[str, Any]]] = lambda model_group: (),
    model_group: str | None = None,
) -> Plain:
    """Return the bundle of a deployment.

    Args:
        connection: to the store.
        deployment: its name on record.
        since: UTC seconds; whole hours.
        until: exclusive.
        models: model group -> the provider's own id of the model, where it is known.
        failures: returns the latest bad answers that a proxy saw in a model group, with ``at``, ``kind``, ``path``.
        pairs: returns comparisons with other deployments by requests that both were sent, as ``why`` tells them.
        model_group: only this one.
    """
    groups = [model_group] if model_group is not None else queries.groups_of(connection, deployment)
    rows: dict[str, list[HourRecord]] = defaultdict(list)
    for row in queries.hours(connection, since, until, groups) if groups else ():
        rows[row.model_group].append(row)
    found = []
    for name in groups:
        record = queries.tier_at(connection, name, deployment, until)
        if record is None and not any(row.deployment == deployment for row in rows[name]):
            continue
        latest = [_failure(one) for one in failures(name) if since <= one["at"] < until]
        changes = _changes(connection, name, deployment, since, until)
        counts = {**_tier(record), **_counts(rows[name], deployment)}
        known = {"model_group": name, "model": models.get(name), **counts}
        found.append({**known, "tier_changes": changes, "failures": latest, "pairs": _pairs(pairs(name))})
    head = {"exacto_bundle": VERSION, "plugin": __version__, "since": since, "until": until, "deployment": deployment}
    return {**head, "model_groups": found}


def _tier(record: DeploymentRecord | None) -> Plain:
    if record is None:
        return {"provider": None, "tier": None, "reasons": []}
    return {"provider": record.provider, "tier": record.tier, "reasons": _reasons(record.reasons)}


def _reasons(reasons: Iterable[Mapping[str, Any]]) -> list[Plain]:
    return [{part: one[part] for part in _REASON_PARTS if one.get(part) is not None} for one in reasons]


def _changes(connection: Connection, model_group: str, deployment: str, since: float, until: float) -> list[Plain]:
    """Return the changes of tier, oldest first."""
    wanted: dict[str, Any] = {"model_group": model_group, "deployment": deployment, "since": since, "until": until}
    found = queries.audit(connection, kinds=["transition"], limit=entries.MOST_ENTRIES, **wanted)
    return [
        {"at": one.at, "previous": one.previous, "tier": one.tier, "reasons": _reasons(one.reasons)}
        for _, one in reversed(found)
    ]


def _pairs(found: Iterable[Mapping[str, Any]]) -> list[Plain]:
    """Return the comparisons without the other deployments' names, sorted by numbers."""
    plain = [{part: one[part] for part in _PAIR_PARTS} for one in found]
    return sorted(plain, key=lambda one: (-one["pairs"], str(one)))


def _failure(one: Mapping[str, Any]) -> Plain:
    """Return a bad answer with a name for all that are alike; its request is left out."""
    kind, path = str(one["kind"]), str(one.get("path") or "")
    name = hashlib.blake2b(f"{kind}\0{path}".encode(), digest_size=6).hexdigest()
    return {"at": one["at"], "kind": kind, "path": path, "fingerprint": name}


def _counts(rows: Iterable[HourRecord], deployment: str) -> Plain:
    """Return a deployment's numbers, and the rates of the others without their names."""
    sums: dict[str, _Sums] = defaultdict(_Sums)
    hours: dict[float, _Sums] = defaultdict(_Sums)
    for row in rows:
        if row.deployment != WHOLE_GROUP:
            sums[row.deployment].add(row.numbers)
        if row.deployment == deployment:
            hours[row.at].add(row.numbers)
    own = sums.pop(deployment, _Sums())
    peers = [rate(one.bad, one.answers) for one in sums.values() if one.answers >= LEAST_PEER_ANSWERS]
    return {
        "answers": own.answers,
        "bad": own.bad,
        "rate": rate(own.bad, own.answers),
        "kinds": {kind: {"bad": bad, "rate": rate(bad, own.answers)} for kind, bad in own.kinds.items() if bad},
        # Sorted by their numbers, so that no place tells a name.
        "peers": sorted((one for one in peers if one is not None), key=lambda one: (one["value"], one["high"])),
        "hours": [{"at": at, "answers": one.answers, "bad": one.bad} for at, one in sorted(hours.items())],
    }


@dataclass(slots=True)
class _Sums:
    answers: float = 0.0
    bad: float = 0.0
    kinds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BAD_KINDS, 0.0))

    def add(self, numbers: Mapping[str, float]) -> None:
        self.answers += numbers.get("answers", 0.0)
        self.bad += numbers.get("bad", 0.0)
        for kind in BAD_KINDS:
            self.kinds[kind] += numbers.get(kind, 0.0)

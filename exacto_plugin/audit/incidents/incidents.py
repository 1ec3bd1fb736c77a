"""Incidents: times in which a deployment was deranked, with their effects.

Pure over records.

An incident begins with the transition to ``deranked`` and ends with the next transition to another tier, or when the
deployment is no longer served, or when its verdict began anew. Its counts are those of whole hours from its onset on:
the derank's own hour, and the hours directly before it in which the share of bad answers was above the threshold
already. What tiers saved is the number of requests that they took away from the deployment, times the excess of its
share of bad answers over that of the other deployments in the same hours, as in ``exacto report``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit.hour_counts import COLUMNS, NO_COUNTS, HourCounts
from exacto_plugin.audit.why import STALE_S
from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, HOUR_S, WHOLE_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exacto_plugin.records import TransitionRecord

Plain = dict[str, Any]
Key = tuple[str, str]
"""Model group and deployment."""
Counts = Mapping[str, HourCounts]
"""Model group -> counts."""

MOST_ONSET_S = 86_400.0
"""Seconds before the derank in which an onset is looked for: the longest window of the adaptive rule."""

_ROUNDING = 1e-9


class LastKnownTier(NamedTuple):
    """The last record of a deployment."""

    at: float
    tier: str = Tier.DERANKED
    since: float = 0.0
    """Since when it had the tier."""


class _Span(NamedTuple):
    begin: TransitionRecord
    until: float | None
    end: str | None


def incidents(
    transitions: Iterable[TransitionRecord],
    counts: Counts,
    last_seen: Mapping[Key, LastKnownTier],
    now: float,
) -> list[Plain]:
    """Return the incidents, open ones first, then the newest first.

    Args:
        transitions: in order of time; a derank that is not among them is no incident.
        counts: from ``MOST_ONSET_S`` before the first transition on.
        last_seen: the last record of each deployment.
        now: UTC seconds.
    """
    spans = _spans(transitions, last_seen, now)
    found = [_incident(span, counts.get(span.begin.model_group, NO_COUNTS), now) for span in spans]
    return sorted(found, key=lambda one: (not one["open"], -one["since"]))


def incident_id(model_group: str, deployment: str, since: float) -> str:
    """Return a short name of an incident, the same in every process."""
    text = "\0".join((model_group, deployment, repr(since)))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _spans(transitions: Iterable[TransitionRecord], last_seen: Mapping[Key, LastKnownTier], now: float) -> list[_Span]:
    found: list[_Span] = []
    begun: dict[Key, TransitionRecord] = {}
    for change in transitions:
        key = (change.model_group, change.deployment)
        if change.tier == Tier.DERANKED:
            begun.setdefault(key, change)
        elif key in begun:
            found.append(_Span(begun.pop(key), change.at, "readmitted"))
    for key, change in begun.items():
        last = last_seen.get(key)
        if last is None or last.at <= change.at:
            last = LastKnownTier(change.at)
        if last.tier != Tier.DERANKED:
            # A process that lost its windows begins with insufficient data, which is no transition.
            found.append(_Span(change, max(last.since, change.at), "restarted"))
        elif now - last.at > STALE_S:
            found.append(_Span(change, last.at, "gone"))
        else:
            found.append(_Span(change, None, None))
    return found


def _incident(span: _Span, counts: HourCounts, now: float) -> Plain:
    begin, ends = span.begin, now if span.until is None else span.until
    reason = _cause(begin.reasons)
    onset = _onset(begin, reason, counts)
    own, everyone = _sums(counts.between(onset, ends), begin.deployment)
    rate = _rate(own["bad"], own["answers"])
    usual = _rate(everyone["bad"] - own["bad"], everyone["answers"] - own["answers"])
    moved = own["without_tiers"] - own["with_tiers"]
    kinds = {kind: own[kind] for kind in BAD_KINDS if own[kind]}
    return {
        "id": incident_id(begin.model_group, begin.deployment, begin.at),
        "model_group": begin.model_group,
        "deployment": begin.deployment,
        "since": begin.at,
        "until": span.until,
        "open": span.until is None,
        "end": span.end,
        "onset": onset,
        "signal": reason.get("signal"),
        "kind": max(kinds, key=lambda kind: kinds[kind], default=None),
        "value": reason.get("value"),
        "threshold": reason.get("threshold"),
        "samples": reason.get("samples", 0),
        "window_s": reason.get("window_s", 0.0),
        "reasons": list(begin.reasons),
        "answers": own["answers"],
        "bad": own["bad"],
        "kinds": kinds,
        "others_rate": usual,
        "rescued": own["rescued"],
        "harmed": max(0.0, own["bad"] - own["rescued"]),
        "moved": max(0.0, moved),
        "saved": max(0.0, moved) * max(0.0, (rate or 0.0) - (usual or 0.0)),
        "cost_usd": own["bad"] * own["cost"] / own["priced"] if own["priced"] else None,
    }


def _cause(reasons: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the reason that deranked it: that of tool calls, where several did."""
    below = [reason for reason in reasons if reason["code"] == ReasonCode.BELOW_THRESHOLD]
    # Rules of other versions may have other codes.
    with_numbers = below or [one for one in reasons if one["signal"] is not None and one["threshold"] is not None]
    calls = [reason for reason in with_numbers if reason["signal"] == Signal.TOOL_CALL_SUCCESS]
    return next(iter(calls or with_numbers), {})


def _onset(begin: TransitionRecord, reason: Mapping[str, Any], counts: HourCounts) -> float:
    """Return the beginning of the first hour with too many bad answers.

    Of those directly before the derank, whose share was above the threshold.
    """
    onset = begin.at // HOUR_S * HOUR_S
    if reason.get("signal") != Signal.TOOL_CALL_SUCCESS or reason.get("threshold") is None:
        return onset
    limit = 1.0 - float(reason["threshold"])
    answers, bad = (counts.of(begin.deployment, name) for name in ("answers", "bad"))
    place = round((onset - counts.first) / HOUR_S) - 1
    while onset - HOUR_S >= begin.at - MOST_ONSET_S and 0 <= place < len(answers):
        rate = _rate(bad[place], answers[place])
        if rate is None or rate <= limit + _ROUNDING:
            break
        onset, place = onset - HOUR_S, place - 1
    return onset


def _sums(counts: HourCounts, deployment: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the sums of the deployment, and of all deployments together."""
    sums = counts.numbers.sum(axis=0)
    own = [place for place, name in enumerate(counts.deployments) if name == deployment]
    every = [place for place, name in enumerate(counts.deployments) if name != WHOLE_GROUP]
    of_own, of_all = (sums[places].sum(axis=0).tolist() for places in (own, every))
    return dict(zip(COLUMNS, of_own, strict=True)), dict(zip(COLUMNS, of_all, strict=True))


def _rate(bad: float, answers: float) -> float | None:
    return bad / answers if answers > 0.0 else None

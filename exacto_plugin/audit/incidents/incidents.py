"""Incidents: times in which a deployment was deranked, with their causes.

Pure over records; ``effects`` counts what an incident did.

An incident begins with the transition to ``deranked`` and ends with the next transition to another tier, or when the
deployment is no longer served, or when its verdict began anew. Its onset is the most likely time of the change of its
calls that was put on record with the derank. Without one it is known to the hour only: that of the derank, or the first
of the hours directly before it in which the share of bad answers was above the threshold already.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit.hours.hour_counts import NO_COUNTS, HourCounts
from exacto_plugin.audit.incidents.effects import IncidentRecords, effects
from exacto_plugin.audit.why import STALE_S
from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.core.routing.counterfactual import HOUR_S
from exacto_plugin.core.tiers.change_point import PRIOR_CALLS

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

_LEAST_LAST = 30
"""Calls of the derank's hour from which their share is told; one of 10 % has a standard error of 5 points."""


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
    finish: TransitionRecord | None = None


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
    transitions = list(transitions)
    changes: dict[str, list[TransitionRecord]] = defaultdict(list)
    for change in transitions:
        changes[change.model_group].append(change)
    found = [
        _incident(span, counts.get(span.begin.model_group, NO_COUNTS), changes[span.begin.model_group], now)
        for span in _spans(transitions, last_seen, now)
    ]
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
            found.append(_Span(begun.pop(key), change.at, "readmitted", change))
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


def _incident(span: _Span, counts: HourCounts, changes: Sequence[TransitionRecord], now: float) -> Plain:
    begin, ends = span.begin, now if span.until is None else span.until
    reason = _cause(begin.reasons)
    is_of_calls = reason.get("signal") == Signal.TOOL_CALL_SUCCESS
    change = begin.changed if is_of_calls else None
    onset = _onset(begin, reason, counts) if change is None else change["at"]
    recovered = None if span.finish is None or not is_of_calls else span.finish.changed
    return {
        "id": incident_id(begin.model_group, begin.deployment, begin.at),
        "model_group": begin.model_group,
        "deployment": begin.deployment,
        "since": begin.at,
        "until": span.until,
        "open": span.until is None,
        "end": span.end,
        "onset": onset,
        "change": None if change is None else _told(change),
        "last_calls": None if change is None else _last_calls(change, begin.at),
        "recovered": None if recovered is None else _told(recovered),
        "signal": reason.get("signal"),
        "value": reason.get("value"),
        "threshold": reason.get("threshold"),
        "samples": reason.get("samples", 0),
        "window_s": reason.get("window_s", 0.0),
        "reasons": list(begin.reasons),
        **effects(IncidentRecords(begin, change, span.finish, onset, ends), counts, changes, now),
    }


def _told(change: Mapping[str, Any]) -> Plain:
    """Return a change of calls without the counts that only computations need.

    ``usual`` is None where fewer calls than the peers' share counts for came before it.
    """
    told = {name: value for name, value in change.items() if name not in ("before", "so_far")}
    calls = change.get("usual_calls")
    if calls is None:  # a record of an earlier version, of which some tell whether there was any call
        calls = 0 if change.get("most_calls") is not None and change.get("called_until") is None else PRIOR_CALLS
    return told if calls >= PRIOR_CALLS else {**told, "usual": None}


def _last_calls(change: Mapping[str, Any], derank: float) -> Plain | None:
    """Return the calls of the derank's hour, where the onset is before it.

    They tell whether the share rose meanwhile.
    """
    hour = derank // HOUR_S * HOUR_S
    if change["at"] >= hour or change["so_far"]["calls"] < _LEAST_LAST:
        return None
    return {"since": hour, "calls": change["so_far"]["calls"], "bad": change["so_far"]["bad"]}


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
        rate = bad[place] / answers[place] if answers[place] > 0.0 else None
        if rate is None or rate <= limit + _ROUNDING:
            break
        onset, place = onset - HOUR_S, place - 1
    return onset

"""The times of an incident in words: its onset, and the end of its bad calls.

Works on plain data; looks nothing up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import minute, minutes
from exacto_plugin.core.routing.counterfactual import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping


def onset_words(incident: Mapping[str, Any]) -> str:
    """Return when the calls became bad, as exactly as is on record."""
    change = incident["change"]
    if change is None:
        return f"{minute(incident['onset'])}, to the hour"
    if is_from_first_call(change):
        return f"from its first call on record, most likely, at {minute(change['at'])}"
    return f"{'gradually, from ' if change['gradual'] else ''}{between(change)}"


def is_from_first_call(change: Mapping[str, Any]) -> bool:
    """Return whether the bad calls began with the first call on record.

    A record of an earlier version does not tell.
    """
    return change.get("calls_before") == 0 and not change["gradual"]


def between(change: Mapping[str, Any]) -> str:
    """Return the interval of a change and its best time; the date once.

    >>> between({"at": 1_800_000_240.0, "earliest": 1_800_000_000.0, "latest": 1_800_000_420.0, "gradual": False})
    'between 2027-01-15 08:00 and 08:07 UTC (95 %), most likely 08:04'
    """
    best = minute(change["at"]).removesuffix(" UTC").removeprefix(minute(change["earliest"])[:11])
    word = "probably about" if change["gradual"] else "most likely"
    return f"between {_ends(change['earliest'], change['latest'])} (95 %), {word} {best}"


def _ends(begin: float, end: float) -> str:
    """Return the ends of an interval, the date once.

    >>> _ends(1_800_000_000.0, 1_800_000_420.0)
    '2027-01-15 08:00 and 08:07 UTC'
    """
    return minutes(begin, end).replace(" to ", " and ")


_QUIET_S = 600.0
"""Seconds without a call from which a change may have been long before the calls that show it."""


def recovery_words(incident: Mapping[str, Any]) -> str:
    """Return when its calls became good again; empty where nothing tells.

    An interval: to the minute where there were calls all the time, else from the derank, or the last hour with clearly
    bad calls, to the first hour from which on they are good beyond doubt.
    """
    change, better = incident["recovered"], incident["better"]
    if change is not None:
        return _some_time(incident) if _is_after_quiet(change, 60.0) else between(change)
    if better is None:
        return ""
    return f"{_some_time(incident)}; since then {better['bad']:,} of {better['calls']:,} calls were bad"


def _is_after_quiet(change: Mapping[str, Any], step_s: float) -> bool:
    """Return whether there were no calls before a change.

    A record of an earlier version does not tell.
    """
    called = change.get("called_until")
    return called is not None and change["at"] - called >= max(_QUIET_S, step_s)


def _some_time(incident: Mapping[str, Any]) -> str:
    """Return the interval of the change to good calls, and the calls in it."""
    again = incident["good_again"]
    if again is None or again["end"] - again["begin"] < HOUR_S / 60.0:
        change = incident["recovered"] or incident["better"]
        return f"about {minute(change['at'])}, to the hour"
    first, last, day = again["first"], again["last"], minute(again["begin"])[:11]
    calls = "no calls between"
    if again["calls"]:
        span = minutes(first, last).removesuffix(" UTC").replace(day, "")
        calls = f"{again['calls'] - again['bad']:,} of {again['calls']:,} calls from {span} were good"
    return f"at some time between {_ends(again['begin'], again['end'])} ({calls})"


def recovery_event(incident: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return the entry of a timeline on its good calls, and its time."""
    change = incident["recovered"] or incident["better"]
    if change is None:
        return None
    return float(change["at"]), f"its calls are good from here on: they became so {recovery_words(incident)}"

"""Calls that a deployment got while it was deranked, by the hour.

The rule keeps the number that deranked it, so that a line of it would show no measurement. The calls that it still got
(probes, and requests that no other deployment could answer) are counted by the hour. Pure.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit.formatting import minutes
from exacto_plugin.core.model import Tier
from exacto_plugin.core.routing.counterfactual import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

QUIET_S = 600.0
"""Seconds without a call from which a deployment is said to get none; hourly counts are written within seconds, and a
probe comes within minutes where there is traffic (reasoned)."""


class DerankedTime(NamedTuple):
    """A time in which a deployment was deranked."""

    first: int
    """Place of the first step of the series at whose end it was."""
    last: int
    """Place of the last one."""
    begin: float
    """UTC seconds; the beginning of the series where it is earlier."""
    end: float
    """UTC seconds; infinite where it still is at the end of the series."""
    derank: Mapping[str, Any] | None
    """The transition that began it; None where it is not in the series."""
    finish: Mapping[str, Any] | None
    """The transition that ended it, likewise."""


class CallsOfHour(NamedTuple):
    """Calls within a step of the hourly counts, while it was deranked."""

    place: int
    """The step of the series that has its middle."""
    calls: int
    bad: int
    end: float
    """UTC seconds."""


def deranked_times(series: Mapping[str, Any], name: str) -> list[DerankedTime]:
    """Return the times in which a deployment was deranked, in order."""
    tiers = series["deployments"][name]["tier"]
    times = (series["since"], *series["times"])
    found = []
    for first, last in _runs(tiers):
        derank = _change(series, name, times[first], times[first + 1], "tier")
        ends = last + 2 < len(times)
        finish = _change(series, name, times[last + 1], times[last + 2], "previous") if ends else None
        begin = times[first] if derank is None else derank["at"]
        end = math.inf if not ends else times[last + 1] if finish is None else finish["at"]
        found.append(DerankedTime(first, last, begin, end, derank, finish))
    return found


def _runs(tiers: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Yield first and last place of each run of deranked steps."""
    begin = None
    for place, tier in enumerate((*tiers, None)):
        if tier == Tier.DERANKED:
            begin = place if begin is None else begin
        elif begin is not None:
            yield begin, place - 1
            begin = None


def _change(series: Mapping[str, Any], name: str, since: float, until: float, field: str) -> Mapping[str, Any] | None:
    """Return the transition to (``tier``) or from (``previous``) deranked in a step."""
    return next(
        (
            one
            for one in series["changes"]
            if one["kind"] == "transition"
            and one["deployment"] == name
            and since <= one["at"] <= until
            and one[field] == Tier.DERANKED
        ),
        None,
    )


def calls_of(series: Mapping[str, Any], name: str, time: DerankedTime) -> list[CallsOfHour]:
    """Return the calls of a deployment while it was deranked, by steps with calls.

    The hours of both changes of tier count from or up to the change where the transition's record tells the counts so
    far, and not at all otherwise.
    """
    hours = series["hours"]
    counts = hours["deployments"].get(name)
    found = []
    for number, begins in enumerate(hours["times"] if counts else ()):
        ends = min(begins + hours["step_s"], hours["until"])
        if ends <= time.begin or begins >= time.end:
            continue
        left = _so_far(time.derank, hours) if begins < time.begin else {"calls": 0, "bad": 0}
        whole = {column: counts[column][number] for column in ("calls", "bad")}
        right = _so_far(time.finish, hours) if time.end < ends else whole
        if left is None or right is None:
            continue
        calls, bad = (round(max(0.0, right[column] - left[column])) for column in ("calls", "bad"))
        middle = (max(begins, time.begin) + min(ends, time.end)) / 2.0
        place = min(bisect_right(series["times"], middle), len(series["times"]) - 1)
        if calls:
            found.append(CallsOfHour(place, calls, min(bad, calls), ends))
    return found


def _so_far(change: Mapping[str, Any] | None, hours: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the counts of a transition's hour up to it; None where they are unknown."""
    if hours["step_s"] != HOUR_S or change is None or change.get("changed") is None:
        return None
    so_far: Mapping[str, Any] = change["changed"]["so_far"]
    return so_far


def quiet_since(series: Mapping[str, Any], time: DerankedTime, calls: Sequence[CallsOfHour]) -> float | None:
    """Return since when a deranked deployment has got no call.

    UTC seconds, to the hour after the first call; None where it gets some, or is no longer deranked.
    """
    if math.isfinite(time.end):
        return None
    since = max([time.begin, *(one.end for one in calls)])
    return since if series["until"] - since >= QUIET_S else None


def quiet_words(series: Mapping[str, Any], time: DerankedTime, calls: Sequence[CallsOfHour]) -> str:
    """Return the words on a time without calls at the end of the series.

    Calls of hours with gaps between them are counted, as there were none before each of them either.
    """
    is_whole = time.derank is not None
    if not calls:
        return "no calls from then on" if is_whole else "no calls in this time"
    step = series["hours"]["step_s"]
    ends = [time.begin // step * step + step, *(one.end for one in calls)] if is_whole else [one.end for one in calls]
    if all(later - earlier <= step for earlier, later in pairwise(ends)):
        return "no calls from then on"
    number = sum(one.calls for one in calls)
    last = minutes(calls[-1].end - step, calls[-1].end)[11:]
    span = "since the derank" if is_whole else "in this time"
    return f"{number:,} call{'' if number == 1 else 's'} {span}, {'' if number == 1 else 'the last '}{last}"

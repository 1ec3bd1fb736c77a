"""When the calls of a deranked deployment became good again: an interval.

A deranked deployment gets few calls, and none for hours. The most likely time of the change is then the first of many
good calls, though a few before them were good too. The change came after the last hour with clearly bad calls, else
after the derank, and before the calls that are good beyond doubt. Pure over hourly counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.core.routing.counterfactual import HOUR_S
from exacto_plugin.core.stats.binomial import wilson_lower
from exacto_plugin.core.stats.rates import Z

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exacto_plugin.audit.hours.hour_counts import HourCounts
    from exacto_plugin.records import TransitionRecord

Plain = dict[str, Any]

_LEAST_BAD = 2
"""Bad calls from which an hour may be clearly bad: a deployment without a fault has single ones."""

_TIMES_USUAL = 2.0
"""Times the others' share of bad calls that the lower end of the hour's 95 % interval is above in a bad hour."""


def good_again(
    within: HourCounts, derank: TransitionRecord, change: Mapping[str, Any], usual: float | None
) -> Plain | None:
    """Return the ends of the interval, and the calls between them.

    ``first`` and ``last`` are the times of those calls, to the hour; None without any.

    Args:
        within: hourly counts of the model group that reach from the derank to the change.
        derank: its record.
        change: of the calls to good ones; its time is the end of the interval.
        usual: the others' share of bad calls; None if unknown.
    """
    end = float(change["at"])
    if end <= derank.at:
        return None
    begin, found = derank.at, Plain(calls=0, bad=0, first=None, last=None)
    for hour, calls, bad in _hours(within, derank, change):
        last = min(hour + HOUR_S, end)
        lowest = float(wilson_lower(np.array(bad), np.array(calls), Z))
        if bad >= _LEAST_BAD and lowest > _TIMES_USUAL * (usual or 0.0):
            known = change.get("bad_until")
            begin = known if known is not None and hour < known <= last else last
            found = Plain(calls=0, bad=0, first=None, last=None)
        else:
            first = max(hour, begin) if found["first"] is None else found["first"]
            found = Plain(calls=found["calls"] + calls, bad=found["bad"] + bad, first=first, last=last)
    return {"begin": begin, "end": end, **found}


def _hours(within: HourCounts, derank: TransitionRecord, change: Mapping[str, Any]) -> Iterator[tuple[float, int, int]]:
    """Yield hours with calls from the derank to the change: hour, calls, bad ones.

    Without the derank's own hour where its counts up to the derank are unknown.
    """
    of = {column: within.of(derank.deployment, column) for column in ("calls", "bad")}
    for place in range(len(within.numbers)):
        hour = within.first + HOUR_S * place
        if hour + HOUR_S <= derank.at or hour >= change["at"]:
            continue
        numbers = {column: float(counts[place]) for column, counts in of.items()}
        if hour + HOUR_S > change["at"] and "before" in change:
            numbers = {column: float(change["before"][column]) for column in numbers}
        if hour < derank.at:
            if derank.changed is None:
                continue
            numbers = {column: count - derank.changed["so_far"][column] for column, count in numbers.items()}
        if numbers["calls"] > 0.0:
            yield hour, round(numbers["calls"]), round(max(0.0, numbers["bad"]))

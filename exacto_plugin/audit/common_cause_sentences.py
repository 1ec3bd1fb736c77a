"""The sentence on a common cause. Works on plain data; looks nothing up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import KIND_NAMES, moment
from exacto_plugin.core.routing.counterfactual import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo


def common_cause_sentence(reason: Mapping[str, Any], zone: tzinfo | None = None) -> str:
    """Describe a rise of the failure rate at all deployments of a model group.

    Args:
        reason: as the API has it; ``deployments`` and ``kinds`` of bad answers are told where they are added.
        zone: of the times; None for the user's.
    """
    points = f"{100 * reason['value']:.2g} points"
    during = f"is about {points} higher since {moment(reason['begin'], zone)}"
    if reason["end"] is not None:
        span = _span(moment(reason["begin"], zone), moment(reason["end"], zone))
        during = f"was about {points} higher from {span}, and is over"
    names = reason.get("deployments")
    named = f" ({', '.join(names)})" if names else ""
    return (
        f"The failure rate of all {reason['peers']} deployments with enough calls{named} {during}: a common cause, "
        f"which is held against none of them.{_cause_kinds(reason, zone)}"
    )


def _span(begin: str, end: str) -> str:
    """Return a range of time, the date and the zone once.

    >>> _span("2027-01-15 08:10:00 UTC", "2027-01-15 08:40:00 UTC")
    '2027-01-15 08:10:00 to 08:40:00 UTC'
    """
    if begin[:11] != end[:11] or begin[19:] != end[19:]:
        return f"{begin} to {end}"
    return f"{begin[:19]} to {end[11:]}"


def _cause_kinds(reason: Mapping[str, Any], zone: tzinfo | None) -> str:
    """Describe the kinds of bad answers in the whole hours of a common cause."""
    kinds = reason.get("kinds")
    if not kinds:
        return ""
    most = max(kinds, key=lambda kind: kinds[kind])
    ends = (reason["begin"], reason["begin"] if reason["end"] is None else reason["end"] - 1.0)
    first, last = (moment(at // HOUR_S * HOUR_S, zone)[11:16] for at in ends)
    when = f"since {first}" if reason["end"] is None else f"in the hour of {first}"
    if last != first:
        when = f"in the hours of {first} to {last}"
    told = f"{kinds[most]:,.0f} of {sum(kinds.values()):,.0f} bad answers {when}"
    return f" Mostly {KIND_NAMES.get(most, most)} ({told})."

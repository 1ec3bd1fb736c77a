"""The sentence on a common cause. Works on plain data; looks nothing up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import KIND_NAMES, moment

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
    during = f"since {moment(reason['begin'], zone)}"
    if reason["end"] is not None:
        during = f"between {moment(reason['begin'], zone)} and {moment(reason['end'], zone)}"
    names = reason.get("deployments")
    named = f" ({', '.join(names)})" if names else ""
    return (
        f"The failure rate of all {reason['peers']} deployments with enough calls{named} rose by about {points} "
        f"{during}: a common cause, which is held against none of them.{_cause_kinds(reason.get('kinds'))}"
    )


def _cause_kinds(kinds: Mapping[str, float] | None) -> str:
    """Describe the kinds of bad answers in the hours of a common cause."""
    if not kinds:
        return ""
    most = max(kinds, key=lambda kind: kinds[kind])
    told = f"{kinds[most]:,.0f} of {sum(kinds.values()):,.0f} bad answers in those hours"
    return f" Mostly {KIND_NAMES.get(most, most)} ({told})."

"""The states that alerts were sent about, as processes share them.

A claim writes the states that changed; of several processes with the same change one gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class AlertState(NamedTuple):
    """A state at a time."""

    state: str
    at: float
    """UTC seconds."""
    is_normal: bool
    """True for a state that is kept only where another one was kept before."""


class AlertClaim(NamedTuple):
    """The answer to a claim."""

    changed: Mapping[str, str | None]
    """Each name whose state the claim changed, with the previous state; None where none was kept."""
    outdated: frozenset[str]
    """Names of which a newer state is kept."""


def with_local(shared: AlertClaim, local: AlertClaim) -> AlertClaim:
    """Return the claim among all processes, completed by that in this machine's store.

    A shared storage that lost its contents keeps no state; then those of the store decide.
    """
    changed = {
        name: local.changed[name] if before is None else before
        for name, before in shared.changed.items()
        if before is not None or name in local.changed
    }
    return AlertClaim(changed, shared.outdated)

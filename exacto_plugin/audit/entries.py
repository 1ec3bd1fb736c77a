"""The kinds of entries that ``exacto audit`` shows. Imports no database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("transition", "override", "settings", "decision", "deployment")
"""Kinds of entries; ``deployment``: changes of reasons, and hourly checkpoints."""

USUAL_KINDS = KINDS[:3]
"""The kinds shown by default."""

_WITHOUT_DEPLOYMENT = frozenset({"settings", "decision"})

MOST_ENTRIES = 10_000
"""Most entries of one query."""


def reject_filters(kinds: Sequence[str] | None, deployment: str | None) -> None:
    """Reject a deployment filter for kinds that have no deployment.

    Raises:
        ExactoError: such kinds are requested by name.
    """
    none = [kind for kind in kinds or () if deployment is not None and kind in _WITHOUT_DEPLOYMENT]
    if none:
        raise ExactoError(f"entries of kind {' and '.join(none)} are not kept by deployment")

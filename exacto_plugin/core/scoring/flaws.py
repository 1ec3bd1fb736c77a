"""Counts each flaw per deployment since the process started.

The counts are for operators and no input to tiers, which use the windows. Holds numbers only.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.model import Blame, Flaw
from exacto_plugin.core.scoring.attribution import BLAME

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMN_OF: Final = {flaw: place for place, flaw in enumerate(Flaw)}


class FlawCounts:
    """Counts per model group and deployment, about 300 bytes for each with a flaw.

    A deployment without a flaw takes no memory.
    """

    def __init__(self) -> None:
        self._total = _zeros()
        self._counts: dict[tuple[str, str], array[int]] = {}

    def add(self, model_group: str, deployment: str, flaws: Iterable[Flaw]) -> None:
        """Count the flaws of one answer."""
        counts = self._counts.get((model_group, deployment))
        if counts is None:
            counts = self._counts.setdefault((model_group, deployment), _zeros())
        for flaw in flaws:
            counts[_COLUMN_OF[flaw]] += 1
            self._total[_COLUMN_OF[flaw]] += 1

    def deployments(self) -> set[tuple[str, str]]:
        """Return model group and name of every deployment with a flaw."""
        return set(self._counts)

    def drop(self, gone: Iterable[tuple[str, str]]) -> None:
        """Remove some deployments; the totals stay."""
        for key in gone:
            self._counts.pop(key, None)

    def of(self, model_group: str, deployment: str) -> dict[Flaw, int]:
        """Return the nonzero counts of one deployment."""
        return _named(self._counts.get((model_group, deployment), ()))

    @property
    def total(self) -> dict[Flaw, int]:
        """The counts of every flaw over all deployments."""
        return dict(zip(Flaw, self._total, strict=True))

    @property
    def by_blame(self) -> dict[Blame, int]:
        """The totals by the party that each flaw alone is attributed to."""
        sums = dict.fromkeys(Blame, 0)
        for flaw, count in self.total.items():
            sums[BLAME[flaw]] += count
        return sums


def _zeros() -> array[int]:
    return array("Q", bytes(8 * len(Flaw)))


def _named(counts: Iterable[int]) -> dict[Flaw, int]:
    return {flaw: count for flaw, count in zip(Flaw, counts, strict=False) if count}

"""How often each flaw was seen of each deployment since the process started: plain sums, which decide nothing.

What tiers count is in the windows; this is what an operator reads beside them. Holds numbers only.
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
    """Counts per model group and deployment; a deployment without a flaw takes no room, another about 300 bytes."""

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
        """Model group and name of every deployment that a flaw was seen of."""
        return set(self._counts)

    def drop(self, gone: Iterable[tuple[str, str]]) -> None:
        """Forget some deployments; the totals stay."""
        for key in gone:
            self._counts.pop(key, None)

    def of(self, model_group: str, deployment: str) -> dict[Flaw, int]:
        """What was seen of one deployment, without the flaws that never were."""
        return _named(self._counts.get((model_group, deployment), ()))

    @property
    def total(self) -> dict[Flaw, int]:
        """Of all deployments together, every flaw."""
        return dict(zip(Flaw, self._total, strict=True))

    @property
    def by_blame(self) -> dict[Blame, int]:
        """The total by whose fault a flaw is by itself."""
        sums = dict.fromkeys(Blame, 0)
        for flaw, count in self.total.items():
            sums[BLAME[flaw]] += count
        return sums


def _zeros() -> array[int]:
    return array("Q", bytes(8 * len(Flaw)))


def _named(counts: Iterable[int]) -> dict[Flaw, int]:
    return {flaw: count for flaw, count in zip(Flaw, counts, strict=False) if count}

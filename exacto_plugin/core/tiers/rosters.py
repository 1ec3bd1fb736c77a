"""Who serves which model group now: only these are peers of each other and appear in a snapshot.

Turns the rosters into blocks of slots for the recompute. How slots are given out is ``slots``' business, what is
concluded about a block that of the preset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.columns import Block
from exacto_plugin.core.windows.slots import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.windows.slots import Slots

BLOCK_CELLS = 1024
"""Deployments (with padding) that are judged in one slice: 1 to 2 milliseconds (measured)."""


class Roster:
    """The deployments of one model group."""

    __slots__ = ("capacity", "generation", "places", "slots", "weight")

    def __init__(self, places: Mapping[str, int]) -> None:
        self.weight = np.ones(len(places))
        self.capacity = np.full(len(places), np.inf)
        self.places = places
        """Position by deployment."""
        self.slots: NDArray[np.intp] = np.zeros(0, np.intp)
        self.generation: tuple[int, float] | None = None
        """What ``Slots.generation`` was when the slots were claimed."""


class Rosters:
    """The rosters of all model groups.

    Args:
        slots: tells when slots that were claimed may belong to others.
        claim: gives the slot of a model group's deployment and keeps it alive.
    """

    def __init__(self, slots: Slots, claim: Callable[[str, str], int]) -> None:
        self._slots = slots
        self._claim = claim
        self._rosters: dict[str, Roster] = {}

    def observe(self, model_group: str, deployments: Iterable[str]) -> NDArray[np.intp] | None:
        """Take over who serves a model group; an empty list ends it. Returns the slots if something changed."""
        places = {name: place for place, name in enumerate(dict.fromkeys(deployments))}
        if not places:
            self._rosters.pop(model_group, None)
            return None
        known = self._rosters.get(model_group)
        if known is not None and known.places.keys() == places.keys():
            return None
        roster = self._rosters[model_group] = Roster(places)
        return self._claimed(model_group, roster)

    def describe(self, model_group: str, weights: Mapping[str, float], capacities: Mapping[str, float]) -> None:
        """Say more about the deployments of a group.

        A weight or capacity that is missing, negative or no number means 1 or unlimited.
        """
        roster = self._rosters.get(model_group)
        if roster is not None:
            roster.weight = _column(roster.places, weights, 1.0)
            roster.capacity = _column(roster.places, capacities, np.inf)

    def slot(self, model_group: str, deployment: str) -> int:
        """The slot of a deployment, kept alive from now on."""
        return self._claim(model_group, deployment)

    def blocks(self) -> Iterator[Block]:
        """All groups in portions of about ``BLOCK_CELLS``, each as it is when its turn comes."""
        for names in list(self._portions()):
            portion = {name: roster for name in names if (roster := self._rosters.get(name)) is not None}
            if portion:
                yield self._block(portion)

    def _portions(self) -> Iterator[list[str]]:
        names: list[str] = []
        widest = 0
        for name, roster in self._rosters.items():
            widest = max(widest, len(roster.places))
            if names and widest * (len(names) + 1) > BLOCK_CELLS:
                yield names
                names, widest = [], len(roster.places)
            names.append(name)
        if names:
            yield names

    def _block(self, portion: Mapping[str, Roster]) -> Block:
        slots = np.full((len(portion), max(len(roster.places) for roster in portion.values())), NOBODY, np.intp)
        weight, capacity = np.zeros(slots.shape), np.full(slots.shape, np.inf)
        for number, (group, roster) in enumerate(portion.items()):
            slots[number, : len(roster.places)] = self._claimed(group, roster)
            weight[number, : len(roster.places)] = roster.weight
            capacity[number, : len(roster.places)] = roster.capacity
        places = tuple(roster.places for roster in portion.values())
        return Block(tuple(portion), places, slots, slots != NOBODY, weight, capacity)

    def _claimed(self, model_group: str, roster: Roster) -> NDArray[np.intp]:
        if roster.generation != self._slots.generation:
            roster.generation = self._slots.generation
            roster.slots = np.array([self._claim(model_group, name) for name in roster.places], np.intp)
        return roster.slots


def _column(places: Mapping[str, int], numbers: Mapping[str, float], otherwise: float) -> NDArray[np.float64]:
    """One number per deployment, in the order of their places."""
    given = np.array([numbers.get(name, otherwise) for name in places], np.float64)
    return np.where(given >= 0, given, otherwise)

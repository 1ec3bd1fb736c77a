"""Who serves which model group now: only these are peers of each other and appear in a snapshot.

Turns the rosters into blocks of slots for the recompute. How slots are given out is ``slots``' business, what is
concluded about a block that of the preset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.columns import Block
from exacto_plugin.core.windows.slots import NO_SLOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.windows.slots import SlotAllocator

BLOCK_SIZE = 1024
"""Deployments (with padding) that are judged in one slice: 1 to 2 milliseconds (measured)."""


class GroupMembers:
    """The deployments of one model group."""

    __slots__ = ("capacity", "generation", "positions", "slots", "weight")

    def __init__(self, places: Mapping[str, int]) -> None:
        self.weight = np.ones(len(places))
        self.capacity = np.full(len(places), np.inf)
        self.positions = places
        """Position by deployment."""
        self.slots: NDArray[np.intp] = np.zeros(0, np.intp)
        self.generation: tuple[int, float] | None = None
        """What ``SlotAllocator.generation`` was when the slots were claimed."""


class ModelGroups:
    """The rosters of all model groups.

    Args:
        slots: tells when slots that were claimed may belong to others.
        claim: gives the slot of a model group's deployment and keeps it alive.
    """

    def __init__(self, slots: SlotAllocator, claim: Callable[[str, str], int]) -> None:
        self._slots = slots
        self._acquire = claim
        self._groups: dict[str, GroupMembers] = {}

    def observe(self, model_group: str, deployments: Iterable[str]) -> NDArray[np.intp] | None:
        """Take over who serves a model group; an empty list ends it. Returns the slots if something changed."""
        places = {name: place for place, name in enumerate(dict.fromkeys(deployments))}
        if not places:
            self._groups.pop(model_group, None)
            return None
        known = self._groups.get(model_group)
        if known is not None and known.positions.keys() == places.keys():
            return None
        roster = self._groups[model_group] = GroupMembers(places)
        return self._slots_of(model_group, roster)

    def describe(self, model_group: str, weights: Mapping[str, float], capacities: Mapping[str, float]) -> None:
        """Say more about the deployments of a group.

        A weight or capacity that is missing, negative or no number means 1 or unlimited.
        """
        roster = self._groups.get(model_group)
        if roster is not None:
            roster.weight = _column(roster.positions, weights, 1.0)
            roster.capacity = _column(roster.positions, capacities, np.inf)

    def slot(self, model_group: str, deployment: str) -> int:
        """The slot of a deployment, kept alive from now on."""
        return self._acquire(model_group, deployment)

    def blocks(self) -> Iterator[Block]:
        """All groups in portions of about ``BLOCK_SIZE``, each as it is when its turn comes."""
        for names in list(self._name_blocks()):
            portion = {name: roster for name in names if (roster := self._groups.get(name)) is not None}
            if portion:
                yield self._block(portion)

    def _name_blocks(self) -> Iterator[list[str]]:
        names: list[str] = []
        widest = 0
        for name, roster in self._groups.items():
            widest = max(widest, len(roster.positions))
            if names and widest * (len(names) + 1) > BLOCK_SIZE:
                yield names
                names, widest = [], len(roster.positions)
            names.append(name)
        if names:
            yield names

    def _block(self, portion: Mapping[str, GroupMembers]) -> Block:
        slots = np.full((len(portion), max(len(roster.positions) for roster in portion.values())), NO_SLOT, np.intp)
        weight, capacity = np.zeros(slots.shape), np.full(slots.shape, np.inf)
        for number, (group, roster) in enumerate(portion.items()):
            slots[number, : len(roster.positions)] = self._slots_of(group, roster)
            weight[number, : len(roster.positions)] = roster.weight
            capacity[number, : len(roster.positions)] = roster.capacity
        places = tuple(roster.positions for roster in portion.values())
        return Block(tuple(portion), places, slots, slots != NO_SLOT, weight, capacity)

    def _slots_of(self, model_group: str, roster: GroupMembers) -> NDArray[np.intp]:
        if roster.generation != self._slots.generation:
            roster.generation = self._slots.generation
            roster.slots = np.array([self._acquire(model_group, name) for name in roster.positions], np.intp)
        return roster.slots


def _column(places: Mapping[str, int], numbers: Mapping[str, float], otherwise: float) -> NDArray[np.float64]:
    """One number per deployment, in the order of their places."""
    given = np.array([numbers.get(name, otherwise) for name in places], np.float64)
    return np.where(given >= 0, given, otherwise)

"""Current members of each model group, as blocks of slots.

Only the members of a group are peers of each other and appear in a snapshot. ``windows.slots`` allocates the slots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.columns import Block
from exacto_plugin.core.windows.slots import NO_SLOT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import DeploymentKey
    from exacto_plugin.core.windows.slots import SlotAllocator

BLOCK_SIZE = 768
"""Deployments, with padding, whose model groups have one width.
Sums of floats depend on the width, so another size would change the last digits of some numbers."""

SLICE_SIZE = 2 * BLOCK_SIZE
"""Deployments, with padding, that are evaluated in one slice.
Takes 1.3 times as long as half as many (measured), because most of it is the number of NumPy's calls."""

BLOCK_GROUPS = 128
"""Model groups that are evaluated in one slice; each takes 40 microseconds, however
small it is (measured)."""


class GroupMembers:
    """Members of one model group."""

    __slots__ = ("capacity", "generation", "positions", "price", "revision", "slots", "weight")

    def __init__(self, places: Mapping[DeploymentKey, int]) -> None:
        self.weight = np.ones(len(places))
        self.capacity = np.full(len(places), np.inf)
        self.price = np.full(len(places), np.nan)
        self.revision = 0
        """Raised when weights, capacities or prices change."""
        self.positions = places
        """Position by deployment."""
        self.slots: NDArray[np.intp] = np.zeros(0, np.intp)
        self.generation: tuple[int, float] | None = None
        """Value of ``SlotAllocator.generation`` when the slots were acquired."""


class ModelGroups:
    """Members of all model groups.

    Args:
        slots: allocator whose ``generation`` changes when slots must be acquired again.
        claim: returns the slot of a model group's deployment and renews its lease.
    """

    def __init__(self, slots: SlotAllocator, claim: Callable[[str, DeploymentKey], int]) -> None:
        self._slots = slots
        self._acquire = claim
        self._groups: dict[str, GroupMembers] = {}

    def members_of(self, model_group: str) -> Collection[DeploymentKey] | None:
        """Return the members of a model group; None for one that was not observed."""
        found = self._groups.get(model_group)
        return None if found is None else found.positions.keys()

    def drop(self, model_groups: Iterable[str]) -> None:
        """Remove some model groups."""
        for name in model_groups:
            self._groups.pop(name, None)

    def observe(self, model_group: str, deployments: Iterable[DeploymentKey]) -> NDArray[np.intp] | None:
        """Set the members of a model group; an empty list removes the group.

        Returns the slots if the members changed.
        """
        places = {name: place for place, name in enumerate(dict.fromkeys(deployments))}
        if not places:
            self._groups.pop(model_group, None)
            return None
        known = self._groups.get(model_group)
        if known is not None and known.positions.keys() == places.keys():
            return None
        members = self._groups[model_group] = GroupMembers(places)
        return self._slots_of(model_group, members)

    def describe(
        self,
        model_group: str,
        weights: Mapping[DeploymentKey, float],
        capacities: Mapping[DeploymentKey, float],
        prices: Mapping[DeploymentKey, float],
    ) -> None:
        """Set weights, capacities and prices of a group's deployments.

        One that is missing, negative or NaN is set to 1, unlimited or unknown.
        """
        members = self._groups.get(model_group)
        if members is None:
            return
        given = ((weights, 1.0), (capacities, np.inf), (prices, np.nan))
        for name, (numbers, otherwise) in zip(("weight", "capacity", "price"), given, strict=True):
            column = _column(members.positions, numbers, otherwise)
            if not np.array_equal(column, getattr(members, name), equal_nan=True):
                setattr(members, name, column)
                members.revision += 1

    def names(self) -> tuple[str, ...]:
        """Return all model groups in their order."""
        return tuple(self._groups)

    def blocks(self, is_wanted: Callable[[str, GroupMembers, int], bool]) -> Iterator[tuple[Block, list[GroupMembers]]]:
        """Iterate over wanted groups in blocks of up to ``SLICE_SIZE``, with members.

        Each block has the state of the moment when it is returned, and the width that it has if all groups are wanted.

        Args:
            is_wanted: is called with a group's name, members and that width.
        """
        wanted: dict[str, GroupMembers] = {}
        width = 0
        for names in list(self._name_blocks()):
            if wanted and not _fits(width, len(wanted) + 1, SLICE_SIZE):
                yield self._block(wanted, width), list(wanted.values())
                wanted = {}
            found, own = self._wanted(names, is_wanted)
            if wanted and (own != width or not _fits(width, len(wanted) + len(found), SLICE_SIZE)):
                yield self._block(wanted, width), list(wanted.values())
                wanted = {}
                found, own = self._wanted(names, is_wanted)
            wanted, width = {**wanted, **found}, own
        if wanted:
            yield self._block(wanted, width), list(wanted.values())

    def _wanted(
        self, names: Sequence[str], is_wanted: Callable[[str, GroupMembers, int], bool]
    ) -> tuple[dict[str, GroupMembers], int]:
        """Return the wanted ones of some groups, and the width of all of them."""
        groups = {name: members for name in names if (members := self._groups.get(name)) is not None}
        width = max((len(members.positions) for members in groups.values()), default=0)
        for name, members in groups.items():
            self._slots_of(name, members)
        return {name: members for name, members in groups.items() if is_wanted(name, members, width)}, width

    def _name_blocks(self) -> Iterator[list[str]]:
        names: list[str] = []
        widest = 0
        for name, members in self._groups.items():
            widest = max(widest, len(members.positions))
            if names and not _fits(widest, len(names) + 1, BLOCK_SIZE):
                yield names
                names, widest = [], len(members.positions)
            names.append(name)
        if names:
            yield names

    def _block(self, groups: Mapping[str, GroupMembers], width: int) -> Block:
        slots = np.full((len(groups), width), NO_SLOT, np.intp)
        weight, capacity = np.zeros(slots.shape), np.full(slots.shape, np.inf)
        price = np.full(slots.shape, np.nan)
        for number, (group, members) in enumerate(groups.items()):
            slots[number, : len(members.positions)] = self._slots_of(group, members)
            weight[number, : len(members.positions)] = members.weight
            capacity[number, : len(members.positions)] = members.capacity
            price[number, : len(members.positions)] = members.price
        places = tuple(members.positions for members in groups.values())
        return Block(tuple(groups), places, slots, slots != NO_SLOT, weight, capacity, price)

    def _slots_of(self, model_group: str, members: GroupMembers) -> NDArray[np.intp]:
        if members.generation != self._slots.generation:
            members.generation = self._slots.generation
            slots = np.array([self._acquire(model_group, name) for name in members.positions], np.intp)
            if not np.array_equal(slots, members.slots):
                members.slots = slots
        return members.slots


def _fits(width: int, groups: int, size: int) -> bool:
    """Check that groups of a width have at most ``size`` deployments together."""
    return width * groups <= size and groups <= BLOCK_GROUPS


def _column(
    places: Mapping[DeploymentKey, int], numbers: Mapping[DeploymentKey, float], otherwise: float
) -> NDArray[np.float64]:
    """Return one number per deployment, in the order of their positions."""
    given = np.array([numbers.get(name, otherwise) for name in places], np.float64)
    return np.where(given >= 0, given, otherwise)

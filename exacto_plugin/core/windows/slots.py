"""Allocation of window slots to deployments.

Maps each (model group, deployment) to an index into the window arrays, the slot. A slot is kept while its deployment
is served or sampled, and for the retention time after that, so that a deployment that returns within this time still
has its history.

Names that requests invent (under a wildcard, for instance) have a small table of their own, in which they take slots
from each other only: whoever may invent names cannot erase the history of a configured deployment.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cachetools import TTLCache

from exacto_plugin.core.model import DeploymentKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

Key = tuple[str, DeploymentKey]
"""Model group and deployment."""

NO_SLOT = 0
"""A slot that is never allocated; its windows stay empty."""

INVENTED = 1000
"""Largest number of slots of names that requests invented, and of such slots that
wait for erasure."""

_TOUCHES_PER_LIFE = 64
"""The lease of a slot is renewed at most this often per retention time, which
limits the cost of a sample."""


class _Leases(TTLCache[Key, int]):
    """TTL cache that records every entry it drops."""

    def __init__(self, capacity: int, ttl_s: float, timer: Callable[[], float], dropped: list[tuple[Key, int]]) -> None:
        super().__init__(capacity, ttl_s, timer)
        self._dropped = dropped

    def expire(self, time: float | None = None) -> list[tuple[Key, int]]:
        """Drop the leases that were not renewed within the retention time."""
        expired = list(super().expire(time))
        self._dropped.extend(expired)
        return expired

    def popitem(self) -> tuple[Key, int]:
        """Drop the slot that was used least recently."""
        item = super().popitem()
        self._dropped.append(item)
        return item


class SlotAllocator:
    """Allocator of a slot for each (model group, deployment).

    A slot is freed after the retention time without use.

    Args:
        capacity: largest number of configured deployments.
        ttl_s: retention time in seconds.
        timer: clock in seconds.
        invented: largest number of names that requests invented.
    """

    def __init__(self, capacity: int, ttl_s: float, timer: Callable[[], float], invented: int = INVENTED) -> None:
        self._timer = timer
        self._dropped: list[tuple[Key, int]] = []
        self._configured = _Leases(capacity, ttl_s, timer, self._dropped)
        self._invented = _Leases(invented, ttl_s, timer, self._dropped)
        self._slots: dict[Key, int] = {}
        self._groups: dict[str, dict[DeploymentKey, None]] = {}
        self._inventions: set[Key] = set()
        """The keys of ``_invented``, because asking a cache costs as much as the rest of a sample."""
        self._lost_groups: set[str] = set()
        self._touched: dict[Key, float] = {}
        self._touch_after_s = ttl_s / _TOUCHES_PER_LIFE
        self._free: list[int] = []
        self._pending_erase: list[int] = []
        self._end = NO_SLOT + 1
        self._expired = 0

    def __len__(self) -> int:
        """Return the number of deployments that have a slot."""
        return len(self._slots)

    def __iter__(self) -> Iterator[Key]:
        """Iterate over the deployments that have a slot."""
        return iter(tuple(self._slots))

    def __contains__(self, key: Key) -> bool:
        """Return whether a deployment has a slot."""
        return key in self._slots

    @property
    def groups(self) -> tuple[str, ...]:
        """Model groups with at least one slot."""
        return tuple(self._groups)

    def of(self, model_group: str) -> tuple[DeploymentKey, ...]:
        """Return the deployments of a model group that have a slot."""
        return tuple(self._groups.get(model_group, ()))

    def is_invented(self, key: Key) -> bool:
        """Return whether a deployment has a slot in the table of invented names."""
        return key in self._inventions

    @property
    def invented_left(self) -> int:
        """Number of slots that invented names can still get without taking one."""
        return int(self._invented.maxsize) - len(self._invented)

    def take_lost_groups(self) -> list[str]:
        """Return the invented model groups that lost their last slot since the last time."""
        lost, self._lost_groups = self._lost_groups, set()
        return [group for group in lost if group not in self._groups]

    @property
    def generation(self) -> tuple[int, float]:
        """A value that changes whenever slots must be acquired again.

        It changes when a slot was lost, and often enough that acquiring again renews all leases in time.
        """
        return self._expired, self._timer() // self._touch_after_s

    def acquire(self, key: Key, *, invented: bool = False) -> int:
        """Return the slot of a deployment, a new one if it has none.

        Renews the lease of the slot. When the capacity is used up, the slot that was used least recently is taken from
        its deployment: from an invented one for an invented one, else from a configured one.

        Args:
            key: model group and deployment.
            invented: True for a name that a request invented; False also moves an invented one to the configured ones.

        Returns:
            The slot; ``NO_SLOT`` for an invented name while too many slots of such names wait for erasure.
        """
        slot = self._slots.get(key)
        now = self._timer()
        moves = not invented and key in self._inventions
        # abs: after the clock went back, a renewal "in the future" must not stop further renewals.
        if slot is not None and not moves and abs(now - self._touched[key]) < self._touch_after_s:
            return slot
        if slot is None:
            if invented and not self.invented_left and len(self._pending_erase) >= self._invented.maxsize:
                return NO_SLOT
            slot = self._free.pop() if self._free else self._new_slot()
            self._groups.setdefault(key[0], {})[key[1]] = None
        if moves:
            with suppress(KeyError):  # expired at this moment
                del self._invented[key]
        self._slots[key] = slot
        self._touched[key] = now
        self._lease(key, slot, invented=invented)
        self._release()
        return slot

    def _lease(self, key: Key, slot: int, *, invented: bool) -> None:
        # What is configured stays so until its lease expires: an operator's removal is no reason to forget sooner.
        if invented and key not in self._configured:
            self._invented[key] = slot
            self._inventions.add(key)
        else:
            self._configured[key] = slot
            self._inventions.discard(key)

    def expire(self) -> tuple[int, ...]:
        """Expire leases that were not renewed, and return the slots to erase.

        All arrays indexed by slot must erase these slots before ``release``.
        """
        self._configured.expire()
        self._invented.expire()
        self._release()
        return tuple(self._pending_erase)

    def release(self, erased: Collection[int]) -> None:
        """Return erased slots to the free list.

        Until then the slots are not allocated, so that no deployment gets the counts of another one.
        """
        gone = set(erased)
        self._pending_erase = [slot for slot in self._pending_erase if slot not in gone]
        self._free.extend(erased)

    def _new_slot(self) -> int:
        self._end += 1
        return self._end - 1

    def _release(self) -> None:
        for key, slot in self._dropped:
            if self._slots.get(key) == slot:
                if key in self._configured or key in self._invented:  # expired and renewed in the same call
                    continue
                self._inventions.discard(key)
                del self._slots[key], self._touched[key], self._groups[key[0]][key[1]]
                if not self._groups[key[0]]:
                    del self._groups[key[0]]
                    self._lost_groups.add(key[0])
            self._pending_erase.append(slot)
            self._expired += 1
        self._dropped.clear()

"""Who is alive: which slot of the windows belongs to which deployment of which model group.

A slot is kept while its deployment is served or sampled, and for the retention time after that, so that a
deployment that goes and comes back finds its history. No statistics here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachetools import TTLCache

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

Key = tuple[str, str]
"""Model group and deployment."""

NO_SLOT = 0
"""A slot that is never given out; its windows stay empty."""

_TOUCHES_PER_LIFE = 64
"""A slot's life is extended at most this often per retention time, which keeps a sample's cost down."""


class _Leases(TTLCache[Key, int]):
    """A TTL cache that reports what it drops, whatever the occasion."""

    def __init__(self, capacity: int, ttl_s: float, timer: Callable[[], float], dropped: list[tuple[Key, int]]) -> None:
        super().__init__(capacity, ttl_s, timer)
        self._dropped = dropped

    def expire(self, time: float | None = None) -> list[tuple[Key, int]]:
        """Drop what has not been touched for the retention time."""
        expired = list(super().expire(time))
        self._dropped.extend(expired)
        return expired

    def popitem(self) -> tuple[Key, int]:
        """Drop the least recently touched slot to make room."""
        item = super().popitem()
        self._dropped.append(item)
        return item


class SlotAllocator:
    """Gives every (model group, deployment) a small number and takes it back when nothing is heard of it."""

    def __init__(self, capacity: int, ttl_s: float, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._dropped: list[tuple[Key, int]] = []
        self._leases = _Leases(capacity, ttl_s, timer, self._dropped)
        self._slots: dict[Key, int] = {}
        self._groups: dict[str, dict[str, None]] = {}
        self._touched: dict[Key, float] = {}
        self._touch_after_s = ttl_s / _TOUCHES_PER_LIFE
        self._free: list[int] = []
        self._pending_erase: list[int] = []
        self._end = NO_SLOT + 1
        self._expired = 0

    def __len__(self) -> int:
        """Deployments that have a slot."""
        return len(self._slots)

    def __iter__(self) -> Iterator[Key]:
        """Deployments that have a slot."""
        return iter(tuple(self._slots))

    @property
    def groups(self) -> tuple[str, ...]:
        """Model groups that a deployment has a slot in."""
        return tuple(self._groups)

    def of(self, model_group: str) -> tuple[str, ...]:
        """The deployments of a model group that have a slot."""
        return tuple(self._groups.get(model_group, ()))

    @property
    def generation(self) -> tuple[int, float]:
        """Changes whenever slots must be claimed anew: when one was lost, and often enough to keep all alive."""
        return self._expired, self._timer() // self._touch_after_s

    def acquire(self, key: Key) -> int:
        """The slot of a deployment, a new one if it has none; keeps it alive from now on.

        When the capacity is used up, the slot that was touched longest ago loses its deployment.
        """
        slot = self._slots.get(key)
        now = self._timer()
        # abs: after the clock went back, a touch "in the future" must not keep the lease from being renewed.
        if slot is not None and abs(now - self._touched[key]) < self._touch_after_s:
            return slot
        if slot is None:
            slot = self._free.pop() if self._free else self._new_slot()
            self._groups.setdefault(key[0], {})[key[1]] = None
        self._slots[key] = slot
        self._touched[key] = now
        self._leases[key] = slot
        self._release()
        return slot

    def expire(self) -> tuple[int, ...]:
        """Take back what was not touched in time; returns the slots to erase wherever they index."""
        self._leases.expire()
        self._release()
        return tuple(self._pending_erase)

    def release(self, erased: Collection[int]) -> None:
        """Let erased slots be given out again.

        Until then nobody has them, so that no deployment inherits numbers that are being read.
        """
        self._pending_erase = [slot for slot in self._pending_erase if slot not in set(erased)]
        self._free.extend(erased)

    def _new_slot(self) -> int:
        self._end += 1
        return self._end - 1

    def _release(self) -> None:
        for key, slot in self._dropped:
            if self._slots.get(key) == slot:
                if key in self._leases:  # expired and renewed in the same breath
                    continue
                del self._slots[key], self._touched[key], self._groups[key[0]][key[1]]
                if not self._groups[key[0]]:
                    del self._groups[key[0]]
            self._pending_erase.append(slot)
            self._expired += 1
        self._dropped.clear()

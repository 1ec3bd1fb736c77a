"""A mapping whose values are made when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

K = TypeVar("K")
V = TypeVar("V")


class LazyMapping(Mapping[K, V]):
    """Immutable mapping whose values are computed when they are first read."""

    __slots__ = ("_keys", "_make", "_values")

    def __init__(self, keys: Collection[K], make: Callable[[K], V], known: Mapping[K, V] | None = None) -> None:
        """Set the keys.

        Args:
            keys: in the order of iteration.
            make: computes a value.
            known: another one with equal values, of which those that were computed are taken over.
        """
        self._keys = keys
        self._make = make
        self._values: dict[K, V] = known._values if isinstance(known, LazyMapping) else {}

    def __getitem__(self, key: K) -> V:
        """Return the value of a key, or raise KeyError."""
        made = self._values.get(key)
        if made is None:
            if key not in self._keys:
                raise KeyError(key)
            # Two threads may both compute it, with equal results.
            made = self._values[key] = self._make(key)
        return made

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys in their given order."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._keys)

    def __repr__(self) -> str:
        """Return the representation of the dictionary of all values."""
        return repr(dict(self))

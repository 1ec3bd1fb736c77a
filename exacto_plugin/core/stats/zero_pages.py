"""Arrays of zeros that take memory only where they are written to.

Most counters and histogram cells never occur. ``numpy.zeros`` takes freed memory where there is some, and writes to all
of it; pages of a mapping of its own are not written to until something is stored in them.
"""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T", bound=np.integer)

_PART = 1024
"""Elements that are looked at together, to find those that are not 0."""


def zeros(shape: tuple[int, ...], kind: np.dtype[T]) -> NDArray[T]:
    """Return an array of zeros.

    >>> zeros((2, 3), np.dtype(np.uint8)).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    size = math.prod(shape) * kind.itemsize
    if not size or not hasattr(mmap, "MAP_ANONYMOUS"):  # as on Windows
        return np.zeros(shape, kind)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, kind).reshape(shape)


def widened(of: NDArray[np.integer], kind: np.dtype[T]) -> NDArray[T]:
    """Return a copy of an array of another type.

    >>> widened(np.array([[0, 7], [0, 0]], np.uint8), np.dtype(np.uint16)).tolist()
    [[0, 7], [0, 0]]
    """
    copy = zeros(of.shape, kind)
    parts, used = _used(of)
    _parts(copy)[used] = parts[used]
    return copy


def clear(of: NDArray[np.integer]) -> None:
    """Set all elements to 0."""
    parts, used = _used(of)
    parts[used] = 0


def _used(of: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.intp]]:
    """Return the parts of an array, and which of them have elements other than 0."""
    parts = _parts(of)
    # Counts are never negative, and the largest of many numbers is found sooner than any.
    return parts, np.flatnonzero(parts.max(axis=1, initial=0))


def _parts(of: NDArray[T]) -> NDArray[T]:
    """Return a view of an array as parts of equal length."""
    return of.reshape(-1, math.gcd(of.size, _PART) or 1)

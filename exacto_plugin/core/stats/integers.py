"""The narrowest integer type for counts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_LARGEST: np.dtype[np.integer] = np.dtype(np.int64)


@lru_cache(maxsize=16)
def largest_of(kind: np.dtype[np.integer]) -> int:
    """Return the largest number of a type; cached, since ``numpy.iinfo`` is slow."""
    return int(np.iinfo(kind).max)


def narrowest(most: int) -> np.dtype[np.integer]:
    """Return the narrowest type for counts up to ``most``.

    8, 16 or 32 bits unsigned, else int64; never uint64, because NumPy converts uint64 with int64 to floats.

    >>> [narrowest(most).name for most in (255, 256, 2**32)]
    ['uint8', 'uint16', 'int64']
    """
    found = np.min_scalar_type(most)
    return found if found.itemsize < _LARGEST.itemsize else _LARGEST

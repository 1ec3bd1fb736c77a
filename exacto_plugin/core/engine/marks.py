"""Marks on the slots whose inputs of a verdict changed.

A mark is a number that never falls, and so is the number under which a model group is judged. A group has to be judged
again while one of its slots has a mark from after its judgement. Nothing is ever cleared, so a recompute that is
abandoned halfway loses no mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class SlotMarks:
    """Latest mark of every slot.

    >>> marks = SlotMarks()
    >>> marks.resize(3)
    >>> judged = marks.next()
    >>> marks.mark(np.array([2]))
    >>> marks.newest(np.array([0, 1])) < judged, marks.newest(np.array([1, 2])) < judged
    (True, False)
    """

    __slots__ = ("_latest", "_marks")

    def __init__(self) -> None:
        self._marks: NDArray[np.int64] = np.zeros(0, np.int64)
        self._latest = 0

    def resize(self, slots: int) -> None:
        """Resize to slots below ``slots``; new ones are marked."""
        self._marks = np.append(self._marks, np.full(max(0, slots - len(self._marks)), self._latest))

    def mark(self, slots: NDArray[np.intp] | Sequence[int]) -> None:
        """Mark some slots."""
        self._marks[slots] = self._latest

    def next(self) -> int:
        """Return a number above all marks so far, and at most those of the future."""
        self._latest += 1
        return self._latest

    def newest(self, slots: NDArray[np.intp]) -> int:
        """Return the newest mark of some slots."""
        return int(self._marks[slots].max(initial=0))

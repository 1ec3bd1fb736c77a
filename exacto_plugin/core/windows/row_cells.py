"""Cells of single rows of a window block, for dumps.

A key of a ring runs over the rows first; in a dump it is without the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.windows.counter_ring import SparseCounts
from exacto_plugin.core.windows.minute_buffer import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping


def cells_of_row(cells: SparseCounts, row: int) -> SparseCounts:
    """Select the cells of one row; the keys are without the row."""
    here = cells.keys % ROWS == row
    return SparseCounts(cells.periods[here], cells.keys[here] // ROWS, cells.counts[here])


def cells_for_row(cells: Mapping[int, SparseCounts | None]) -> SparseCounts:
    """Join the cells of some rows; the keys are with the row."""
    found = [(row, one) for row, one in cells.items() if one is not None]
    keys = [one.keys * ROWS + row for row, one in found]
    nothing = np.zeros(0, np.int64)
    return SparseCounts(
        np.concatenate([nothing, *(one.periods for _, one in found)]),
        np.concatenate([nothing, *keys]),
        np.concatenate([nothing, *(one.counts for _, one in found)]),
    )

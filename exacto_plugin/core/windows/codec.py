"""Dump of the windows of one deployment, and its encoding as bytes.

The bytes can be read by versions with more or fewer counters, cells and rings: each is stored with its number or
width, and unknown ones are ignored. Does no window arithmetic.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.windows.counter_ring import MOST, SparseCounts
from exacto_plugin.core.windows.increments import CounterKind, HistogramKind
from exacto_plugin.core.windows.minute_buffer import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
"""First byte of an encoded dump; raised when older versions could misread it."""

_LEVEL = 1
"""Compression level of zlib; a higher one takes three times as long and saves a
tenth of the size."""


class WindowDumpError(ValueError):
    """Error for bytes that ``encode`` did not write."""


class WindowDump(NamedTuple):
    """The windows of one deployment."""

    seen: bool
    """True when the rings have held at least one sample."""
    counters: Mapping[int, SparseCounts]
    """By seconds per bucket; the keys are numbers of ``CounterKind``."""
    cells: Mapping[int, SparseCounts]
    """By seconds per bucket; the keys are ``kind * BINS + bin``."""
    minutes: Mapping[int, tuple[Mapping[int, int], Mapping[int, int]]]
    """Counts and cells that are not yet in the rings, by minute."""


def encode(held: WindowDump) -> bytes:
    """Encode a dump; equal dumps have equal bytes."""
    plain = {
        "seen": held.seen,
        "counters": [[width_s, *_sorted_lists(cells)] for width_s, cells in held.counters.items()],
        "cells": [[width_s, *_sorted_lists(cells)] for width_s, cells in held.cells.items()],
        "pages": [
            [minute, *(sorted(part.items()) for part in parts)] for minute, parts in sorted(held.minutes.items())
        ],
    }
    return bytes([VERSION]) + zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), _LEVEL)


def decode(packed: bytes) -> WindowDump:
    """Decode the dump that ``encode`` wrote.

    Counters and cells that this version does not know are left out.

    Raises:
        WindowDumpError: the bytes are damaged, or of an incompatible version.
    """
    if packed[:1] != bytes([VERSION]):
        raise WindowDumpError(f"of version {packed[:1].hex() or 'none'}, expected {VERSION:02x}")
    try:
        plain = json.loads(zlib.decompress(packed[1:]))
        return WindowDump(
            bool(plain["seen"]),
            {int(width_s): _cells(lists, len(CounterKind)) for width_s, *lists in plain["counters"]},
            {int(width_s): _cells(lists, len(HistogramKind) * BINS) for width_s, *lists in plain["cells"]},
            {
                int(minute): (_known(counts, len(CounterKind)), _known(cells, len(HistogramKind) * BINS))
                for minute, counts, cells in plain["pages"]
            },
        )
    except (zlib.error, KeyError, TypeError, ValueError, OverflowError) as error:
        raise WindowDumpError(f"damaged: {type(error).__name__}") from None


def _sorted_lists(cells: SparseCounts) -> list[list[int]]:
    order = np.lexsort((cells.periods, cells.keys))
    # Differences are small numbers, which compress to a third.
    return [np.diff(cells.periods[order], prepend=0).tolist(), cells.keys[order].tolist(), cells.counts[order].tolist()]


def _cells(lists: list[Any], known: int) -> SparseCounts:
    periods, keys, counts = (np.array(one, np.int64) for one in lists)
    periods = np.cumsum(periods)
    if not len(periods) == len(keys) == len(counts) or min(keys.min(initial=0), counts.min(initial=0)) < 0:
        raise ValueError("lists of different lengths or negative numbers")
    if counts.max(initial=0) > MOST:
        raise ValueError("more than can have happened")
    here = keys < known
    return SparseCounts(periods[here], keys[here], counts[here])


def _known(pairs: list[list[int]], known: int) -> dict[int, int]:
    found = {int(key): int(count) for key, count in pairs}
    if min([*found, *found.values()], default=0) < 0 or max(found.values(), default=0) > MOST:
        raise ValueError("negative numbers, or more than can have happened")
    return {key: count for key, count in found.items() if key < known}


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

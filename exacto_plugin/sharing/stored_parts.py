"""Decoding of an exchange's stored data, without parts of other versions.

A newer version may have written some of it. Does no I/O.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from exacto_plugin.sharing.codec import unpack_batch, unpack_windows
from exacto_plugin.sharing.protocol import Batch, Pulled, State, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

BATCH_LIMIT = 200
"""Batches per read."""

GROUP_LIMIT = 20
"""Model groups of a state per read or write."""

Windows = list[tuple[str, "Mapping[str, bytes]"]]
"""Model group and its dumped windows, by deployment."""


async def decode_batches(rows: Sequence[tuple[int, str | bytes]], position: int) -> Pulled:
    """Decode batches by position; those that cannot be read are left out.

    Other tasks run in between.

    Args:
        rows: position and payload, in order, at most ``BATCH_LIMIT``.
        position: to continue from when nothing was found.
    """
    batches: list[Batch] = []
    for place, payload in rows:
        position = place + 1
        with suppress(UnreadableError):
            batches.append(unpack_batch(payload))
        await asyncio.sleep(0)
    return Pulled(batches, position, len(rows) == BATCH_LIMIT)


def decode_windows(rows: Iterable[tuple[str, str | bytes | None]]) -> Windows:
    """Decode the windows of some model groups, without missing or unreadable ones."""
    windows: Windows = []
    for model_group, payload in rows:
        with suppress(UnreadableError):
            windows.append((model_group, unpack_windows(payload or "")))
    return windows


def decode_state(plain: Any, windows: Windows) -> State:
    """Decode a saved state.

    Args:
        plain: the data saved beside the windows.
        windows: of each model group.

    Raises:
        UnreadableError: ``plain`` is something else.
    """
    try:
        return State(int(plain["position"]), plain["read"], plain["remembered"], windows)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError("the saved state cannot be read") from error

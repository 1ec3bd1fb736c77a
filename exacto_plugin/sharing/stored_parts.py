"""What lies in an exchange, as far as this version can read it: a newer one may have left it there.

Must not know where it lies.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from exacto_plugin.sharing.codec import unpack_batch, unpack_windows
from exacto_plugin.sharing.protocol import Batch, Pulled, State, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PAGE = 200
"""Batches that are read at once."""

STATE_PAGE = 20
"""Model groups of a state that are written or read at once."""

Windows = list[tuple[str, "Mapping[str, bytes]"]]
"""Model group and its dumped windows, by deployment."""


async def pulled(found: Sequence[tuple[int, str | bytes]], position: int) -> Pulled:
    """Batches by their places, without those that cannot be read; others may run in between.

    Args:
        found: place and payload, in order, at most ``PAGE``.
        position: where to read on when nothing was found.
    """
    batches: list[Batch] = []
    for place, payload in found:
        position = place + 1
        with suppress(UnreadableError):
            batches.append(unpack_batch(payload))
        await asyncio.sleep(0)
    return Pulled(batches, position, len(found) == PAGE)


def windows_of(found: Iterable[tuple[str, str | bytes | None]]) -> Windows:
    """The windows of some model groups, without those that are gone or cannot be read."""
    windows: Windows = []
    for model_group, payload in found:
        with suppress(UnreadableError):
            windows.append((model_group, unpack_windows(payload or "")))
    return windows


def state_of(plain: Any, windows: Windows) -> State:
    """A saved state.

    Args:
        plain: what was saved beside the windows.
        windows: of each model group.

    Raises:
        UnreadableError: ``plain`` is something else.
    """
    try:
        return State(int(plain["position"]), plain["read"], plain["remembered"], windows)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError("the saved state cannot be read") from error

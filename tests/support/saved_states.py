"""Saves that go wrong: one that breaks, and two leaders that save at the same time."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.sharing.protocol import LostLeaseError, State
from exacto_plugin.sharing.stored_parts import GROUP_LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from exacto_plugin.sharing.protocol import Exchange, Lease

Page = list[tuple[str, dict[str, bytes]]]

_WAIT_S = 20.0


def page(content: bytes, first: str) -> Page:
    """As many model groups as are written at once, ``first`` being one of them."""
    return [(first, {"a": content}), *((f"{first}{number}", {"a": content}) for number in range(1, GROUP_LIMIT))]


async def broken_save(exchange: Exchange, lease: Lease) -> None:
    """A save that ends with an error after more groups than are written at once."""

    def broken() -> Iterator[tuple[str, dict[str, bytes]]]:
        yield from ((f"g{number}", {"a": b"2"}) for number in range(GROUP_LIMIT + 10))
        raise KeyError("ended here")

    with pytest.raises(KeyError):
        await exchange.save(lease, State(2, {}, {}, broken()))


async def save_across(one: Exchange, old: Lease, two: Exchange, lead: Callable[[], Awaitable[Lease]]) -> None:
    """``one`` begins to save and its lease ends; ``two`` leads and saves one group, while ``one`` writes another page
    with that group in it; ``one`` is refused in the end.
    """
    began, other_began, wrote, other_ended = Event(), Event(), Event(), Event()

    def slow() -> Iterator[tuple[str, dict[str, bytes]]]:
        yield from page(b"old", "h")
        began.set()
        assert other_began.wait(_WAIT_S)
        yield from page(b"old", "g")
        wrote.set()  # asked for more: both pages lie there
        assert other_ended.wait(_WAIT_S)

    def quick() -> Iterator[tuple[str, dict[str, bytes]]]:
        other_began.set()
        assert wrote.wait(_WAIT_S)
        yield "g", {"a": b"new"}

    late = asyncio.create_task(one.save(old, State(1, {}, {}, slow())))
    assert await asyncio.to_thread(began.wait, _WAIT_S)
    await two.save(await lead(), State(2, {}, {}, quick()))
    other_ended.set()
    with pytest.raises(LostLeaseError):
        await late


async def save_within(one: Exchange, old: Lease, two: Exchange, new: Lease) -> Page:
    """``one`` begins and ends, under the lease before, while ``two`` has written a part; returns what ``two`` saves."""
    loop = asyncio.get_running_loop()
    whole = page(b"new", "g") + page(b"new", "h")

    def interrupted() -> Iterator[tuple[str, dict[str, bytes]]]:
        yield from whole[:GROUP_LIMIT]
        late = asyncio.run_coroutine_threadsafe(one.save(old, State(1, {}, {}, page(b"old", "g"))), loop)
        with pytest.raises(LostLeaseError):
            late.result(_WAIT_S)
        yield from whole[GROUP_LIMIT:]

    await two.save(new, State(2, {}, {}, interrupted()))
    return whole

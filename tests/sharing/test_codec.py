"""What a newer version left in an exchange does not stop a leader: it goes on with what can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from exacto_plugin.core.windows.counter_ring import MOST
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.codec import pack, pack_windows
from exacto_plugin.sharing.protocol import Batch, Claim, State, UnreadableError
from exacto_plugin.sharing.stored_parts import pulled, state_of, windows_of
from exacto_plugin.store import tables
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WINDOWS = {"a": b"1"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of one process."""
    made = Store(location_of_url(f"sqlite:///{tmp_path / 'r.sqlite'}"))
    yield made
    made.close()


def test_windows_that_cannot_be_read_are_left_out() -> None:
    """So are those that went in between; all others stay."""
    found = [("g", pack_windows(WINDOWS)), ("gone", None), ("newer", pack(["x"])), ("broken", "x")]
    assert windows_of(found) == [("g", WINDOWS)]


@pytest.mark.parametrize("count", [-1, 1.5, None, "7", MOST + 1, 2**64 - 1])
async def test_batches_of_what_cannot_have_happened_are_left_out(count: object) -> None:
    """A leader counts all others, where an error would have it read the same batch again and again."""
    good = {"worker": "w", "sequence": 1, "names": ["g", "a"], "rows": [[0, 1, 7, [3, MOST], [700, 2]]]}
    found = [good, *({**good, "rows": [[0, 1, 7, *bad]]} for bad in ([[3, count], []], [[], [700, count]]))]
    read = await pulled([(place, pack(batch)) for place, batch in enumerate(found)], 0)
    assert (read.position, read.batches) == (3, [Batch("w", 1, [Delta("g", "a", 7, {3: MOST}, {700: 2})])])


@pytest.mark.parametrize("plain", [None, [], {}, {"position": "x", "read": {}, "remembered": {}}])
def test_a_state_of_another_kind_is_one_that_cannot_be_read(plain: Any) -> None:
    """Which tells a leader to begin with nothing, where any other error would have it wait."""
    with pytest.raises(UnreadableError):
        state_of(plain, [])


async def test_a_store_is_read_as_far_as_it_can_be(store: Store) -> None:
    """One model group, and then all of the state, are what only a newer version can read."""
    exchange = StoreExchange(store, 0.05)
    lease = await exchange.claim(Claim("w", is_prepared=True))
    assert lease is not None
    await exchange.save(lease, State(7, {}, {}, [("g", WINDOWS), ("h", WINDOWS)]))
    other = update(tables.windows).where(tables.windows.c.model_group == "h").values(payload=pack(["newer"]))
    await store.work(lambda connection: connection.execute(other))
    state = await exchange.load()
    assert state is not None
    assert (state.position, list(state.windows)) == (7, [("g", WINDOWS)])
    await store.work(lambda connection: connection.execute(update(tables.documents).values(payload=pack(["newer"]))))
    with pytest.raises(UnreadableError):
        await exchange.load()

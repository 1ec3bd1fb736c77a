"""What is particular to the exchange in a database: which rows a save writes, and a database that is not writable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exacto_plugin.sharing.protocol import Claim, ExchangeError, Push, State
from exacto_plugin.store import tables
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.location import StoreLocation, location_of_url
from exacto_plugin.store.store import Store
from tests.support.exchange_backends import PUSH_S, StoreBackend, lead, renewed
from tests.support.saved_states import broken_save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def backend(lasting_place: StoreLocation) -> AsyncIterator[StoreBackend]:
    """Exchanges in an empty database."""
    made = StoreBackend(lasting_place)
    yield made
    await made.aclose()


async def test_a_save_writes_what_changed(backend: StoreBackend) -> None:
    """Unchanged groups keep their rows, new and changed ones replace them, gone ones go; also those of others."""
    one, two = backend(), backend()
    lease = await lead(one, "one")

    async def saves() -> dict[str, str]:
        found = await backend.stores[0].read(lambda step: step.execute(tables.windows.select()).all())
        assert all(row.live for row in found)
        return {row.model_group: row.save for row in found}

    await one.save(lease, State(1, {}, {}, [("g", {"a": b"1"}), ("h", {"a": b"1"}), ("gone", {})]))
    first = await saves()
    lease = await renewed(one, "one", lease)
    await one.save(lease, State(2, {}, {}, [("g", {"a": b"1"}), ("h", {"a": b"2"}), ("new", {})]))
    second = await saves()
    assert second.keys() == {"g", "h", "new"}
    assert second["g"] == first["g"]
    assert second["h"] != first["h"]
    # Another leader in between: the rows are no longer those of the last save of this process.
    await one.aclose()
    other = await two.claim(Claim("two"))
    assert other is not None
    await two.save(other, State(3, {}, {}, [("g", {"a": b"other"})]))
    await two.aclose()
    lease = await renewed(one, "one", lease)
    await one.save(lease, State(4, {}, {}, [("g", {"a": b"1"})]))
    found = await two.load()
    assert found is not None
    assert list(found.windows) == [("g", {"a": b"1"})]


async def test_a_crashed_save_leaves_nothing_to_the_next_under_the_same_renewal(backend: StoreBackend) -> None:
    """Each save has a name of its own, so that it may follow without another claim."""
    exchange = backend()
    lease = await lead(exchange)
    await exchange.save(lease, State(1, {}, {}, [("g", {"a": b"1"})]))
    await broken_save(exchange, lease)
    found = await exchange.load()
    assert found is not None
    assert (found.position, list(found.windows)) == (1, [("g", {"a": b"1"})])
    await exchange.save(lease, State(3, {}, {}, [("g", {"a": b"3"})]))
    found = await exchange.load()
    assert found is not None
    assert (found.position, list(found.windows)) == (3, [("g", {"a": b"3"})])


async def test_a_database_that_is_not_writable_is_an_error_of_the_exchange(tmp_path: Path) -> None:
    """A replica meets one kind of error, whatever the cause."""
    (tmp_path / "file").touch()
    faults: list[Exception] = []
    store = Store(location_of_url(f"sqlite:///{tmp_path / 'file' / 'r.sqlite'}"), report=faults.append)
    with pytest.raises(ExchangeError, match="is not writable"):
        await StoreExchange(store, PUSH_S).push(Push("w", 0))
    store.close()

"""What was told, shared: in a store, in a Redis, and in both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from exacto_plugin.errors import StoreError
from exacto_plugin.sharing.alert_states import AlertClaim, AlertState, with_local
from exacto_plugin.sharing.protocol import ExchangeError
from exacto_plugin.sharing.redis.alert_states import RedisAlertStates
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.store.alert_states import claim
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.support.postgresql_server import Cluster
    from tests.support.redis_server import RedisServer

    Claiming = Callable[[Mapping[str, AlertState]], Awaitable[AlertClaim]]

NOW = 1_700_000_000.25


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
async def claiming(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Claiming]:
    """Claims on an empty place of each kind."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("server")
        with server.client() as client:
            client.flushall()
        connection: Any = redis.asyncio.Redis(port=server.port)
        yield RedisAlertStates(RedisConnection(lambda: connection, "{test}:1:", owned=True)).claim
        await connection.aclose()
        return
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    else:
        running: Cluster = request.getfixturevalue("postgresql")
        url = running.fresh()
    store = Store(location_of_url(url))
    yield lambda states: store.work(lambda connection: claim(connection, states))
    store.close()


def bad(at: float = NOW, state: str = "bad") -> AlertState:
    """A state that is told."""
    return AlertState(state, at, is_normal=False)


def good(at: float = NOW) -> AlertState:
    """A state that is not."""
    return AlertState("good", at, is_normal=True)


async def test_one_change_is_claimed_once(claiming: Claiming) -> None:
    """The second process with the same change gets nothing; the next change has the state before."""
    assert await claiming({"tier/g/a b": bad()}) == AlertClaim({"tier/g/a b": None}, frozenset())
    assert await claiming({"tier/g/a b": bad(NOW + 9)}) == AlertClaim({}, frozenset())
    assert await claiming({"tier/g/a b": good(NOW + 10)}) == AlertClaim({"tier/g/a b": "bad"}, frozenset())
    assert await claiming({"tier/g/a b": bad(NOW + 20, "worse")}) == AlertClaim({"tier/g/a b": "good"}, frozenset())


async def test_an_older_state_changes_nothing(claiming: Claiming) -> None:
    """A process that was delayed does not take back what a newer one told."""
    await claiming({"a": bad()})
    assert await claiming({"a": good(NOW - 1), "b": bad(NOW - 1)}) == AlertClaim({"b": None}, frozenset({"a"}))
    assert await claiming({"a": good()}) == AlertClaim({"a": "bad"}, frozenset())


async def test_many_states(claiming: Claiming) -> None:
    """Normal states take no room until another one was kept; more than one query can hold works."""
    many = {f"tier/g/{number}": good() for number in range(503)}
    assert await claiming(many) == AlertClaim({}, frozenset())
    changed = await claiming({name: bad() for name in many})
    assert dict(changed.changed) == dict.fromkeys(many)
    assert len((await claiming({name: good(NOW + 1) for name in many})).changed) == 503


def test_an_emptied_redis_tells_nothing_again() -> None:
    """The store of this machine knows what was told; where both know, the Redis does for all machines."""

    def joined(shared: Mapping[str, str | None], local: Mapping[str, str | None]) -> Mapping[str, str | None]:
        return with_local(AlertClaim(shared, frozenset()), AlertClaim(local, frozenset())).changed

    assert joined({"a": None}, {}) == {}
    assert joined({"a": None}, {"a": "good"}) == {"a": "good"}
    assert joined({"a": None}, {"a": None}) == {"a": None}
    assert joined({"a": "bad"}, {}) == {"a": "bad"}
    assert joined({}, {"a": "bad"}) == {}


async def test_no_answer() -> None:
    """Without Redis, or without a store, the claim fails."""
    connection: Any = redis.asyncio.Redis(port=1)
    states = RedisAlertStates(RedisConnection(lambda: connection, "{test}:1:", owned=True))
    with pytest.raises(ExchangeError):
        await states.claim({"a": bad()})
    await connection.aclose()
    with pytest.raises(StoreError):
        await Store(None).work(lambda found: claim(found, {"a": bad()}))

"""The backends that an exchange is tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exacto_plugin.store.location import location_of_url
from tests.support import redis_server
from tests.support.exchange_backends import RedisBackend, StoreBackend
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.exchange_backends import ExchangeBackend
    from tests.support.postgresql_server import Cluster


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server that the tests of a module share; skipped where there is no program for it."""
    if (reason := redis_server.missing()) is not None:
        pytest.skip(reason)
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["redis", "sqlite", "postgresql"])
async def exchanges(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ExchangeBackend]:
    """Exchanges on an empty backend of each kind."""
    backend: ExchangeBackend
    if request.param == "redis":
        backend = RedisBackend(request.getfixturevalue("server"))
    elif request.param == "sqlite":
        backend = StoreBackend(location_of_url(f"sqlite:///{tmp_path / 'records.sqlite'}"))
    else:
        running: Cluster = request.getfixturevalue("postgresql")
        backend = StoreBackend(location_of_url(running.fresh()))
    yield backend
    await backend.aclose()

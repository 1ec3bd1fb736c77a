"""Checks of the store, Redis and packages that a configuration relies on."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.errors import StoreError
from exacto_plugin.store.database import connect, problem_of
from exacto_plugin.store.location import default_location, location_of_url

if TYPE_CHECKING:
    from exacto_plugin.config.settings import Settings
    from exacto_plugin.config.storage import RedisSettings
    from exacto_plugin.store.location import StoreLocation

_ANSWER_S = 3.0
"""Seconds that Redis may take to answer."""


def store_of(settings: Settings, config_file: Path) -> StoreLocation:
    """Return the store that a proxy with this configuration keeps.

    Raises:
        SettingsError: ``store.url`` is none of a store; it stops the start.
    """
    if settings.store.url is not None:
        return location_of_url(settings.store.url.get_secret_value())
    return default_location(str(config_file), os.environ)


def service_problems(settings: Settings, store: StoreLocation, *, connecting: bool) -> list[str]:
    """Return what is missing or does not answer, one line each.

    Args:
        settings: of the configuration.
        store: from ``store_of``.
        connecting: True to connect to a database server and to Redis.
    """
    return [
        *_engine(settings),
        *_directory("store.outcomes", settings.store.outcomes),
        *(_store(store) if connecting or store.is_sqlite else ()),
        *_redis(settings.redis, connecting=connecting),
    ]


def _engine(settings: Settings) -> list[str]:
    try:
        Evaluator(settings.scoring.engine, settings.empty_arguments)
    except ImportError:
        return [f"scoring.engine: {settings.scoring.engine} is not installed; auto takes what there is"]
    return []


def _directory(name: str, path: str | Path | None) -> list[str]:
    """Check that a directory can be written to, or made."""
    if path is None:
        return []
    nearest = Path(path).absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return [] if writable else [f"{name}: {path} cannot be written to by this user"]


def _store(store: StoreLocation) -> list[str]:
    if not store.is_persistent:
        return []
    if store.file is not None and not store.file.exists():
        return _directory("store.url", store.file.parent)
    try:
        connect(store, writing=False).close()
    except (SQLAlchemyError, StoreError, OSError) as error:
        found = problem_of(error, store)
        return [f"store.url: {found.message}; {found.remedy}"]
    if store.file is not None and not os.access(store.file, os.W_OK):
        return [f"store.url: {store.name} cannot be written to by this user"]
    return []


def _redis(settings: RedisSettings, *, connecting: bool) -> list[str]:
    """Check the Redis; messages do not repeat the address, which may hold a password."""
    if not settings.enabled or settings.url is None:
        return []
    if find_spec("redis") is None:
        return ["redis.url: the package redis is not installed (pip install redis), so nothing is shared"]
    if not connecting:
        return []
    from redis import Redis, RedisError

    try:
        with Redis.from_url(
            settings.url.get_secret_value(), socket_connect_timeout=_ANSWER_S, socket_timeout=_ANSWER_S
        ) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return [f"redis.url: no answer from this Redis ({type(error).__name__}), so every worker judges by itself"]
    return []

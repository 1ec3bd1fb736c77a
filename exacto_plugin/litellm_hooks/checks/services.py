"""Checks of the store, Redis and packages that a configuration relies on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.config.settings import BLOCK
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.errors import StoreError
from exacto_plugin.store.database import connect, problem_of
from exacto_plugin.store.location import default_location, location_of_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.config.storage import RedisSettings
    from exacto_plugin.store.location import StoreLocation

_CALLBACK_LISTS: Final = ("callbacks", "success_callback")
"""The lists of ``litellm_settings`` whose callbacks LiteLLM loads when it starts."""

_EXPORTERS: Final = {
    "otlp_http": "http", "http/protobuf": "http", "http/json": "http", "otlp_grpc": "grpc", "grpc": "grpc",
}  # fmt: skip
"""LiteLLM's names of OpenTelemetry's exporters with a package of their own."""

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
        *_directory(f"{BLOCK}.store.outcomes", settings.store.outcomes),
        *(_store(store) if connecting or store.is_sqlite else ()),
        *_redis(settings.redis, connecting=connecting),
    ]


def callback_package_problems(config: Mapping[str, object]) -> list[str]:
    """Return the packages that callbacks for metrics need and that are missing.

    LiteLLM does not start with its callback ``prometheus`` and without the package; without those of OpenTelemetry it
    starts, and exports nothing.
    """
    section = config.get("litellm_settings")
    lists = [section.get(name) for name in _CALLBACK_LISTS] if isinstance(section, Mapping) else []
    named = {str(name) for one in lists for name in (one if isinstance(one, list) else [one])}
    where = "litellm_settings.callbacks"
    problems = []
    if "prometheus" in named and not _is_installed("prometheus_client"):
        problems.append(
            f"{where}: prometheus needs the package prometheus_client, without which the proxy does not start: "
            "pip install prometheus_client"
        )
    missing = [package for module, package in _otel_packages() if not _is_installed(module)] if "otel" in named else []
    if missing:
        packages = " ".join(missing)
        problems.append(f"{where}: otel exports nothing without {' and '.join(missing)}: pip install {packages}")
    return problems


def _otel_packages() -> Iterator[tuple[str, str]]:
    """Yield module and package that LiteLLM's OpenTelemetry imports here."""
    yield "opentelemetry.sdk", "opentelemetry-sdk"
    named = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", os.environ.get("OTEL_EXPORTER", "console"))
    if named == "console" and os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", os.environ.get("OTEL_ENDPOINT")):
        named = "otlp_http"  # as LiteLLM does
    if kind := _EXPORTERS.get(named):
        yield f"opentelemetry.exporter.otlp.proto.{kind}", f"opentelemetry-exporter-otlp-proto-{kind}"


def _is_installed(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:  # also of a package that is there, and cannot be imported
        return False
    return True


def _engine(settings: Settings) -> list[str]:
    try:
        Evaluator(settings.scoring.engine, settings.empty_arguments)
    except ImportError:
        return [f"{BLOCK}.scoring.engine: {settings.scoring.engine} is not installed; auto takes what there is"]
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
        return _directory(f"{BLOCK}.store.url", store.file.parent)
    try:
        connect(store, writing=False).close()
    except (SQLAlchemyError, StoreError, OSError) as error:
        found = problem_of(error, store)
        return [f"{BLOCK}.store.url: {found.message}; {found.remedy}"]
    if store.file is not None and not os.access(store.file, os.W_OK):
        return [f"{BLOCK}.store.url: {store.name} cannot be written to by this user"]
    return []


def _redis(settings: RedisSettings, *, connecting: bool) -> list[str]:
    """Check the Redis; messages do not repeat the address, which may hold a password."""
    if not settings.enabled or settings.url is None:
        return []
    if not _is_installed("redis"):
        return [f"{BLOCK}.redis.url: the package redis is not installed (pip install redis), so nothing is shared"]
    if not connecting:
        return []
    from redis import Redis, RedisError

    try:
        with Redis.from_url(
            settings.url.get_secret_value(), socket_connect_timeout=_ANSWER_S, socket_timeout=_ANSWER_S
        ) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return [
            f"{BLOCK}.redis.url: no answer from this Redis ({type(error).__name__}), so every worker judges by itself; "
            "check the server, and the address and password"
        ]
    return []

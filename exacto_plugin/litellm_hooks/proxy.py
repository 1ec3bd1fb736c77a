"""Connection of the plugin to LiteLLM's proxy, made at the callback's import.

A process has one callback.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm

from exacto_plugin._version import __version__
from exacto_plugin.config.sources import find_settings, read_config
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.callback_order import move_before_affinity
from exacto_plugin.litellm_hooks.features import litellm_version
from exacto_plugin.litellm_hooks.http.auth_check import AuthenticatedRequestCheck
from exacto_plugin.litellm_hooks.http.middleware import attach
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.proxy_settings import proxy_settings
from exacto_plugin.litellm_hooks.request.caller_config import caller_problems
from exacto_plugin.litellm_hooks.request.key_aliases import KeyAliases
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.runtime.shutdown import shut_down_with
from exacto_plugin.store.location import default_location, location_of_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import ModuleType

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.store.location import StoreLocation

logger = logging.getLogger("exacto_plugin")

_PROXY_MODULE = "litellm.proxy.proxy_server"


@cache
def proxy_callback() -> ExactoCallback:
    """Return the callback of this process.

    When LiteLLM's proxy is being started, the callback is attached to it.

    Raises:
        SettingsError: the configuration is invalid; LiteLLM's start stops with the message.
    """
    server = sys.modules.get(_PROXY_MODULE)
    config = _proxy_config(server)
    settings = find_settings(config, os.environ)
    callback = ExactoCallback(Runtime(settings, reload_settings=proxy_settings(server, os.environ)))
    features = callback.runtime.features
    install_patches(callback)
    if server is not None:
        from exacto_plugin.web.api import api_router

        callback.runtime.set_router_source(lambda: server.llm_router)
        callback.runtime.open_store(_place(settings, server))
        callback.runtime.open_sample_log()
        how = attach(server.app, callback.runtime, lambda: server.llm_router)
        server.app.include_router(api_router(callback.runtime))
        server.app.openapi_schema = None
        callback.runtime.ensure_started()
        features.lose(shut_down_with(server, callback.runtime))
        names = KeyAliases(callback.faults, lambda: server)
        features.lose(
            router_patches.install_names(AuthenticatedRequestCheck(callback.runtime, callback.routing, names).take)
        )
        nothing: list[str] = []
        for problem in callback.faults.guard("caller_metadata", lambda: caller_problems(config or {}), nothing):
            logger.warning("exacto_plugin: %s", problem)
        # LiteLLM shows no INFO lines of other loggers, and operators need this one line.
        sys.stderr.write(f"{_start_line(callback.runtime, how)}\n")
    for warning in features.warnings():
        logger.warning(warning)
    return callback


def _start_line(runtime: Runtime, how: str) -> str:
    settings = runtime.settings
    return (
        f"exacto_plugin {__version__} is on: LiteLLM {litellm_version()}, middleware {how}, "
        f"mode {settings.mode}, default_sort {settings.default_sort}, preset {settings.tiers.preset}, "
        f"store {runtime.store.health.place}, {runtime.features.line()}"
    )


def _place(settings: Settings, server: ModuleType) -> StoreLocation:
    """Return the location of this proxy's store."""
    if settings.store.url is not None:
        return location_of_url(settings.store.url.get_secret_value())
    config = server.user_config_file_path or os.environ.get("CONFIG_FILE_PATH")
    place = default_location(config, os.environ)
    if not place.is_persistent:
        logger.warning(
            "exacto_plugin found no writable directory: records are kept in memory and are lost at the end of the"
            " process; set store.url, or XDG_STATE_HOME to a persistent directory"
        )
    return place


def _proxy_config(server: ModuleType | None) -> Mapping[str, object] | None:
    """Return LiteLLM's parsed configuration.

    Before LiteLLM has read it (own ASGI entry) the file is read that LiteLLM is going to read.
    """
    config: Mapping[str, object] = server.proxy_config.get_config_state() if server is not None else {}
    path = os.environ.get("CONFIG_FILE_PATH")
    if not config and server is not None and path:
        return read_config(Path(path))
    return config or None


def proxy_app() -> Any:
    """Return LiteLLM's ASGI application with the middleware added before its start.

    ``CONFIG_FILE_PATH`` names the configuration. Works with and without the entry under ``litellm_settings.callbacks``.
    """
    from litellm.proxy import proxy_server

    callback = proxy_callback()
    startup = proxy_server.app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with startup(app) as state:
            callback.runtime.ensure_started()
            if callback not in litellm.callbacks:
                litellm.logging_callback_manager.add_litellm_callback(callback)
            callback.faults.guard("callback_order", lambda: move_before_affinity(callback), None)
            yield state

    proxy_server.app.router.lifespan_context = lifespan
    return proxy_server.app

"""Connection of the plugin to LiteLLM's proxy, made at the callback's import.

A process has one callback.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import asynccontextmanager
from datetime import UTC
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm

from exacto_plugin._version import __version__
from exacto_plugin.config.sources import find_settings, read_config
from exacto_plugin.errors import ExactoError, SettingsError
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.callback_order import put_in_order
from exacto_plugin.litellm_hooks.checks.live import live_problems
from exacto_plugin.litellm_hooks.checks.start import shorten_traceback, warn_of_problems
from exacto_plugin.litellm_hooks.features import litellm_version
from exacto_plugin.litellm_hooks.http.auth_check import AuthenticatedRequestCheck
from exacto_plugin.litellm_hooks.http.middleware import ExactoMiddleware, attach
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.monitoring import refusal_metrics
from exacto_plugin.litellm_hooks.monitoring.alert_channels import AlertChannels
from exacto_plugin.litellm_hooks.monitoring.alerts import Alerts, AlertSources
from exacto_plugin.litellm_hooks.monitoring.prometheus import prometheus_mirror
from exacto_plugin.litellm_hooks.proxy_settings import proxy_settings
from exacto_plugin.litellm_hooks.request.key_aliases import KeyAliases
from exacto_plugin.litellm_hooks.request.model_order import ModelOrder
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.runtime.shutdown import shut_down_with
from exacto_plugin.store.location import default_location, location_of_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import ModuleType

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.litellm_hooks.http.middleware import ASGIApp
    from exacto_plugin.store.location import StoreLocation

logger = logging.getLogger("exacto_plugin")

_PROXY_MODULE = "litellm.proxy.proxy_server"


@cache
def proxy_callback() -> ExactoCallback:
    """Return the callback of this process.

    When LiteLLM's proxy is being started, the callback is attached to it.

    Raises:
        SettingsError: the configuration is invalid; LiteLLM's start stops with the message.
        ExactoError: a program has the plugin already, by ``Exacto``.
    """
    server = sys.modules.get(_PROXY_MODULE)
    if server is None:
        _check_program()
    config = _proxy_config(server)
    try:
        settings = find_settings(config, os.environ)
        place = None if server is None else _place(settings, server)
    except SettingsError as error:
        if server is not None:
            shorten_traceback(error)
        raise
    mirror = None if server is None else prometheus_mirror(config)
    runtime = Runtime(
        settings,
        reload_settings=proxy_settings(server, os.environ),
        place=place,
        logs_samples=server is not None,
        mirror=mirror,
    )
    callback = ExactoCallback(runtime)
    install_patches(callback)
    if mirror is not None:
        callback.context.features.lose(callback.faults.guard("telemetry", refusal_metrics.install, []))
    if server is not None:
        how = _attach_to(server, callback)
        warn_of_problems(config, settings, callback.faults)
        # LiteLLM shows no INFO lines of other loggers, and operators need this one line.
        sys.stderr.write(f"{_start_line(runtime, how)}\n")
    for warning in runtime.context.features.warnings():
        logger.warning(warning)
    return callback


def _check_program() -> None:
    if ExactoCallback.in_program:
        raise ExactoError(
            "this process has the plugin already, by Exacto, which scores direct calls too; use one of the two: close()"
            " it, then read exacto_plugin.callback"
        )


def middleware_of(runtime: Runtime, router: Callable[[], Any]) -> Callable[[ASGIApp], ExactoMiddleware]:
    """Return the function that puts the middleware around an application.

    Args:
        runtime: the parts that the middleware is built from.
        router: returns LiteLLM's current router, or None before it exists.
    """
    context, engine, routers = runtime.context, runtime.engine, runtime.routers
    model_order = ModelOrder(context, engine, routers)

    def wrap(app: ASGIApp) -> ExactoMiddleware:
        return ExactoMiddleware(app, context, engine, routers, model_order, runtime.recorder, router)

    return wrap


def _attach_to(server: ModuleType, callback: ExactoCallback) -> str:
    """Connect the parts to LiteLLM's application.

    Returns:
        How the middleware was attached.
    """
    from exacto_plugin.web.api import routers_of

    runtime, features = callback.runtime, callback.context.features

    def current() -> Any:
        return server.llm_router

    runtime.routers.set_source(current)
    runtime.settings_reload.check = partial(live_problems, runtime.context, runtime.routers)
    how = attach(server.app, middleware_of(runtime, current))
    for router in routers_of(runtime):
        server.app.include_router(router)
    server.app.openapi_schema = None
    runtime.timer.ensure_started()
    runtime.periodic_jobs.steps.append(_alerts(runtime, server).run)
    features.lose(shut_down_with(server, runtime.shutdown))
    names = KeyAliases(callback.faults, lambda: server)
    check = AuthenticatedRequestCheck(callback.faults, runtime.routers, callback.routing.final_check, names)
    features.lose(router_patches.install_names(check.take))
    return how


def _alerts(runtime: Runtime, server: ModuleType) -> Alerts:
    """Return the alerts of this process, through LiteLLM's channels."""
    from exacto_plugin.audit.sentences import why_sentence
    from exacto_plugin.web.views import why_now_of

    why_now = why_now_of(runtime)

    async def why(deployment: str, model_group: str) -> list[str]:
        return [why_sentence(view, UTC) for view in await why_now.answers(deployment, model_group)]

    sources = AlertSources(
        runtime.context, runtime.engine, runtime.routers, runtime.observed, runtime.replication, runtime.store
    )
    return Alerts(sources, why, AlertChannels(runtime.context, server).send)


def _start_line(runtime: Runtime, how: str) -> str:
    settings = runtime.context.settings
    return (
        f"exacto_plugin {__version__} is on: LiteLLM {litellm_version()}, middleware {how}, "
        f"mode {settings.mode}, default_sort {settings.default_sort}, preset {settings.tiers.preset}, "
        f"store {runtime.store.health.place}, {runtime.context.features.line()}"
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
            callback.runtime.timer.ensure_started()
            if callback not in litellm.callbacks:
                litellm.logging_callback_manager.add_litellm_callback(callback)
            callback.faults.guard("callback_order", lambda: put_in_order(callback), None)
            yield state

    proxy_server.app.router.lifespan_context = lifespan
    return proxy_server.app

"""The plugin in a program: ``Exacto(settings).attach(router)``, async and sync.

Works with ``litellm.Router``. A request enters through :mod:`exacto_plugin.litellm_hooks.sdk_entries`; from there on it
goes through the same hooks as on the proxy.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Self

import litellm

from exacto_plugin.config.settings import Settings, load_settings
from exacto_plugin.config.sources import find_settings, settings_watcher
from exacto_plugin.errors import ExactoError
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches, uninstall_patches
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.sdk_entries import RouterEntries
from exacto_plugin.store.location import location_of_url
from exacto_plugin.web.program import flaws_data, report_data, why_text
from exacto_plugin.web.views import views_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from exacto_plugin.litellm_hooks.features import Features

logger = logging.getLogger("exacto_plugin")

_WEEK_S = 7 * 86_400.0


def _unchanged() -> None:
    return None


class Exacto:
    """The plugin for one program.

    LiteLLM's callbacks belong to the whole process, and so does this object: a second one replaces the first, whose
    routers are LiteLLM's own again.

    Args:
        settings: the content of ``exacto_settings:``; without it the file that ``EXACTO_CONFIG`` names, else defaults.

    Raises:
        SettingsError: unknown keys or invalid values.
        ExactoError: the process has the plugin by ``litellm.callbacks``.
    """

    _active: ClassVar[Exacto | None] = None

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        from exacto_plugin.litellm_hooks.proxy import proxy_callback

        if proxy_callback.cache_info().currsize:
            raise ExactoError("this process has the plugin already, by exacto_plugin.callback; use one of the two")
        if settings is None:
            validated, reload_settings = find_settings(None, os.environ), settings_watcher(os.environ)
        else:
            validated, reload_settings = load_settings(settings), _unchanged
        if Exacto._active is not None:  # after the settings, so that bad ones leave the first one in place
            logger.warning("a second Exacto replaces the first one of this process: attach() its routers again")
            Exacto._active.close()
        url = validated.store.url  # a library writes no files unless it is configured to
        place = None if url is None else location_of_url(url.get_secret_value())
        runtime = Runtime(validated, reload_settings=reload_settings, place=place, logs_samples=True)
        self._runtime = runtime
        self._callback = ExactoCallback(runtime)
        install_patches(self._callback)
        self._entries = RouterEntries(runtime.context, runtime.routers, self._callback.hard_filter_of)
        runtime.context.features.lose(self._entries.gaps())
        for warning in runtime.context.features.warnings():
            logger.warning(warning)
        litellm.logging_callback_manager.add_litellm_callback(self._callback)
        Exacto._active = self

    def attach(self, router: Any) -> Self:
        """Route and score the requests of a ``litellm.Router`` from now on.

        Slugs, tiers and sorts apply. Only attached routers are routed; answers of other routers and of direct calls are
        scored.

        Returns:
            This object, so that ``Exacto(...).attach(router)`` can be kept or used as a context manager.
        """
        self._runtime.routers.attach(router)
        self._runtime.routers.register(router)
        self._entries.wrap(router)
        return self

    def detach(self, router: Any) -> None:
        """Detach from a router; its methods are LiteLLM's own again."""
        self._entries.unwrap(router)
        self._runtime.routers.detach(router)

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Feature -> ``{on, reason, remedy}`` with the installed LiteLLM."""
        return self._runtime.context.features.view()

    def tiers(self) -> dict[str, Any]:
        """Return the verdicts in force, as ``GET /exacto/api/models`` on the proxy."""
        return views_of(self._runtime).all()

    def why(self, deployment: str, model_group: str | None = None) -> str:
        """Return why a deployment has its tier, in sentences.

        Blocks for a moment, so it must not be called on an event loop.

        Args:
            deployment: its id, or its provider.
            model_group: only in this one; None: in each of its own.

        Raises:
            ExactoError: there is none of this name; the message suggests one.
        """
        return self._runtime.timer.loop_thread.call(why_text(self._runtime, deployment, model_group))

    def report(self, since: float | None = None, until: float | None = None) -> dict[str, Any]:
        """Return what tiers changed in picks, bad calls and spend.

        As ``exacto report --json``.

        Blocks for a moment, so it must not be called on an event loop.

        Args:
            since: UTC seconds; None: a week before ``until``.
            until: UTC seconds; None: now.

        Raises:
            ExactoError: the program keeps no records (``store.url``).
        """
        ends = self._runtime.context.clock() if until is None else until
        begins = ends - _WEEK_S if since is None else since
        return self._runtime.timer.loop_thread.call(report_data(self._runtime, begins, ends))

    def flaws(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return model group -> deployment -> flaw -> answers with it, since the start."""
        return flaws_data(self._runtime)

    def __repr__(self) -> str:
        """Return mode, preset, routers and the tiers in force."""
        settings, groups = self._runtime.context.settings, self._runtime.engine.snapshot.groups.values()
        tiers = Counter(verdict.tier.value for group in groups for verdict in group.verdicts.values())
        told = ", ".join(f"{number} {tier}" for tier, number in sorted(tiers.items())) or "no verdicts yet"
        routers = len(list(self._runtime.routers.live))
        return f"<Exacto mode={settings.mode} preset={settings.tiers.preset} routers={routers}: {told}>"

    def recompute(self) -> None:
        """Recompute now instead of at the timer's next interval.

        Blocks until it is done, so it must not be called on an event loop.
        """
        self._runtime.timer.loop_thread.call(self._runtime.recomputer.recompute())

    def close(self) -> None:
        """Remove the plugin from the process; safe to call more than once."""
        for router in self._runtime.routers.live:
            self.detach(router)
        self._runtime.context.closed = True
        self._runtime.timer.loop_thread.stop()
        self._runtime.shutdown.flush_and_close()
        if Exacto._active is not self:
            return
        Exacto._active = None
        uninstall_patches()
        manager: Any = litellm.logging_callback_manager
        manager.remove_callback_from_all_lists(self._callback)
        manager.remove_callback_from_list_by_object(litellm.input_callback, self._callback, require_self=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def proxy_features() -> Features:
    """Return the features of a proxy with the installed LiteLLM.

    LiteLLM is patched and restored. In a process that runs the plugin these are the features of that. Where LiteLLM is
    installed without its proxy, what the plugin needs of the proxy is not looked for.
    """
    from exacto_plugin.litellm_hooks.proxy import proxy_callback

    if proxy_callback.cache_info().currsize:
        return proxy_callback().context.features
    if Exacto._active is not None:
        return Exacto._active._callback.context.features
    callback = ExactoCallback(Runtime(Settings()))
    features = callback.context.features
    try:
        install_patches(callback)
        with suppress(ImportError):
            features.lose(router_patches.names_gaps())
    finally:
        uninstall_patches()
        callback.runtime.shutdown.flush_and_close()
    return features

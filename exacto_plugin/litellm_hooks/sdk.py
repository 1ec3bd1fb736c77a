"""The plugin in a program: ``Exacto(settings).attach(router)``, async and sync.

Works with ``litellm.Router``. A request enters through :mod:`exacto_plugin.litellm_hooks.sdk_entries`; from there on it
goes through the same hooks as on the proxy.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import litellm

from exacto_plugin.config.messages import check_kind
from exacto_plugin.config.settings import Settings, load_settings
from exacto_plugin.config.sources import find_settings, settings_watcher
from exacto_plugin.errors import ExactoError
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.checks.live import live_problems
from exacto_plugin.litellm_hooks.install import install_patches, uninstall_patches
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.sdk_entries import RouterEntries
from exacto_plugin.store.location import location_of_url
from exacto_plugin.web.program import flaws_data, report_data, why_text
from exacto_plugin.web.views import views_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from litellm.router import Router

    from exacto_plugin.litellm_hooks.features import Features

logger = logging.getLogger("exacto_plugin")

_WEEK_S = 7 * 86_400.0

_NUMBER = (int, float)

_POLL_S = 0.01
"""Seconds between two looks at the number of scored answers."""

_CLOSED = "this Exacto is closed: make a new one, Exacto(settings).attach(router)"
_REPLACED = "another Exacto of this process replaced this one: use that one"


def _unchanged() -> None:
    return None


class Exacto:
    """The plugin for one program.

    LiteLLM's callbacks belong to the whole process, and so does this object: a second one replaces the first, whose
    routers are LiteLLM's own again and which refuses further use.

    Args:
        settings: the content of ``exacto_settings:``; without it the file that ``EXACTO_CONFIG`` names, else defaults.

    Raises:
        SettingsError: unknown keys or invalid values.
        ExactoError: ``exacto_plugin.callback`` is in ``litellm.callbacks``, or this is LiteLLM's proxy.
    """

    _active: ClassVar[Exacto | None] = None
    _replaced: bool = False

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        _check_callback()
        if settings is None:
            validated, reload_settings = find_settings(None, os.environ), settings_watcher(os.environ)
        else:
            validated, reload_settings = load_settings(settings), _unchanged
        if Exacto._active is not None:  # after the settings, so that bad ones leave the first one in place
            logger.warning("a second Exacto replaces the first one of this process: attach() its routers again")
            Exacto._active._replaced = True
            Exacto._active.close()
        _remove_unused_callback()
        url = validated.store.url  # a library writes no files unless it is configured to
        place = None if url is None else location_of_url(url.get_secret_value())
        runtime = Runtime(validated, reload_settings=reload_settings, place=place, logs_samples=True)
        runtime.settings_reload.check = partial(live_problems, runtime.context, runtime.routers)
        runtime.routers.serve_attached_only()
        self._runtime = runtime
        self._callback = ExactoCallback(runtime)
        install_patches(self._callback)
        self._entries = RouterEntries(runtime.context, runtime.routers, self._callback.hard_filter_of)
        runtime.context.features.lose(self._entries.gaps())
        for warning in runtime.context.features.warnings():
            logger.warning(warning)
        litellm.logging_callback_manager.add_litellm_callback(self._callback)
        Exacto._active, ExactoCallback.in_program = self, True

    def attach(self, router: Router) -> Self:
        """Route and score the requests of a ``litellm.Router`` from now on.

        Slugs, tiers and sorts apply. Only attached routers are routed; answers of other routers and of direct calls are
        scored. A setting that names a model group or deployment of no attached router is logged as a warning.

        Returns:
            This object, so that ``Exacto(...).attach(router)`` can be kept or used as a context manager.

        Raises:
            ExactoError: this is no ``litellm.Router``, or this object is closed or replaced.
        """
        self._check_use()
        if not isinstance(router, litellm.Router):
            raise ExactoError(f"attach: got {type(router).__name__}, expected a litellm.Router")
        self._runtime.routers.attach(router)
        self._runtime.routers.register(router)
        self._entries.wrap(router)
        self._runtime.context.faults.guard("settings", self._warn_of_names, None)
        return self

    def detach(self, router: Router) -> None:
        """Detach from a router; its methods are LiteLLM's own again.

        Does nothing to a router that is not attached to this object.
        """
        if router not in self._runtime.routers.live:
            return
        self._entries.unwrap(router)
        self._runtime.routers.detach(router)

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Feature -> ``{on, reason, remedy}`` with the installed LiteLLM."""
        return self._runtime.context.features.view()

    def tiers(self) -> dict[str, Any]:
        """Return the verdicts in force, as ``GET /exacto/api/models`` on the proxy.

        Raises:
            ExactoError: this object is replaced.
        """
        self._check_use(reading=True)
        return views_of(self._runtime).all()

    def why(self, deployment: str, model_group: str | None = None) -> str:
        """Return why a deployment has its tier, in sentences.

        Blocks the calling thread for a moment: on an event loop, ``await asyncio.to_thread(exacto.why, deployment)``.

        Args:
            deployment: its id, or its provider.
            model_group: only in this one; None: in each of its own.

        Raises:
            UnknownNameError: there is none of this name; the message suggests one.
            ExactoError: a name is no text, or this object is closed or replaced.
        """
        self._check_use()
        check_kind("why: deployment", deployment, str, "a deployment's id, or its provider")
        check_kind("why: model_group", model_group, (str, NoneType), "the name of a model group")
        return self._runtime.timer.loop_thread.call(why_text(self._runtime, deployment, model_group))

    def report(self, since: float | None = None, until: float | None = None) -> dict[str, Any]:
        """Return what tiers changed in picks, bad calls and spend.

        As ``exacto report --json``.

        Blocks the calling thread for a moment: on an event loop, ``await asyncio.to_thread(exacto.report)``.

        Args:
            since: UTC seconds; None: a week before ``until``.
            until: UTC seconds; None: now.

        Raises:
            ExactoError: the program keeps no records (``store.url``), a time is none, ``since`` is after ``until``, or
                this object is closed or replaced.
        """
        self._check_use()
        for name, at in (("since", since), ("until", until)):
            check_kind(f"report: {name}", at, (*_NUMBER, NoneType), "UTC seconds, e.g. time.time() - 3600")
        ends = self._runtime.context.clock() if until is None else until
        begins = ends - _WEEK_S if since is None else since
        if begins > ends:
            raise ExactoError("report: since is after until")
        return self._runtime.timer.loop_thread.call(report_data(self._runtime, begins, ends))

    def flaws(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return model group -> deployment -> flaw -> answers with it, since the start.

        Raises:
            ExactoError: this object is replaced.
        """
        self._check_use(reading=True)
        return flaws_data(self._runtime)

    def __repr__(self) -> str:
        """Return mode, preset, routers and the tiers in force."""
        if self._runtime.context.closed:
            return f"<Exacto {'replaced' if self._replaced else 'closed'}>"
        settings, groups = self._runtime.context.settings, self._runtime.engine.snapshot.groups.values()
        tiers = Counter(verdict.tier.value for group in groups for verdict in group.verdicts.values())
        told = ", ".join(f"{number} {tier}" for tier, number in sorted(tiers.items())) or "no verdicts yet"
        routers = len(list(self._runtime.routers.live))
        return f"<Exacto mode={settings.mode} preset={settings.tiers.preset} routers={routers}: {told}>"

    def recompute(self) -> None:
        """Recompute now instead of at the timer's next interval.

        Blocks the calling thread until it is done: on an event loop, ``await asyncio.to_thread(exacto.recompute)``.

        Raises:
            ExactoError: this object is closed or replaced.
        """
        self._check_use()
        self._runtime.timer.loop_thread.call(self._runtime.recomputer.recompute())

    def until_scored(self, answers: int, timeout_s: float = 10.0) -> bool:
        """Wait until so many answers are scored, and recompute.

        LiteLLM reports answers in the background, after the program has them. Failed attempts count; answers that the
        plugin cannot judge do not. Blocks the calling thread: on an event loop, ``await
        asyncio.to_thread(exacto.until_scored, answers)``.

        Args:
            answers: since this object was made.
            timeout_s: seconds to wait at most.

        Returns:
            False if there were fewer when the time was over; the verdicts are recomputed all the same.

        Raises:
            ExactoError: an argument is no number, or this object is closed or replaced.
        """
        check_kind("until_scored: answers", answers, _NUMBER, "a number of answers, e.g. 100")
        check_kind("until_scored: timeout_s", timeout_s, _NUMBER, "a number of seconds, e.g. 10.0")
        ends = time.monotonic() + timeout_s
        while (scored := self._runtime.samples.recorded) < answers and time.monotonic() < ends:
            time.sleep(_POLL_S)
        self.recompute()
        return scored >= answers

    def close(self) -> None:
        """Remove the plugin from the process; safe to call more than once."""
        for router in self._runtime.routers.live:
            self.detach(router)
        _end(self._runtime)
        if Exacto._active is self:
            Exacto._active, ExactoCallback.in_program = None, False
            _remove(self._callback)

    def _check_use(self, *, reading: bool = False) -> None:
        """Refuse the use of an object that is no longer the process's plugin.

        Args:
            reading: True for numbers that a closed object still has.

        Raises:
            ExactoError: this object is closed or replaced.
        """
        if self._replaced:
            raise ExactoError(_REPLACED)
        if self._runtime.context.closed and not reading:
            raise ExactoError(_CLOSED)

    def _warn_of_names(self) -> None:
        for problem in self._runtime.settings_reload.check():
            logger.warning("%s (so far, of the attached routers)", problem)

    def __enter__(self) -> Self:
        self._check_use()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _check_callback() -> None:
    """Check that the process does not use ``exacto_plugin.callback``.

    Raises:
        ExactoError: it does.
    """
    from exacto_plugin.litellm_hooks.proxy import proxy_callback

    if not proxy_callback.cache_info().currsize:
        return
    if proxy_callback().routers.on_proxy:
        raise ExactoError("this process is LiteLLM's proxy and has the plugin already, by exacto_plugin.callback")
    if proxy_callback() in litellm.callbacks:
        raise ExactoError(
            "this process has the plugin already, by exacto_plugin.callback; use one of the two: remove it from"
            " litellm.callbacks, then make an Exacto"
        )


def _remove_unused_callback() -> None:
    """Remove ``exacto_plugin.callback`` where it was made and is not used any more."""
    from exacto_plugin.litellm_hooks.proxy import proxy_callback

    if not proxy_callback.cache_info().currsize:
        return
    logger.warning("an Exacto replaces exacto_plugin.callback, which is not in litellm.callbacks")
    callback = proxy_callback()
    proxy_callback.cache_clear()
    _end(callback.runtime)
    _remove(callback)


def _end(runtime: Runtime) -> None:
    """End the work of one process's plugin; safe to call more than once."""
    runtime.context.closed = True
    runtime.timer.loop_thread.stop()
    runtime.shutdown.flush_and_close()


def _remove(callback: ExactoCallback) -> None:
    """Remove a callback and the patches from LiteLLM."""
    uninstall_patches()
    manager: Any = litellm.logging_callback_manager
    manager.remove_callback_from_all_lists(callback)
    manager.remove_callback_from_list_by_object(litellm.input_callback, callback, require_self=False)


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

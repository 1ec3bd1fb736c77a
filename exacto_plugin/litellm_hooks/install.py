"""Installation of the patches of LiteLLM, on the proxy and in a program."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import litellm

from exacto_plugin.litellm_hooks import router_patches, sync_router_patches
from exacto_plugin.litellm_hooks.compiled import failure_patch, router_methods, sync_patches
from exacto_plugin.litellm_hooks.compiled.request_calls import RequestCalls
from exacto_plugin.litellm_hooks.compiled.sync_selection import RustSyncSelection
from exacto_plugin.litellm_hooks.features import Feature, Gap
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.rescue.chat import ChatBuffer, as_stream
from exacto_plugin.litellm_hooks.rescue.messages import MessagesBuffer
from exacto_plugin.litellm_hooks.rescue.rescue import is_rescue_attempt
from exacto_plugin.litellm_hooks.rescue.responses import ResponsesBuffer
from exacto_plugin.litellm_hooks.rescue.streams import buffer_stream
from exacto_plugin.litellm_hooks.rescue.text import TextBuffer
from exacto_plugin.litellm_hooks.router_patches import fits, unwrap, wrap
from exacto_plugin.litellm_hooks.routing.dry_run import can_dry_run
from exacto_plugin.litellm_hooks.routing.early_pool import EarlyPool
from exacto_plugin.litellm_hooks.routing.sync_selection import SyncSelection
from exacto_plugin.litellm_hooks.scoring.finish_reasons import MAP, OWNERS, observe_mapping
from exacto_plugin.litellm_hooks.scoring.seen_streams import watch_chunks, watch_events, watch_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.litellm_hooks.callback import ExactoCallback
    from exacto_plugin.litellm_hooks.rescue.rescue import Ask
    from exacto_plugin.litellm_hooks.router_core import SelectPool

_BUFFERS: Final = {"responses": ResponsesBuffer, "messages": MessagesBuffer}


class _Steps:
    """The plugin's steps at the points that LiteLLM's functions are patched at.

    An error of the plugin in a step is counted, and LiteLLM goes on as without it.
    """

    def __init__(self, callback: ExactoCallback) -> None:
        self._callback = callback
        self._context, self._faults = callback.context, callback.context.faults
        self._routers, self._failover = callback.routers, callback.routing.failover

    def select_pool(self, router: Any, deployments: list[Any], request_kwargs: dict[str, Any]) -> list[Any]:
        """Return the deployments that LiteLLM's strategy chooses from."""
        if not self._routers.serves(router):
            return deployments

        def ours() -> list[Any]:
            self._routers.add(router)
            return self._callback.routing.select_pool(router, deployments, request_kwargs)

        kept = self._faults.guard("order", ours, None)
        state = CURRENT.get()
        if kept is None:
            group = state.model_group if state is not None else ""
            self._faults.guard("telemetry", lambda: self._context.telemetry.fallback_decision(group), None)
            return deployments
        if not kept and state is not None and state.series.last_error is not None:
            self._failover.raise_last_error()
        return kept or deployments

    def on_failure(self, error: Exception) -> bool | None:
        """Return whether another deployment is asked; None leaves that to LiteLLM."""
        self._faults.guard("score", lambda: self._callback.scoring.record_sync_failure(error), None)
        return self._faults.guard("failover", lambda: self._failover.should_retry(error), None)

    async def on_stream(self, stream: Any, slot: Any) -> Any:
        """Return the chat stream to pass on."""
        self._faults.guard("score", lambda: watch_chunks(stream), None)
        if self._faults.guard("failover", lambda: self._failover.limit, None) is not None:
            stream = await self._failover.on_stream(stream, slot)
        return self._faults.guard("rescue", lambda: buffer_stream(self._callback.rescue, stream, ChatBuffer), stream)

    def on_events(self, events: Any, surface: str) -> Any:
        """Return the stream of events to pass on."""
        scoring = self._callback.scoring
        watch = partial(watch_events, events, surface, self._faults, scoring.record_error_in_stream)
        stream = self._faults.guard("score", watch, events)
        return self._faults.guard(
            "rescue", lambda: buffer_stream(self._callback.rescue, stream, _BUFFERS[surface]), stream
        )

    async def attempt(self, ask: Ask, kwargs: dict[str, Any]) -> Any:
        """Make an attempt, or more where its answer is bad.

        LiteLLM has no later point for streams of text completions, whose prompt is a text or a list; that of a
        Responses request names a stored prompt.
        """

        async def watched(asked: dict[str, Any]) -> Any:
            answer = await ask(asked)
            is_text = isinstance(asked.get("prompt"), str | list)
            return self._on_text(answer) if is_text and asked.get("stream") and hasattr(answer, "__aiter__") else answer

        return await self._callback.rescue.attempt(watched, kwargs)

    def _on_text(self, stream: Any) -> Any:
        watch = partial(watch_stream, stream, "text", self._faults, self._callback.scoring.record_error_in_stream)
        stream = self._faults.guard("score", watch, stream)
        return self._faults.guard("rescue", lambda: buffer_stream(self._callback.rescue, stream, TextBuffer), stream)

    def on_sync_stream(self, stream: Any) -> Any:
        """Return the chat stream of a synchronous call to pass on."""
        self._faults.guard("score", lambda: watch_chunks(stream), None)
        return self._faults.guard(
            "rescue", lambda: buffer_stream(self._callback.rescue, stream, ChatBuffer, synchronous=True), stream
        )


def install_patches(callback: ExactoCallback) -> None:
    """Install the patches, and record in the process's features the missing ones.

    See :mod:`exacto_plugin.litellm_hooks.router_patches`.
    """
    steps, features = _Steps(callback), callback.context.features
    callback.rescue.stream_of = as_stream
    features.lose([*_install_pool(callback, steps.select_pool), *_install_finish_reasons()])
    if router_methods.needed():
        features.lose(_install_around_calls(callback, steps.on_failure))
        return
    selection = SyncSelection(
        callback, steps.select_pool, callback.rescue.scores_early, callback.routers, callback.context.faults
    )
    features.lose(
        [
            *router_patches.install_retries(steps.on_failure),
            *router_patches.install_streams(steps.on_stream),
            *router_patches.install_attempts(steps.attempt, is_rescue_attempt),
            *router_patches.install_events(steps.on_events),
            *sync_router_patches.install(selection, steps.on_sync_stream),
        ]
    )


def _install_finish_reasons() -> list[Gap]:
    if not all(fits(getattr(owner, MAP, None), ["finish_reason"]) for owner in OWNERS):
        return [Gap(MAP, (), "streams that a provider ended for a reason of its own count as ended normally")]
    for owner in OWNERS:
        wrap(owner, MAP, observe_mapping)
    return []


def _install_pool(callback: ExactoCallback, select_pool: SelectPool) -> list[Gap]:
    """Choose the pool after LiteLLM's constraints, else in the filter hook."""
    gaps = router_patches.install_order(select_pool)
    callback.early_pool = None
    if not gaps or not can_dry_run(litellm.Router):
        return gaps
    context, routers = callback.context, callback.routers

    def skipped() -> None:
        state = CURRENT.get()
        context.telemetry.fallback_decision(state.model_group if state is not None else "")

    def router() -> Any:
        found, known = router_methods.current_router(), routers.live
        return found if found is not None or len(known) != 1 else known[0]

    callback.early_pool = EarlyPool(router, select_pool, skipped, callback, context.faults)
    return []


def _install_around_calls(callback: ExactoCallback, on_failure: Callable[[Exception], object]) -> list[Gap]:
    """Take the steps around whole requests, for LiteLLM's compiled retry loop."""
    routers, faults, failover = callback.routers, callback.faults, callback.routing.failover

    def takes(router: Any) -> bool:
        if not routers.serves(router):
            return False
        routers.add(router)
        return True

    features = callback.context.features
    calls = RequestCalls(
        callback.rescue,
        callback.scoring.record_error_in_stream,
        lambda: failover.limit,
        lambda: features.has(Feature.SYNC),
        takes,
        faults,
    )
    router_methods.install(calls)
    selection = RustSyncSelection(callback, callback.rescue.scores_early, routers.serves, on_failure, faults)
    return [*sync_patches.install(selection), *failure_patch.install(is_rescue_attempt)]


def uninstall_patches() -> None:
    """Restore LiteLLM's own functions."""
    router_patches.uninstall()
    for owner in OWNERS:
        unwrap(owner, MAP)
    sync_router_patches.uninstall()
    sync_patches.uninstall()
    failure_patch.uninstall()
    if router_methods.needed():
        router_methods.uninstall()

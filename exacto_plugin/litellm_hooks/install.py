"""Installation of the patches of LiteLLM, on the proxy and in a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import litellm

from exacto_plugin.litellm_hooks import router_patches, sync_router_patches
from exacto_plugin.litellm_hooks.compiled import failure_patch, router_methods, sync_patches
from exacto_plugin.litellm_hooks.compiled.request_calls import RequestCalls
from exacto_plugin.litellm_hooks.compiled.sync_selection import RustSyncSelection
from exacto_plugin.litellm_hooks.features import Feature, Gap
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.rescue.chat import ChatBuffer
from exacto_plugin.litellm_hooks.rescue.messages import MessagesBuffer
from exacto_plugin.litellm_hooks.rescue.rescue import is_rescue_attempt
from exacto_plugin.litellm_hooks.rescue.responses import ResponsesBuffer
from exacto_plugin.litellm_hooks.rescue.streams import buffer_stream
from exacto_plugin.litellm_hooks.router_patches import fits, unwrap, wrap
from exacto_plugin.litellm_hooks.routing.dry_run import can_dry_run
from exacto_plugin.litellm_hooks.routing.early_pool import EarlyPool
from exacto_plugin.litellm_hooks.routing.sync_selection import SyncSelection
from exacto_plugin.litellm_hooks.scoring.finish_reasons import MAP, OWNERS, observe_mapping
from exacto_plugin.litellm_hooks.scoring.seen_streams import watch_chunks, watch_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.litellm_hooks.callback import ExactoCallback
    from exacto_plugin.litellm_hooks.router_core import SelectPool

_BUFFERS: Final = {"responses": ResponsesBuffer, "messages": MessagesBuffer}


def install_patches(callback: ExactoCallback) -> None:
    """Install the patches, and record in the process's features the missing ones.

    See :mod:`exacto_plugin.litellm_hooks.router_patches`.
    """
    context, routers, failover = callback.context, callback.routers, callback.routing.failover
    faults = context.faults

    def select_pool(router: Any, deployments: list[Any], request_kwargs: dict[str, Any]) -> list[Any]:
        if not routers.serves(router):
            return deployments

        def ours() -> list[Any]:
            routers.add(router)
            return callback.routing.select_pool(router, deployments, request_kwargs)

        kept = faults.guard("order", ours, None)
        state = CURRENT.get()
        if kept is None:
            group = state.model_group if state is not None else ""
            faults.guard("telemetry", lambda: context.telemetry.fallback_decision(group), None)
            return deployments
        if not kept and state is not None and state.series.last_error is not None:
            failover.raise_last_error()
        return kept or deployments

    def goes_on(error: Exception) -> bool | None:
        faults.guard("score", lambda: callback.scoring.record_sync_failure(error), None)
        return faults.guard("failover", lambda: failover.should_retry(error), None)

    async def opened(stream: Any, slot: Any) -> Any:
        faults.guard("score", lambda: watch_chunks(stream), None)
        if faults.guard("failover", lambda: failover.limit, None) is not None:
            stream = await failover.on_stream(stream, slot)
        return faults.guard("rescue", lambda: buffer_stream(callback.rescue, stream, ChatBuffer), stream)

    def events(given: Any, surface: str) -> Any:
        stream = faults.guard("score", lambda: watch_events(given, surface, faults), given)
        return faults.guard("rescue", lambda: buffer_stream(callback.rescue, stream, _BUFFERS[surface]), stream)

    def opened_synchronously(stream: Any) -> Any:
        faults.guard("score", lambda: watch_chunks(stream), None)
        return faults.guard(
            "rescue", lambda: buffer_stream(callback.rescue, stream, ChatBuffer, synchronous=True), stream
        )

    context.features.lose(_install_pool(callback, select_pool))
    if router_methods.needed():
        context.features.lose(_install_around_calls(callback, goes_on))
        return
    selection = SyncSelection(callback, select_pool, callback.rescue.scores_early, routers, faults)
    context.features.lose(
        [
            *router_patches.install_retries(goes_on),
            *router_patches.install_streams(opened),
            *router_patches.install_attempts(callback.rescue.attempt, is_rescue_attempt),
            *router_patches.install_events(events),
            *_install_finish_reasons(),
            *sync_router_patches.install(selection, opened_synchronously),
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
    calls = RequestCalls(callback.rescue, lambda: failover.limit, lambda: features.has(Feature.SYNC), takes, faults)
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

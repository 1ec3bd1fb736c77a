"""Tiers and sorts in LiteLLM's public filter hook.

For versions without a later point.

The same steps as :meth:`exacto_plugin.litellm_hooks.routing.router.Routing.select_pool` at the later point, on the
deployments that LiteLLM's remaining constraints will leave (:mod:`.dry_run`).
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.background import run_in_thread
from exacto_plugin.litellm_hooks.request.state import SYNC
from exacto_plugin.litellm_hooks.routing.dry_run import can_dry_run, may_lose, survivors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.router_core import SelectPool


class EarlyPool:
    """The choice of an attempt's pool in the filter hook.

    One per process, without state.

    Args:
        router: returns the router of the current request, or None where it is unknown.
        select_pool: applies tiers and sorts to deployments.
        skipped: called when the pool could not be chosen.
        own: the plugin's callback.
        faults: reports errors of the plugin.
    """

    def __init__(
        self,
        router: Callable[[], Any],
        select_pool: SelectPool,
        skipped: Callable[[], None],
        own: object,
        faults: FaultReporter,
    ) -> None:
        self._router = router
        self._select_pool = select_pool
        self._skipped = skipped
        self._own = own
        self._faults = faults

    async def choose(self, group: str, kept: list[Any], kwargs: dict[str, Any], messages: Any) -> list[Any]:
        """Return the pool of an attempt, a sublist of ``kept``.

        Args:
            group: the model group.
            kept: the deployments that the hard filters left.
            kwargs: the request with the fields of its fallback entry.
            messages: of the request.
        """
        router = self._router()
        if router is None or not kept:
            return kept
        try:
            left = await self._left(router, group, kept, kwargs, messages)
        except Exception as error:
            self._faults.report("order", error)
            left = []
        if not left:
            self._faults.guard("telemetry", self._skipped, None)
            return kept
        pool = self._select_pool(router, left, kwargs)
        return kept if pool is left else pool

    async def _left(
        self, router: Any, group: str, kept: list[Any], kwargs: Mapping[str, Any], messages: Any
    ) -> list[Any]:
        """Return the deployments to choose among; empty when they cannot be known."""
        if not may_lose(router, kept, kwargs, messages, self._own):
            return kept
        if not can_dry_run(router):
            return []
        if not SYNC.get():
            return await survivors(router, group, kept, kwargs, messages)
        # A synchronous selection cannot wait, and has no form without a call.
        tried = partial(survivors, router, group, kept, kwargs, messages)
        return run_in_thread(tried, copy_context(), "exacto-dry-run").result()

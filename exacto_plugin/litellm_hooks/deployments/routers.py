"""The routers of one process: those that are live, and the deployments they have."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.windows.windows import Retention
from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.deployments.direct_calls import DirectCalls
from exacto_plugin.litellm_hooks.deployments.fallbacks import fallback_targets, rewrite_fallbacks
from exacto_plugin.litellm_hooks.deployments.model_names import NameResolver
from exacto_plugin.litellm_hooks.deployments.router_view import FALLBACK_LISTS, router_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Routers:
    """LiteLLM's routers in this process. One per process.

    Args:
        clock: UTC seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._source: Callable[[], Any] | None = None
        # Replaced, never changed in place: metrics are read in threads of their own.
        self._attached: tuple[weakref.ref[Any], ...] = ()
        self._attached_only = False
        self._registered: weakref.ref[Any] | None = None
        self.direct_calls = DirectCalls(Retention().span_s)
        """Deployments that are called without any router."""

    @property
    def on_proxy(self) -> bool:
        """True when the router is that of LiteLLM's proxy."""
        return self._source is not None

    def set_source(self, current: Callable[[], Any]) -> None:
        """Use the router of LiteLLM's proxy, which has one at a time and may replace it.

        No other router of the process counts then: callers can make LiteLLM build one for a single request.
        """
        self._source = current

    def serve_attached_only(self) -> None:
        """Serve no router from now on but those that are attached."""
        self._attached_only = True

    def attach(self, router: Any) -> None:
        """Serve this router, and from now on attached routers only."""
        self.serve_attached_only()
        if router not in self.live:
            self._attached = (weakref.ref(router), *(known for known in self._attached if known() is not None))

    def detach(self, router: Any) -> None:
        """Stop serving this router."""
        self._attached = tuple(known for known in self._attached if known() not in (None, router))

    def serves(self, router: Any) -> bool:
        """Return whether tiers apply to a router: to all unless only attached ones count."""
        return not self._attached_only or any(known() is router for known in self._attached)

    def add(self, router: Any) -> None:
        """Register a router: its deployments are the peers of their model groups."""
        if self._attached_only:
            return
        if router is None or self._source is not None or router in self.live:
            return
        self._attached = (weakref.ref(router), *(known for known in self._attached if known() is not None))

    def register(self, router: Any) -> None:
        """Prepare a new router; cheap for the one that was used last."""
        if router is None or (self._registered is not None and self._registered() is router):
            return
        self._registered = weakref.ref(router)
        self.add(router)
        self.prepare(router)

    @property
    def live(self) -> Sequence[Any]:
        """The live routers, newest first."""
        if self._source is not None:
            current = self._source()
            return () if current is None else (current,)
        return tuple(router for known in self._attached if (router := known()) is not None)

    def prepare(self, router: Any) -> None:
        """Resolve configured fallbacks with suffixes; lists that are resolved stay as is."""
        view = router_view(router)
        for name in FALLBACK_LISTS:
            configured = view.setting(name)
            if isinstance(configured, list) and configured:
                rewritten = rewrite_fallbacks(configured, NameResolver(router))
                if rewritten is not configured:
                    view.set_fallbacks(name, rewritten)

    def in_group(self, model_group: str, deployments: list[Any]) -> list[Any]:
        """Return a model group's deployments, each as its entry in that group."""
        if not [one for one in deployments if one.get("model_name") != model_group]:
            return deployments
        for router in self.live:
            deployments = router_view(router).in_group(model_group, deployments)
        return deployments

    def deployments_of(self, model_group: str) -> list[Any]:
        """Return all configured deployments of a model group, teams' own included."""
        return self.routing_for(model_group)[1]

    def routing_for(self, model_group: str) -> tuple[Any, list[Any]]:
        """Return the router and the deployments of a model group, or None and none."""
        for router in self.live:
            view = router_view(router)
            found = list(view.deployments(model_group))
            if found and model_group not in view.model_names:
                # Wildcard deployments have the requested name here, and the pattern's name in requests.
                wild = {litellm_id(one): one for one in view.by_pattern(model_group)}
                found = [wild.get(litellm_id(one), one) for one in found]
            if model_group in view.team_names:
                found += [one for one in view.all() if _team_name(one) == model_group and one not in found]
            if found:
                return router, found
        return None, []

    def falls_back_to(self, model_group: str) -> bool:
        """Return whether a configured fallback of any model leads to this one."""
        return model_group in fallback_targets(self.configured_fallbacks())

    def configured_fallbacks(self) -> Iterator[Any]:
        """Yield the entries of all configured fallback lists, in LiteLLM's forms."""
        for router in self.live:
            view = router_view(router)
            for name in FALLBACK_LISTS:
                yield from view.setting(name) or ()

    def knows_group(self, model_group: str) -> bool:
        """Return whether the name is configured (wildcards match invented names too)."""
        for router in self.live:
            if model_group in router_view(router).model_names:
                return True
        return bool(self.direct_calls.of(model_group))

    def is_configured(self, model_group: str) -> bool:
        """Return True unless a request invented the name of a model group.

        A wildcard serves any name. Before there is a router no request can have invented one.
        """
        views = [router_view(router) for router in self.live]
        if any(model_group in view.model_names or model_group in view.team_names for view in views):
            return True
        return not any(self.on_proxy or view.by_pattern(model_group) for view in views)

    async def cooldown_s(self, litellm_ids: list[str], *, synchronous: bool) -> float | None:
        """Return seconds until the first of these leaves its cooldown; None without any.

        Args:
            litellm_ids: ids of deployments.
            synchronous: True where the caller cannot wait for a shared cache.
        """
        for router in self.live:
            cooldowns = router_view(router).cooldowns
            if synchronous:
                cooling = cooldowns.get_active_cooldowns(litellm_ids, parent_otel_span=None)
            else:
                cooling = await cooldowns.async_get_active_cooldowns(litellm_ids, parent_otel_span=None)
            left_s = [value["timestamp"] + value["cooldown_time"] - self._clock() for _, value in cooling]
            if left_s:
                return float(min(left_s))
        return None


def _team_name(deployment: Mapping[str, Any]) -> object:
    return (deployment.get("model_info") or {}).get("team_public_model_name")

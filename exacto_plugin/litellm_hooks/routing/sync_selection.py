"""The same filters, tiers and sorts for LiteLLM's synchronous selection.

It serves ``Router.completion`` and the other synchronous methods, and asynchronous calls under routing strategies that
LiteLLM has in a synchronous form only. LiteLLM calls no callback there, so its selection is patched: hard filters apply
at the point of the asynchronous hook, tiers and sorts right before the operator's ``order`` levels. This module does
not select by itself.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from exacto_plugin.core.routing.policy import split_slug
from exacto_plugin.litellm_hooks.deployments.model_names import NameResolver
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.request.call_details import hand_over
from exacto_plugin.litellm_hooks.request.hops import metadata_of
from exacto_plugin.litellm_hooks.request.policy import without_our_keys
from exacto_plugin.litellm_hooks.request.slugs import Slugs
from exacto_plugin.litellm_hooks.request.state import CURRENT, SYNC, RequestState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.router_core import SelectPool


@dataclass(frozen=True, slots=True)
class _Selection:
    """The arguments of one call of LiteLLM's synchronous selection."""

    router: Any
    group: str
    messages: Any
    kwargs: dict[str, Any]


_CURRENT_SELECTION: ContextVar[_Selection | None] = ContextVar("exacto_selection", default=None)


class AttemptHooks(Protocol):
    """The hooks of the callback that a selection goes through."""

    async def async_filter_deployments(
        self, model: str, healthy_deployments: list[Any], messages: Any, request_kwargs: dict[str, Any] | None
    ) -> list[Any]:
        """Apply the hard filters to a model group."""

    def record_attempt(self, kwargs: dict[str, Any]) -> RequestState:
        """Record the attempt that LiteLLM is about to make."""


class SyncSelection:
    """The plugin's steps within LiteLLM's synchronous selection.

    One per process, without state of its own.

    Args:
        callback: the hooks that asynchronous requests go through.
        select_pool: applies tiers and sorts, as for asynchronous requests.
        scores_early: returns whether an answer is assessed before its delivery.
        routers: of this process.
        faults: of this process.
    """

    def __init__(
        self,
        callback: AttemptHooks,
        select_pool: SelectPool,
        scores_early: Callable[[RequestState], bool],
        routers: Routers,
        faults: FaultReporter,
    ) -> None:
        self._callback = callback
        self._select_pool = select_pool
        self._scores_early = scores_early
        self._routers = routers
        self._faults = faults

    def select(self, original: Callable[..., Any], router: Any, model: str, **given: Any) -> Any:
        """Run ``Router.get_available_deployment`` on the deployments that are allowed.

        Args:
            original: LiteLLM's own selection.
            router: the router that selects.
            model: the requested model name.
            given: the selection's other arguments.

        Raises:
            ExactoRefusedError: a hard filter left nothing.
        """
        kwargs = given.get("request_kwargs")
        if not isinstance(kwargs, dict) or not self._routers.serves(router):
            return original(model, **given)
        model = self._faults.guard("body", lambda: self._resolved(router, model, kwargs), model)
        group = router_view(router).alias(model) or model
        token = _CURRENT_SELECTION.set(_Selection(router, group, given.get("messages"), kwargs))
        try:
            chosen = original(model, **given)
        finally:
            _CURRENT_SELECTION.reset(token)
        self._faults.guard("pre_call", lambda: self._chosen(chosen, kwargs), None)
        return chosen

    def filter_pool(self, router: Any, healthy: list[Any]) -> list[Any]:
        """Apply the hard filters to deployments that neither cool down nor are blocked."""
        asked = _CURRENT_SELECTION.get()
        if asked is None or asked.router is not router:
            return healthy
        token = SYNC.set(True)
        try:
            hook = self._callback.async_filter_deployments(asked.group, healthy, asked.messages, asked.kwargs)
            kept: list[Any] = run_sync(hook)
        finally:
            SYNC.reset(token)
        return kept

    def select_pool(self, deployments: list[Any], target_order: Any) -> list[Any]:
        """Return the pool of this attempt among the deployments that LiteLLM left."""
        asked = _CURRENT_SELECTION.get()
        if asked is None or not isinstance(deployments, list):
            return deployments
        return self._select_pool(asked.router, deployments, {**asked.kwargs, "_target_order": target_order})

    def _resolved(self, router: Any, model: str, kwargs: Mapping[str, Any]) -> str:
        """Return ``model`` without suffixes, for calls that bypassed the router's entry."""
        if ":" not in model or kwargs.get("fallback_depth"):
            return model
        slug = split_slug(model, NameResolver(router))
        if not slug.suffixes:
            return model
        CURRENT.set(RequestState(slugs=Slugs(slug)))
        return slug.base

    def _chosen(self, chosen: Mapping[str, Any], kwargs: dict[str, Any]) -> None:
        """Record the attempt, and remove the plugin's keys from the request."""
        params = chosen.get("litellm_params") or {}
        metadata = {**metadata_of(kwargs), "deployment_model_name": chosen.get("model_name")}
        sent = {**kwargs, **params, "model_info": chosen.get("model_info") or {}, "metadata": metadata}
        record_sync_attempt(self._callback, self._scores_early, sent, kwargs)
        for key in kwargs.keys() - without_our_keys(dict(sent)).keys():
            del kwargs[key]


def record_sync_attempt(
    hooks: AttemptHooks,
    scores_early: Callable[[RequestState], bool],
    sent: dict[str, Any],
    request: Mapping[str, Any],
) -> None:
    """Record an attempt that was selected synchronously.

    Args:
        hooks: the hooks that asynchronous requests go through.
        scores_early: returns whether an answer is assessed before its delivery.
        sent: the call as LiteLLM is about to make it.
        request: the request, with its tools.
    """
    state = hooks.record_attempt(sent)
    state.sync.selected = True
    hand_over(state, request)
    attempt = state.served_by
    if attempt is not None and not request.get("stream"):
        attempt.is_scored_early = scores_early(state)


def run_sync(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never suspends.

    Raises:
        RuntimeError: it would suspend.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("a synchronous request cannot wait")

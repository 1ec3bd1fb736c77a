"""Synchronous calls: the same filters, tiers and sorts where LiteLLM's router selects without waiting for anything.

That is ``Router.completion`` and its like, and asynchronous calls under routing strategies that LiteLLM has in a
synchronous form only. LiteLLM asks no callback there, so its selection is wrapped: hard filters stand where the
asynchronous one has its hook, tiers and sorts right before the operator's ``order`` levels. No selection of our own.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from exacto_plugin.core.routing.policy import split_slug
from exacto_plugin.litellm_hooks.deployments.model_names import name_resolver
from exacto_plugin.litellm_hooks.request.call_details import choice_of
from exacto_plugin.litellm_hooks.request.hops import metadata_of
from exacto_plugin.litellm_hooks.request.policy import without_our_keys
from exacto_plugin.litellm_hooks.request.state import CURRENT, SYNC, RequestState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from exacto_plugin.litellm_hooks.router_core import SelectPool


@dataclass(frozen=True, slots=True)
class _Selection:
    """What LiteLLM's synchronous selection was asked."""

    router: Any
    group: str
    messages: Any
    kwargs: dict[str, Any]


_CURRENT_SELECTION: ContextVar[_Selection | None] = ContextVar("exacto_selection", default=None)


class AttemptHooks(Protocol):
    """The hooks of the callback that a selection goes through."""

    runtime: Any
    rescue: Any

    async def async_filter_deployments(
        self, model: str, healthy_deployments: list[Any], messages: Any, request_kwargs: dict[str, Any] | None
    ) -> list[Any]:
        """Apply the hard filters to a model group."""

    def record_attempt(self, kwargs: dict[str, Any]) -> RequestState:
        """Record the attempt that LiteLLM is about to make."""


class SyncSelection:
    """Stands in LiteLLM's synchronous selection. One per process, no state of its own.

    Args:
        callback: the hooks that asynchronous requests go through.
        narrow: tiers and sorts, as for asynchronous requests.
    """

    def __init__(self, callback: AttemptHooks, select_pool: SelectPool) -> None:
        self._callback = callback
        self._select_pool = select_pool

    def select(self, original: Callable[..., Any], router: Any, model: str, **given: Any) -> Any:
        """``Router.get_available_deployment``: LiteLLM's own choice among what the request may have.

        Args:
            original: LiteLLM's own selection.
            router: the router that selects.
            model: what was asked for.
            given: the selection's other arguments.

        Raises:
            ExactoRefusedError: a hard filter left nothing.
        """
        kwargs = given.get("request_kwargs")
        runtime = self._callback.runtime
        if not isinstance(kwargs, dict) or not runtime.serves(router):
            return original(model, **given)
        model = runtime.faults.guard("body", lambda: self._resolved(router, model, kwargs), model)
        group = router.get_model_from_alias(model=model) or model
        token = _CURRENT_SELECTION.set(_Selection(router, group, given.get("messages"), kwargs))
        try:
            chosen = original(model, **given)
        finally:
            _CURRENT_SELECTION.reset(token)
        runtime.faults.guard("pre_call", lambda: self._chosen(chosen, kwargs), None)
        return chosen

    def filter_pool(self, router: Any, healthy: list[Any]) -> list[Any]:
        """What the hard filters leave of deployments that neither cool down nor are blocked."""
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
        """The pool of this attempt among what LiteLLM's constraints left."""
        asked = _CURRENT_SELECTION.get()
        if asked is None or not isinstance(deployments, list):
            return deployments
        return self._select_pool(asked.router, deployments, {**asked.kwargs, "_target_order": target_order})

    def _resolved(self, router: Any, model: str, kwargs: Mapping[str, Any]) -> str:
        """``model`` without suffixes, for calls that did not come through the router's entry."""
        if ":" not in model or kwargs.get("fallback_depth"):
            return model
        slug = split_slug(model, name_resolver(router))
        if not slug.suffixes:
            return model
        CURRENT.set(RequestState(slug=slug))
        return slug.base

    def _chosen(self, chosen: Mapping[str, Any], kwargs: dict[str, Any]) -> None:
        """Remember the attempt, and take what is ours out of the request."""
        params = chosen.get("litellm_params") or {}
        metadata = {**metadata_of(kwargs), "deployment_model_name": chosen.get("model_name")}
        sent = {**kwargs, **params, "model_info": chosen.get("model_info") or {}, "metadata": metadata}
        state = self._callback.record_attempt(sent)
        state.sync = True
        state.pending_tools = tuple(kwargs.get("tools") or kwargs.get("functions") or ())
        state.pending_choice = choice_of(kwargs)
        attempt = state.served_by
        if attempt is not None and not kwargs.get("stream"):
            attempt.is_scored_early = self._callback.rescue.scores_early(state)
        for key in kwargs.keys() - without_our_keys(dict(sent)).keys():
            del kwargs[key]


def run_sync(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that has nothing to wait for.

    Raises:
        RuntimeError: it would wait.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("a synchronous request cannot wait")

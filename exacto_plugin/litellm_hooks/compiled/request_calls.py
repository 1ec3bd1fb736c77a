"""The plugin's steps around a request: rescue, and the number of attempts.

Used where LiteLLM's retry loop has no seam (:mod:`.router_methods`).
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.background import run_in_thread
from exacto_plugin.litellm_hooks.compiled.router_methods import SYNC_FIELDS
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY, fallback_targets
from exacto_plugin.litellm_hooks.deployments.model_names import leads_to_openrouter
from exacto_plugin.litellm_hooks.deployments.router_view import FALLBACK_LISTS, router_view
from exacto_plugin.litellm_hooks.request.call_details import CURRENT_ATTEMPT, RescuableAttempt
from exacto_plugin.litellm_hooks.request.hops import RETRY_POLICY
from exacto_plugin.litellm_hooks.request.policy import dropped_upstream
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState
from exacto_plugin.litellm_hooks.rescue.chat import ChatBuffer
from exacto_plugin.litellm_hooks.rescue.messages import MessagesBuffer
from exacto_plugin.litellm_hooks.rescue.responses import ResponsesBuffer
from exacto_plugin.litellm_hooks.rescue.streams import buffer_stream
from exacto_plugin.litellm_hooks.rescue.text import TextBuffer
from exacto_plugin.litellm_hooks.scoring.seen_streams import watch_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.litellm_hooks.compiled.router_methods import Call
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.rescue.rescue import AnswerRescue
    from exacto_plugin.litellm_hooks.scoring.seen_streams import OnError

_BUFFERS: Final = {
    "chat": ChatBuffer,
    "responses": ResponsesBuffer,
    "messages": MessagesBuffer,
    "text": TextBuffer,
}
_OURS: Final = ("provider", SUFFIXES_KEY, "models")
_POLICIES: Final = ("retry_policy", RETRY_POLICY)
_NEVER: Final = ("BadRequestErrorRetries", "ContentPolicyViolationErrorRetries")
"""Errors that the request itself causes."""
_OTHERS: Final = (
    "AuthenticationErrorRetries",
    "TimeoutErrorRetries",
    "RateLimitErrorRetries",
    "InternalServerErrorRetries",
    "ServiceUnavailableErrorRetries",
    "NotFoundErrorRetries",
    "DefaultRetries",
)
"""The other fields of LiteLLM's retry policy (``litellm.types.router.RetryPolicy``)."""


class RequestCalls:
    """The steps around one request. One per process, without state.

    Args:
        rescue: replaces bad answers.
        on_error: called with the attempt whose provider reported an error in a stream.
        limit: returns the attempts within a model group; None leaves them to LiteLLM.
        selects_sync: returns whether synchronous calls go through the plugin.
        takes: registers a router; returns whether its requests are routed by the plugin.
        faults: reports errors of the plugin.
    """

    def __init__(
        self,
        rescue: AnswerRescue,
        on_error: OnError,
        limit: Callable[[], int | None],
        selects_sync: Callable[[], bool],
        takes: Callable[[Any], bool],
        faults: FaultReporter,
    ) -> None:
        self._rescue = rescue
        self._on_error = on_error
        self._limit = limit
        self._selects_sync = selects_sync
        self._takes = takes
        self._faults = faults

    async def call(self, surface: str | None, router: Any, ask: Call, kwargs: dict[str, Any]) -> Any:
        """Make an asynchronous request by ``ask(kwargs)``; returns its answer or stream."""
        if not self._faults.guard("router", partial(self._takes, router), False):
            return await ask(kwargs)
        kwargs = self._faults.guard("failover", partial(self._with_attempts, router, kwargs), kwargs)
        if surface is None:
            return await ask(kwargs)

        async def buffered(asked: dict[str, Any]) -> Any:
            answer = await ask(asked)
            if not asked.get("stream") or not hasattr(answer, "__aiter__"):
                return answer
            return self._held(answer, surface)

        return await self._rescue.attempt(buffered, kwargs, one_attempt)

    def call_sync(
        self, surface: str | None, router: Any, ask: Callable[[dict[str, Any]], Any], kwargs: dict[str, Any]
    ) -> Any:
        """Make a synchronous request; the plugin's keys are not passed on."""
        if not self._faults.guard("router", partial(self._takes, router), False):
            return ask(kwargs)
        kwargs = self._faults.guard("failover", partial(self._with_attempts, router, kwargs), kwargs)
        kwargs, own = self._without_own_fields(router, kwargs)
        if not self._selects_sync():
            self._faults.guard("body", partial(dropped_upstream, kwargs), None)
        if CURRENT.get() is None:
            CURRENT.set(RequestState())

        def buffered(asked: dict[str, Any]) -> Any:
            # A rescue's request has the fields of its fallback entry as well.
            asked, more = self._without_own_fields(router, asked)
            token = SYNC_FIELDS.set({**own, **more})
            try:
                answer = ask(asked)
            finally:
                SYNC_FIELDS.reset(token)
            if surface is None or not asked.get("stream") or not hasattr(answer, "__iter__"):
                return answer
            return self._held(answer, surface, synchronous=True)

        return self._rescued(buffered, kwargs) if surface is not None else buffered(kwargs)

    def _without_own_fields(self, router: Any, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return a request without the fields for the plugin, and these."""
        nothing: dict[str, Any] = {}
        own = self._faults.guard("body", partial(_own_fields, router, kwargs), nothing)
        return {name: value for name, value in kwargs.items() if name not in own}, own

    def _held(self, stream: Any, surface: str, *, synchronous: bool = False) -> Any:
        """Return the stream to pass on, read as it leaves; a bad beginning is replaced."""
        watch = partial(watch_stream, stream, surface, self._faults, self._on_error, synchronous=synchronous)
        stream = self._faults.guard("score", watch, stream)
        hold = partial(buffer_stream, self._rescue, stream, _BUFFERS[surface], synchronous=synchronous)
        return self._faults.guard("rescue", hold, stream)

    def _rescued(self, ask: Callable[[dict[str, Any]], Any], kwargs: dict[str, Any]) -> Any:
        """Make a synchronous request, and replace a bad answer."""
        rescue, before = self._rescue, CURRENT.get()
        if not rescue.is_enabled or (before is not None and before.is_rescue_attempt):
            return ask(kwargs)
        served = before.served_by if before is not None else None

        async def call(asked: dict[str, Any]) -> Any:
            return ask(asked)

        made = RescuableAttempt(call, kwargs, again=one_attempt)
        token = CURRENT_ATTEMPT.set(made)
        try:
            answer = ask(kwargs)
        finally:
            CURRENT_ATTEMPT.reset(token)
        state = CURRENT.get()
        bad = state.served_by if state is not None else None
        if state is None or bad is None or bad is served:
            return answer
        self._faults.guard("rescue", partial(rescue.assess_sync, state, made, answer), None)
        if bad.quality is None or not bad.quality.bad:
            return answer
        again = partial(rescue.replace_answer, answer, state, made)
        return run_in_thread(again, copy_context(), "exacto-rescue").result()

    def _with_attempts(self, router: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the request with a retry policy for ``failover.max_attempts``.

        Retries of the request itself, and the operator's retry policies, take precedence. A deployment that is
        requested by its id has LiteLLM's own number of attempts.
        """
        limit = self._limit()
        view = router_view(router)
        asked = str(kwargs.get("model") or "")
        if not asked or limit is None or kwargs.get("num_retries") is not None or RETRY_POLICY in kwargs:
            return kwargs
        if any(view.setting(name) for name in _POLICIES) or (asked not in view.model_names and view.has_id(asked)):
            return kwargs
        policy = {**dict.fromkeys(_OTHERS, limit - 1), **dict.fromkeys(_NEVER, 0)}
        own = kwargs.get("fallbacks")
        lists = chain(own if isinstance(own, list) else (), *(view.setting(name) or () for name in FALLBACK_LISTS))
        groups = {asked, view.alias(asked) or asked, *fallback_targets(lists)}
        return {**kwargs, RETRY_POLICY: dict.fromkeys(groups, policy)}


def _own_fields(router: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields for the plugin; OpenRouter reads two of them itself."""
    found = {name: kwargs[name] for name in _OURS if name in kwargs}
    if found and leads_to_openrouter(router, str(kwargs.get("model") or "")):
        return {name: value for name, value in found.items() if name == SUFFIXES_KEY}
    return found


def one_attempt(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return a request without retries and fallbacks of LiteLLM's.

    It is for the model group of the state's newest attempt, with the fields of its fallback entry.
    """
    state = CURRENT.get()
    asked = {name: value for name, value in kwargs.items() if name != RETRY_POLICY}
    asked |= {"num_retries": 0, "disable_fallbacks": True}
    if state is not None and state.attempts and state.model_group != state.attempts[0].model_group:
        asked |= {**state.fallbacks.entry, "model": state.model_group}
    return asked

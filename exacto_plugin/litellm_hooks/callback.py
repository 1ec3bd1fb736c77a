"""The LiteLLM callback: each hook calls routing or scoring and fails open."""

from __future__ import annotations

import secrets
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import openai
from litellm.integrations.custom_logger import CustomLogger

from exacto_plugin.core.routing.policy import SORTING_SUFFIXES
from exacto_plugin.litellm_hooks.callback_order import put_in_order
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.deployments.model_names import NameResolver, is_openrouter
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, no_endpoints
from exacto_plugin.litellm_hooks.request.call_details import attach_state, hand_over, is_pending_call, keep_tools
from exacto_plugin.litellm_hooks.request.hops import metadata_of, position_of
from exacto_plugin.litellm_hooks.request.key_aliases import take_alias, take_fallbacks
from exacto_plugin.litellm_hooks.request.operator_limits import groups_of, promised
from exacto_plugin.litellm_hooks.request.policy import without_our_keys
from exacto_plugin.litellm_hooks.request.provider_object import client_hard_filter, provider_in
from exacto_plugin.litellm_hooks.request.state import ATTEMPT_KEY, CURRENT, LOG_KEY
from exacto_plugin.litellm_hooks.rescue.rescue import AnswerRescue
from exacto_plugin.litellm_hooks.routing.affinity import ConversationAffinity
from exacto_plugin.litellm_hooks.routing.dry_run import passed_in_dry_run
from exacto_plugin.litellm_hooks.routing.failover import is_last_error
from exacto_plugin.litellm_hooks.routing.final_check import nobody_was_called
from exacto_plugin.litellm_hooks.routing.router import Routing
from exacto_plugin.litellm_hooks.scoring.caller_preferences import PreferenceCounter
from exacto_plugin.litellm_hooks.scoring.log_event import attempt_of
from exacto_plugin.litellm_hooks.scoring.response import is_health_check
from exacto_plugin.litellm_hooks.scoring.scorer import ResponseScorer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.litellm_hooks.request.state import RequestState
    from exacto_plugin.litellm_hooks.routing.early_pool import EarlyPool
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


def _sent_as_is(_self: Any, kwargs: dict[str, Any], *_a: Any, **_k: Any) -> dict[str, Any]:
    return without_our_keys(kwargs)


def _fail_open_or_refuse(
    self: ExactoCallback,
    model: str,
    healthy_deployments: list[Any],
    messages: Any,
    request_kwargs: Any = None,
    *_a: Any,
    **_k: Any,
) -> list[Any]:
    """Return LiteLLM's list unchanged after a fault while filtering.

    Hard filters fail closed: under one, the request is refused.
    """
    kwargs = request_kwargs if isinstance(request_kwargs, dict) else {}
    promise = self.faults.guard("filter", lambda: self.hard_filter_of(model, kwargs, healthy_deployments), None)
    if promise is not None:
        # From None: LiteLLM logs the cause of an exception, and that cause may quote the request.
        error = ExactoRefusedError(no_endpoints(model, promise, "could not be evaluated", ()), model)
        raise self.refused(error) from None
    return healthy_deployments


class ExactoCallback(CustomLogger):
    """The object for ``litellm_settings.callbacks: ["exacto_plugin.callback"]``.

    Hooks of concurrent requests interleave on one event loop; the callback holds no state of a request.
    """

    in_program: ClassVar[bool] = False
    """True while an ``Exacto`` is the process's plugin."""

    def __init__(self, runtime: Runtime) -> None:
        """Build the hooks from the parts of this process's plugin."""
        super().__init__()
        # LiteLLM treats loggers of one class as equal unless a plain public attribute differs: without this one, a
        # callback created after another one was closed during a call would not be called.
        self.instance = secrets.token_hex(4)
        self.runtime = runtime
        self.context, self.routers = runtime.context, runtime.routers
        self.faults = self.context.faults
        self._timer, self._recorder = runtime.timer, runtime.recorder
        affinity = ConversationAffinity(self.context, runtime.conversations, runtime.replication, self.routers)
        preferences = PreferenceCounter(self.context.clock, self.routers, runtime.caller_preferences)
        self.routing = Routing(self.context, runtime.engine, self.routers, self._recorder, affinity)
        lock = runtime.engine.lock
        self.scoring = ResponseScorer(self.context, lock, runtime.samples, self._recorder, affinity, preferences)
        self.rescue = AnswerRescue(self.context, self._recorder, self.scoring, affinity)
        self.early_pool: EarlyPool | None = None
        """Set where LiteLLM has no later point for tiers and sorts."""

    @fail_open("filter", otherwise=_fail_open_or_refuse, passes=is_last_error)
    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[Any],
        messages: list[Any] | None,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[Any]:
        """Apply the hard filters, and tiers and sorts where LiteLLM has no later point.

        A curated list must not be bypassed: it fails closed.
        """
        if (passed := passed_in_dry_run(healthy_deployments)) is not None:
            return passed
        kept: list[Any] = await self._filtered(model, healthy_deployments, messages, request_kwargs)
        if self.early_pool is None or not isinstance(request_kwargs, dict):
            return kept
        return await self.early_pool.choose(model, kept, request_kwargs, messages)

    async def _filtered(
        self, model: str, healthy_deployments: list[Any], messages: Any, request_kwargs: dict[str, Any] | None
    ) -> list[Any]:
        """Apply the hard filters."""
        if not isinstance(request_kwargs, dict):
            return healthy_deployments
        self.faults.guard("timer", self._timer.ensure_ticking, None)
        self.faults.guard("callback_order", lambda: put_in_order(self), None)
        state = CURRENT.get()
        if state is not None:
            state.call_id = state.call_id or call_id_of(request_kwargs)
        try:
            healthy_deployments = self.routers.in_group(model, healthy_deployments)
            if self._slug_unresolved(model, healthy_deployments):
                raise ExactoRefusedError(no_endpoints(model, "curated", "could not be evaluated", ()), model)
            return await self.routing.filter(model, healthy_deployments, request_kwargs, messages)
        except ExactoRefusedError as error:
            raise self.refused(error) from None

    def hard_filter_of(self, model: str, kwargs: Mapping[str, Any], healthy: Sequence[Any] = ()) -> str | None:
        """Return a hard filter that applies to this attempt, or None.

        Used where the routing itself failed or was not reached.
        """
        settings = self.context.settings
        if self._requires_curated(model, kwargs):
            return "curated"
        imposed = promised(settings, chain((model,), *map(groups_of, healthy)), kwargs)
        return imposed or (client_hard_filter(provider_in(kwargs)) if settings.client_preferences == "allow" else None)

    def _requires_curated(self, model: str, kwargs: Mapping[str, Any]) -> bool:
        state = CURRENT.get()
        suffixes = kwargs.get(SUFFIXES_KEY)
        if isinstance(suffixes, str):
            curated = "exacto" in suffixes.split(":")
        else:
            curated = state is not None and state.slugs.slug is not None and state.slugs.slug.curated
        return curated and self.context.settings.curated_list(model) is not None

    def _slug_unresolved(self, model: str, deployments: list[Any]) -> bool:
        """Return whether an unresolved ``:exacto`` slug would bypass its curated list.

        A slug reaches the router unresolved when a wildcard model group matches it.
        """
        base, *suffixes = model.split(":")
        if "exacto" not in suffixes or self.routers.knows_group(model):
            return False
        group = ":".join([base, *(suffix for suffix in suffixes if suffix not in SORTING_SUFFIXES)])
        listed = self.context.settings.curated_list(group) is not None
        return listed and not all(is_openrouter(deployment) for deployment in deployments)

    def refused(self, error: ExactoRefusedError) -> ExactoRefusedError:
        """Store ``error`` for the middleware, which sends it to the client, and return it."""
        group, name, telemetry = error.model or "", error.refusal.filter_name, self.context.telemetry
        self.faults.guard("telemetry", lambda: telemetry.refusal(group, name), None)
        state = CURRENT.get()
        if state is not None:
            state.routing.refusals.append(error.refusal)
            self.faults.guard("record", lambda: self._recorder.record_refusal(state), None)
        return error

    @fail_open("alias")
    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> dict[str, Any] | None:
        """Apply the key's or team's own aliases with suffixes and fallbacks."""
        state = CURRENT.get()
        if state is None:
            return None
        take_alias(data, user_api_key_dict, state)
        for router in self.routers.live:
            take_fallbacks(data, state, NameResolver(router))
        return data

    @fail_open("pre_call", otherwise=_sent_as_is)
    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        """Record the attempt, keep the original tools, remove the plugin's keys."""
        if is_health_check(kwargs):
            return without_our_keys(kwargs)
        details = _details(kwargs)
        try:
            state = self.record_attempt(kwargs)
        except ExactoRefusedError:
            self.faults.guard("pre_call", lambda: nobody_was_called(details), None)
            raise
        details |= {LOG_KEY: state, ATTEMPT_KEY: state.served_by}
        self.rescue.note_logging(kwargs.get("litellm_logging_obj"), state.served_by)
        keep_tools(details, kwargs)
        if "litellm_logging_obj" not in kwargs:  # a compiled call in a program (LITELLM_RUST): it has one later
            hand_over(state, kwargs)
        return without_our_keys(kwargs)

    def record_attempt(self, kwargs: dict[str, Any]) -> RequestState:
        """Record the attempt that LiteLLM is about to make.

        A previous attempt of the request has failed by then.
        """
        place = (metadata_of(kwargs).get("attempted_retries"), kwargs.get("fallback_depth"))
        before = CURRENT.get()
        previous = before.served_by if before is not None else None
        fresh = position_of(kwargs).is_first
        if before is not None and before.is_rescue_attempt:
            pass  # the same request calls another deployment, though nothing failed
        elif before is not None and before.sync.selected and is_pending_call(before, kwargs):
            before.sync.pending_tools = None  # a synchronous call that LiteLLM runs on a loop of its own
        elif (
            before is not None
            and previous is not None
            and fresh
            and not before.http
            and LOG_KEY not in _details(kwargs)
        ):
            # A program that calls LiteLLM directly, one request after the other in one task: this is the next request.
            CURRENT.set(None)
        elif previous is not None and previous.position != place and not fresh:
            # LiteLLM retries after a failure only, and does not report every failure: of streams only the first.
            self.scoring.record_failure(previous, None, "broken_stream")
        state = self.routing.record_attempt(kwargs)
        state.call_id = state.call_id or call_id_of(kwargs)
        attempt = state.served_by
        if attempt is not None and attempt.started_at is None:
            attempt.position = place
            attempt.streamed = kwargs.get("stream") is True
            attempt.started_at = datetime.now()  # noqa: DTZ005 -- LiteLLM's own times are naive, and this is compared to them
        return state

    @fail_open("rescue")
    async def async_post_call_success_deployment_hook(
        self, request_data: dict[str, Any], response: Any, call_type: Any
    ) -> None:
        """Note a whole answer; score it before the client gets it if it may be replaced.

        Changes nothing.
        """
        self.scoring.note_message(_details(request_data), response)
        self.scoring.note_answered(request_data)
        self.rescue.assess(request_data, response)

    @fail_open("score")
    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """Score a finished answer, whole or streamed; runs after the client has it."""
        self.faults.guard("timer", self._timer.ensure_ticking, None)
        self.scoring.record_answer(kwargs, response_obj, start_time, end_time)

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: dict[str, Any]) -> None:
        """Attach the state to LiteLLM's logging object if synchronous selection did not."""
        self.faults.guard("pre_call", lambda: attach_state(kwargs), None)

    def log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """Score a finished answer of a synchronous call; runs in a thread of LiteLLM's."""
        self.faults.guard("timer", self._timer.ensure_ticking, None)
        self.faults.guard(
            "score", lambda: self.scoring.record_answer_sync(kwargs, response_obj, start_time, end_time), None
        )

    def log_failure_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Record a failed synchronous attempt.

        A call that was refused before it was sent counts for no deployment.
        """
        if "api_call_start_time" in kwargs:
            self.faults.guard("score", lambda: self.scoring.record_failure_sync(kwargs), None)

    @fail_open("score")
    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """Record a failed attempt.

        Called once per attempt, but not for failures inside a stream.
        """
        if is_health_check(request_data) or isinstance(exception, ExactoRefusedError):
            return
        details = _details(request_data)
        attempt = attempt_of(details or request_data, request_data.get("model_info") or {})
        if attempt.direct and details and "api_call_start_time" not in details:
            return  # refused by LiteLLM before any deployment was called
        self.scoring.record_failure(attempt, exception)
        if not attempt.rescue:
            self.routing.failover.failed(exception)

    @fail_open("score")
    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """Record a stream that broke.

        LiteLLM calls this once per request, for its first failure.
        """
        error = kwargs.get("exception")
        if isinstance(error, BaseException) and kwargs.get("stream") and not is_health_check(kwargs):
            self.scoring.record_broken_stream(kwargs, error)

    @fail_open("score")
    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """Record a stream that broke after another attempt had failed.

        LiteLLM has no log event for it.
        """
        state = CURRENT.get()
        # Errors of the client's key, of a budget or of a guardrail are no evidence about the deployment.
        if state is not None and request_data.get("stream") and isinstance(original_exception, openai.APIError):
            self.scoring.record_last_failure(state, original_exception)


def call_id_of(kwargs: Mapping[str, Any]) -> str:
    """Return LiteLLM's id of the request, or an empty string.

    Its responses carry the id as ``x-litellm-call-id``.
    """
    return str(kwargs.get("litellm_call_id") or _details(kwargs).get("litellm_call_id") or "")


def _details(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return LiteLLM's ``model_call_details``, or an empty dictionary without them."""
    found = getattr(kwargs.get("litellm_logging_obj"), "model_call_details", None)
    return found if isinstance(found, dict) else {}

"""Rescue: replacement of an answer with a bad tool call before delivery.

Another deployment of the same model group is called. The two halves use two hook points. The answer is assessed in
LiteLLM's public hook after each deployment's answer (``async_post_call_success_deployment_hook``), because only there
it is in the provider's own form: on ``/v1/messages`` broken arguments are an empty object once LiteLLM has translated
them. The other deployment is called around ``Router.make_call``, which is one attempt inside LiteLLM's retry loop, on
every surface, on the proxy and in the SDK.

Why not one of LiteLLM's hooks alone (both tried on a real proxy):

* A ``CustomGuardrail`` that raises in that hook sends the request back into LiteLLM's retries. The first answer is lost
  then: when the other attempts fail too, the client gets an error instead of it. The answer is logged as a failure, so
  its cost and tokens are not counted, and LiteLLM puts its deployment into cooldown after a few of them.
* A hook that calls the router itself and returns the other answer is inside the first attempt: LiteLLM then logs only
  the other answer, as the first deployment's, whose ``max_parallel_requests`` slot stays occupied. The later
  ``async_post_call_success_hook`` exists only on the proxy, and runs after the headers' cost and deployment are read.

Around ``make_call`` the first answer is complete and correctly logged and stays available after any result of the
retry, which is an ordinary attempt with a log event of its own. The routing hooks select its deployment, as for every
attempt (:mod:`..routing`), and exclude those already tried.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.core.routing.rescue import AnswerQuality, RescueBudget, choose_answer
from exacto_plugin.litellm_hooks.background import run_in_thread
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request.attempts import RescueProgress
from exacto_plugin.litellm_hooks.request.call_details import CURRENT_ATTEMPT, RescuableAttempt
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState
from exacto_plugin.litellm_hooks.rescue.assessment import AnswerAssessment
from exacto_plugin.litellm_hooks.rescue.attempt_results import (
    AttemptResult,
    outcome_of,
    request_outcome,
    total_cost,
)
from exacto_plugin.litellm_hooks.rescue.retry_request import require_budget, retry_request
from exacto_plugin.litellm_hooks.rescue.stored_responses import StoredResponses
from exacto_plugin.litellm_hooks.scoring.failures import is_error_in_answer
from exacto_plugin.litellm_hooks.scoring.scorer import BROKEN_STREAM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.request.call_details import Again
    from exacto_plugin.litellm_hooks.routing.affinity import ConversationAffinity
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder
    from exacto_plugin.litellm_hooks.scoring.scorer import ResponseScorer

    Ask = Callable[[dict[str, Any]], Awaitable[Any]]
    """Makes one attempt with these arguments."""

_NAME: Final = "exacto-rescue"
_ABANDONED: Final[set[asyncio.Future[Any]]] = set()
"""Abandoned attempts, kept until they end: asyncio holds tasks only weakly."""


def _unchanged(_self: AnswerRescue, answer: Any, *_a: Any, **_k: Any) -> Any:
    return answer


class AnswerRescue(AnswerAssessment):
    """Assessment and replacement of answers. One per process, stateless.

    Args:
        context: of this process.
        recorder: records rescues.
        scoring: evaluates answers.
        affinity: moves a conversation to the stored answer that it got.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        context: Context,
        recorder: Recorder,
        scoring: ResponseScorer,
        affinity: ConversationAffinity,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(context, scoring)
        self._recorder = recorder
        self._stored = StoredResponses(affinity)
        self._clock = clock
        self.stream_of: Callable[[Any], Any] | None = None
        """Makes a stream of a whole chat completion; set with the patches."""

    # --- streams ---------------------------------------------------------------------------------------------------

    def scores_early(self, state: RequestState) -> bool:
        """Return whether a synchronous answer is assessed before its delivery."""
        return self._context.settings.rescue.enabled and self.may_rescue(state)

    def buffers_stream(self, state: RequestState) -> bool:
        """Return whether parts of the current stream are buffered."""
        settings = self._context.settings.rescue
        wanted = settings.enabled and settings.streams and state.rescue is None
        return wanted and self.may_rescue(state) and bool(self._untried(state) or settings.same_deployment)

    @property
    def hold_s(self) -> float:
        """Longest time that the beginning of a stream is held back."""
        return self._context.settings.rescue.hold_s

    def record_broken(self, attempt: Attempt, error: BaseException) -> None:
        """Record a stream that failed, before LiteLLM does, and assess it as broken."""
        self._scoring.record_failure(attempt, error, BROKEN_STREAM)
        attempt.quality = AnswerQuality(broken=True)

    @staticmethod
    def note_logging(logging: Any, attempt: Attempt | None) -> None:
        """Store LiteLLM's first logging object of an attempt, that of its surface."""
        asked = CURRENT_ATTEMPT.get()
        if asked is not None and (asked.logging is None or asked.made is not attempt):
            asked.logging, asked.details = logging, getattr(logging, "model_call_details", None)
            asked.made = attempt

    # --- retry -----------------------------------------------------------------------------------------------------

    async def attempt(self, ask: Ask, kwargs: dict[str, Any], again: Again | None = None) -> Any:
        """Make an attempt of LiteLLM, or a whole request, with rescue of a bad answer.

        Args:
            ask: makes the attempt.
            kwargs: arguments of the attempt.
            again: returns the arguments of a whole request changed to one attempt; None for an attempt.

        Raises:
            Exception: the error of the attempt itself; errors of rescue attempts are not raised.
        """
        state = CURRENT.get()
        if not self._context.settings.rescue.enabled or (state is not None and state.is_rescue_attempt):
            return await ask(kwargs)
        before = state.served_by if state is not None else None
        asked = RescuableAttempt(ask, kwargs, again=again)
        token = CURRENT_ATTEMPT.set(asked)
        failure: Exception | None = None
        answer = None
        try:
            answer = await ask(kwargs)
        except Exception as error:
            if not is_error_in_answer(error, streamed=False):
                raise
            failure = error
        finally:
            CURRENT_ATTEMPT.reset(token)
        state = CURRENT.get()
        bad = state.served_by if state is not None else None
        if failure is not None:
            return await self._after_error(failure, None if bad is before else bad, asked)
        if state is None or bad is None or bad is before:
            return answer
        if state.sync.selected:
            self.faults.guard("rescue", partial(self.assess_sync, state, asked, answer), None)
        if bad.quality is None or not bad.quality.bad:
            return answer
        return await self.replace_answer(answer, state, asked)

    async def _after_error(self, error: Exception, bad: Attempt | None, asked: RescuableAttempt) -> Any:
        """Return another answer in the place of an error with the status 200.

        Raises:
            Exception: that error, when there is none.
        """
        state, answer = CURRENT.get(), None
        streamed = bool(asked.kwargs.get("stream"))
        able = not streamed or (self._context.settings.rescue.streams and self.stream_of is not None)
        if able and state is not None and bad is not None and state.rescue is None and self.may_rescue(state):
            bad.quality = AnswerQuality(broken=True)
            answer = await self.replace_answer(None, state, asked)
        if answer is None or (streamed and (self.stream_of is None or not hasattr(answer, "choices"))):
            raise error
        return self.stream_of(answer) if streamed and self.stream_of is not None else answer

    @fail_open("rescue", otherwise=_unchanged)
    async def replace_answer(
        self,
        answer: Any,
        state: RequestState,
        asked: RescuableAttempt,
        *,
        text_welcome: bool = True,
        bound: bool = False,
        named: bool = False,
    ) -> Any:
        """Return another deployment's first usable answer; without one, ``answer``.

        Args:
            answer: the bad answer of the newest attempt.
            state: of the request.
            asked: that attempt.
            text_welcome: False when the client already has text of the bad answer.
            bound: True when the client has a part that no other deployment can read: no attempt is made.
            named: True when the client has the answer's id; no attempt is made where it leads back to the answer.
        """
        bad = state.served_by
        if bad is None or bad.quality is None:
            return answer
        budget = self._budget(bound=bound or (named and self._stored.is_fixed(bad, asked.kwargs)))
        rescuing = state.rescue = RescueProgress(bad)
        results, won, began = [AttemptResult(bad, answer, bad.quality, "not_asked")], 0, self._clock()
        try:
            while not won:
                left_s = budget.left_s(rescuing.attempts, self._clock() - began, self._others(state, rescuing))
                result = await self._next_result(asked, state, rescuing, left_s) if left_s else None
                if result is None:
                    break
                results.append(result)
                won = choose_answer([one.quality for one in results], allow_text=text_welcome)
        finally:
            # Also when the client has disconnected in the meantime.
            rescuing.answered_by = results[won].attempt
            rescuing.extra_cost = total_cost(one.attempt for number, one in enumerate(results) if number != won)
        self._record(state, rescuing, "rescued" if won else results[-1].outcome, self._clock() - began)
        return self._delivered(results[won], bad, asked.kwargs)

    def _delivered(self, best: AttemptResult, bad: Attempt, request: Mapping[str, Any]) -> Any:
        """Return the answer to deliver; after an error of the plugin as it came."""
        if best.attempt is bad:
            return best.answer
        deliver = partial(self._stored.deliver, best.answer, best.attempt, bad, request)
        return self.faults.guard("rescue", deliver, best.answer)

    def _record(self, state: RequestState, rescuing: RescueProgress, outcome: str, took_s: float) -> None:
        self.faults.guard("record", lambda: self._recorder.record_rescue(state, rescuing.extra_cost), None)
        self.faults.guard("telemetry", lambda: self._report(state, rescuing, outcome, took_s), None)

    def _budget(self, *, bound: bool) -> RescueBudget:
        settings = self._context.settings.rescue
        return RescueBudget(0 if bound else settings.max_attempts, settings.max_extra_seconds)

    async def _next_result(
        self, asked: RescuableAttempt, state: RequestState, rescuing: RescueProgress, left_s: float
    ) -> AttemptResult | None:
        """Ask another deployment.

        None when none is left, or when LiteLLM refused the call (a limit of the caller, for instance).
        """
        before = state.served_by
        task = await self._retry_elsewhere(asked, state, rescuing, left_s)
        newest = state.served_by
        if newest is None or newest is before:
            return None
        rescuing.attempts += 1
        outcome = outcome_of(task)
        if outcome == "too_late" and not newest.failure:
            newest.failure = "timeout"
        if outcome != "in_vain":
            return AttemptResult(newest, None, None, outcome)
        return AttemptResult(newest, task.result(), newest.quality, outcome)

    def _others(self, state: RequestState, rescuing: RescueProgress) -> int:
        """Return the number of deployments that may be asked, the same one included."""
        again = self._context.settings.rescue.same_deployment and not rescuing.same
        return len(self._untried(state)) or int(again)

    @staticmethod
    def _untried(state: RequestState) -> set[str]:
        """Return the ids of candidates that passed all filters and were not tried."""
        return set(state.routing.candidates) - state.tried

    async def _retry_elsewhere(
        self, asked: RescuableAttempt, state: RequestState, rescuing: RescueProgress, left_s: float
    ) -> asyncio.Future[Any]:
        """Call another deployment in a separate task for at most ``left_s`` seconds."""
        excluded: set[str] = {*state.tried}
        if not self._untried(state):
            rescuing.same = True
            excluded.discard(rescuing.replaced_attempt.candidate.id)
        kwargs = retry_request(asked.kwargs, excluded)
        again = RescuableAttempt(asked.call, kwargs if asked.again is None else asked.again(kwargs))

        async def ask() -> Any:
            async with require_budget(asked.kwargs):
                answer = await again.call(dict(again.kwargs))
            if state.sync.selected:
                self.assess_sync(state, again, answer)
            return answer

        context = copy_context()
        context.run(CURRENT.set, state)  # a stream may be read in another context than that of its request
        context.run(CURRENT_ATTEMPT.set, again)
        rescuing.in_progress = True
        task: asyncio.Future[Any]
        if state.sync.selected:  # LiteLLM's synchronous call blocks the event loop that runs it
            task = asyncio.wrap_future(run_in_thread(ask, context, _NAME))
        else:
            task = asyncio.get_running_loop().create_task(ask(), name=_NAME, context=context)
        task.add_done_callback(_forget)
        try:
            await asyncio.wait({task}, timeout=left_s)
        finally:
            rescuing.in_progress = False
            if not task.done():
                _ABANDONED.add(task)
                task.cancel()
        return task

    def _report(self, state: RequestState, rescuing: RescueProgress, outcome: str, seconds: float) -> None:
        """Count the rescue's outcome, and the request by the delivered answer."""
        telemetry = self._context.telemetry
        telemetry.rescue(state.model_group, outcome, seconds, rescuing.extra_cost if rescuing.attempts else None)
        judged = rescuing.answered_by.quality if rescuing.answered_by is not None else None
        if judged is not None:
            telemetry.request(request_outcome(judged, tools=state.tools))


def is_rescue_attempt() -> bool:
    """Return whether the rescue makes this attempt; it then causes no cooldown."""
    state = CURRENT.get()
    return state is not None and state.is_rescue_attempt


def _forget(task: asyncio.Future[Any]) -> None:
    _ABANDONED.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio logs no unretrieved exception

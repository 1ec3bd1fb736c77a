"""Rescue: when an answer's tool call is bad, ask another deployment of its model group before the client has it.

Two seams, one for each half. The answer is judged in LiteLLM's public hook after each deployment's answer
(``async_post_call_success_deployment_hook``), because only there it is as the provider gave it: on ``/v1/messages``
broken arguments are an empty object once LiteLLM has translated them. The other deployment is asked around
``Router.make_call``, which is one attempt inside LiteLLM's retry loop, on every surface, on the proxy and in the SDK.

Why not one of LiteLLM's hooks alone (both tried on a real proxy):

* A ``CustomGuardrail`` that raises in that hook sends the request back into LiteLLM's retries. The first answer is gone
  then: when the others fail too, the client gets an error instead of it. The answer is logged as a failure, so that its
  cost and tokens are not counted, and LiteLLM puts its deployment into cooldown after a few of them.
* A hook that asks the router itself and returns the other answer is inside the first attempt: LiteLLM goes on to log
  the other answer as the first deployment's, and the first answer not at all. The slot of the first deployment
  (``max_parallel_requests``) is held all the while. ``async_post_call_success_hook`` comes late enough, but only exists
  on the proxy, and there after the headers' cost and deployment have been read.

Around ``make_call`` the first answer is complete and logged as what it is, the second ask is an ordinary attempt with
a log event of its own, and whatever becomes of it, the first answer is still there.

Nothing here chooses a deployment: the routing hooks do, as for every attempt (:mod:`..routing`), without those tried.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.core.model import Mode
from exacto_plugin.core.routing.rescue import AnswerQuality, RescueBudget, choose_answer
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request.call_details import CURRENT_ATTEMPT, TOOLS_KEY, RescuableAttempt
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY, RequestState, RescueProgress
from exacto_plugin.litellm_hooks.rescue.retry_request import require_budget, retry_request
from exacto_plugin.litellm_hooks.run_in_thread import run_in_thread
from exacto_plugin.litellm_hooks.scoring.response import parse_response
from exacto_plugin.litellm_hooks.scoring.scorer import quality_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from exacto_plugin.litellm_hooks.request.state import Attempt
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
    from exacto_plugin.litellm_hooks.scoring.scorer import ResponseScorer

    Ask = Callable[[dict[str, Any]], Awaitable[Any]]
    """Makes one attempt with these arguments."""

_NAME: Final = "exacto-rescue"
_ABANDONED: Final[set[asyncio.Future[Any]]] = set()
"""Attempts that took too long; kept until they have ended, as asyncio keeps no task alive by itself."""


def _unchanged(_self: AnswerRescue, answer: Any, *_a: Any, **_k: Any) -> Any:
    return answer


class AnswerRescue:
    """Judges answers before the client has them, and replaces bad ones. One per process, no state of its own."""

    def __init__(self, runtime: Runtime, scoring: ResponseScorer, clock: Callable[[], float] = time.monotonic) -> None:
        self._runtime = runtime
        self._scoring = scoring
        self._clock = clock
        self.faults = runtime.faults

    # --- judging ---------------------------------------------------------------------------------------------------

    def assess(self, request_data: Mapping[str, Any], response: Any) -> None:
        """Judge an answer as its deployment gave it, where it could be rescued.

        LiteLLM asks innermost first where it serves one surface through another; the first to be asked is the
        provider's own form.
        """
        if not self._runtime.settings.rescue.enabled:
            return
        logging = request_data.get("litellm_logging_obj")
        details: Mapping[str, Any] = getattr(logging, "model_call_details", None) or {}
        state = details.get(LOG_KEY)
        if not isinstance(state, RequestState) or logging is None:
            return
        attempt = state.served_by
        if attempt is None or attempt.quality is not None or not self.may_rescue(state):
            return
        attempt.quality = self.quality(details, response)
        if attempt.quality.bad or attempt.rescue:
            attempt.cost = cost_of(logging, response, attempt)

    def quality(self, details: Mapping[str, Any], response: Any) -> AnswerQuality:
        """What an answer is worth, by the verdicts and the blame that it is scored with.

        Args:
            details: LiteLLM's ``model_call_details`` of the attempt, which carry the client's tools.
            response: a whole answer, in any surface's form.
        """
        answer = parse_response(details, response)
        evaluations, attribution = self._scoring.evaluate(details, details.get(TOOLS_KEY) or (), answer, response)
        return quality_of(answer, evaluations, attribution, response)

    def assess_sync(self, state: RequestState, asked: RescuableAttempt, response: Any) -> None:
        """Judge a whole answer of a synchronous call, for which LiteLLM has no hook.

        Args:
            state: of the request; its newest attempt brought the answer.
            asked: the attempt, as it was made.
            response: the answer, or a stream, which is judged when it has ended.
        """
        attempt = state.served_by
        if attempt is None or attempt.quality is not None or asked.details is None or not self.may_rescue(state):
            return
        if not hasattr(response, "choices"):
            return
        attempt.quality = self.quality(asked.details, response)
        attempt.cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost")

    def may_rescue(self, state: RequestState) -> bool:
        """Whether answers to this request may be replaced: there are tools, the router chose, tiers are applied.

        What only one deployment can read (a stored response, say) is not asked of others.
        """
        attempt, policy = state.served_by, state.policy
        if not state.tools or policy is None or attempt is None or not attempt.routed:
            return False
        applied = state.in_share and self._runtime.settings.mode_of(state.model_group) is Mode.APPLY
        return applied and policy.allow_fallbacks and state.provider_state is None

    def scores_early(self, state: RequestState) -> bool:
        """Whether the whole answer of a synchronous call is judged before the program has it."""
        return self._runtime.settings.rescue.enabled and self.may_rescue(state)

    def buffers_stream(self, state: RequestState) -> bool:
        """Whether the tool calls of the stream at hand are held back."""
        settings = self._runtime.settings.rescue
        wanted = settings.enabled and settings.streams and state.rescue is None
        return wanted and self.may_rescue(state) and bool(self._untried(state))

    @staticmethod
    def note_logging(logging: Any) -> None:
        """Remember LiteLLM's logging object of the attempt at hand; the first is the client's own surface's."""
        asked = CURRENT_ATTEMPT.get()
        if asked is not None and asked.logging is None:
            asked.logging, asked.details = logging, getattr(logging, "model_call_details", None)

    # --- asking ----------------------------------------------------------------------------------------------------

    async def attempt(self, ask: Ask, kwargs: dict[str, Any]) -> Any:
        """One attempt of LiteLLM's retry loop; its answer may come from another deployment.

        Args:
            ask: makes the attempt.
            kwargs: its arguments.

        Raises:
            Exception: what the attempt itself fails with; never anything from what was asked beyond it.
        """
        state = CURRENT.get()
        if not self._runtime.settings.rescue.enabled or (state is not None and state.is_rescue_attempt):
            return await ask(kwargs)
        before = state.served_by if state is not None else None
        asked = RescuableAttempt(ask, kwargs)
        token = CURRENT_ATTEMPT.set(asked)
        try:
            answer = await ask(kwargs)
        finally:
            CURRENT_ATTEMPT.reset(token)
        state = CURRENT.get()
        bad = state.served_by if state is not None else None
        if state is None or bad is None or bad is before:
            return answer
        if state.sync:
            self.faults.guard("rescue", partial(self.assess_sync, state, asked, answer), None)
        if bad.quality is None or not bad.quality.bad:
            return answer
        return await self.replace_answer(answer, state, asked)

    @fail_open("rescue", otherwise=_unchanged)
    async def replace_answer(
        self,
        answer: Any,
        state: RequestState,
        asked: RescuableAttempt,
        *,
        text_welcome: bool = True,
        bound: bool = False,
    ) -> Any:
        """The first answer that serves of other deployments; ``answer``, a bad one, when there is none.

        Args:
            answer: the bad answer, that of the state's newest attempt.
            state: of the request.
            asked: the attempt that brought it.
            text_welcome: False when the client has text of it already.
            bound: whether the client has something of it that no other deployment can read: then nobody is asked.
        """
        bad = state.served_by
        if bad is None or bad.quality is None:
            return answer
        settings = self._runtime.settings.rescue
        patience = RescueBudget(0 if bound else settings.max_attempts, settings.max_extra_seconds)
        rescuing = state.rescue = RescueProgress(bad)
        found = [_AttemptResult(bad, answer, bad.quality)]
        won, outcome, began = 0, "not_asked", self._clock()
        try:
            while not won:
                left_s = patience.left_s(rescuing.attempts, self._clock() - began, len(self._untried(state)))
                task = await self._retry_elsewhere(asked, state, rescuing, left_s) if left_s else None
                newest = state.served_by
                if task is None or newest is None or newest is found[-1].attempt:
                    break  # nobody is left to ask, or LiteLLM did not let us: a limit of the caller, say
                rescuing.attempts += 1
                outcome = _outcome(task)
                if outcome == "too_late" and not newest.failure:
                    newest.failure = "timeout"
                answered = outcome == "in_vain"
                found.append(
                    _AttemptResult(newest, task.result() if answered else None, newest.quality if answered else None)
                )
                judgements = [one.quality for one in found]
                won = choose_answer(judgements, allow_text=text_welcome)
        finally:
            # Also when the client has left meanwhile.
            rescuing.answered_by = found[won].attempt
            rescuing.extra_cost = _cost(one.attempt for number, one in enumerate(found) if number != won)
        became, took_s = "rescued" if won else outcome, self._clock() - began
        self.faults.guard("record", lambda: self._runtime.recorder.record_rescue(state, rescuing.extra_cost), None)
        self.faults.guard("telemetry", lambda: self._report(state, rescuing, became, took_s), None)
        return found[won].answer

    @staticmethod
    def _untried(state: RequestState) -> set[str]:
        """Who could be asked: what LiteLLM's constraints and the hard filters left, without those tried."""
        return set(state.candidates) - state.tried

    async def _retry_elsewhere(
        self, asked: RescuableAttempt, state: RequestState, rescuing: RescueProgress, left_s: float
    ) -> asyncio.Future[Any]:
        """Ask another deployment, in a task of its own, so that nothing it does can make the client wait longer."""
        again = RescuableAttempt(asked.call, retry_request(asked.kwargs, state.tried))

        async def ask() -> Any:
            async with require_budget(asked.kwargs):
                answer = await again.call(dict(again.kwargs))
            if state.sync:
                self.assess_sync(state, again, answer)
            return answer

        context = copy_context()
        context.run(CURRENT.set, state)  # a stream may be read in another context than it was asked for in
        context.run(CURRENT_ATTEMPT.set, again)
        rescuing.in_progress = True
        task: asyncio.Future[Any]
        if state.sync:  # LiteLLM's synchronous call blocks the loop that it is made on
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
        """Count what became of it; the request itself is counted here too, once, by the answer that was delivered."""
        telemetry = self._runtime.telemetry
        telemetry.rescue(state.model_group, outcome, seconds, rescuing.extra_cost if rescuing.attempts else None)
        judged = rescuing.answered_by.quality if rescuing.answered_by is not None else None
        if judged is not None:
            telemetry.request(judged.outcome.value if judged.outcome else "lost" if judged.lost else "no_call")


@dataclass(frozen=True, slots=True)
class _AttemptResult:
    """One attempt and what it brought; no answer and no judgement when it failed."""

    attempt: Attempt
    answer: Any
    quality: AnswerQuality | None


def cost_of(logging: Any, answer: Any, attempt: Attempt) -> float | None:
    """USD of an answer as LiteLLM counts it; None without a price.

    Args:
        logging: LiteLLM's logging object of the attempt.
        answer: whole.
        attempt: whose answer it is.
    """
    cost = logging.response_cost_calculator(result=answer, router_model_id=attempt.candidate.id)
    return float(cost) if isinstance(cost, (int, float)) else None


def _cost(attempts: Iterable[Attempt]) -> float | None:
    """USD of these attempts' answers, as far as known."""
    known = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return sum(known) if known else None


def is_rescue_attempt() -> bool:
    """Whether the attempt at hand is made for the sake of rescue: our call, not the client's, so nobody pays for it
    with a cooldown."""
    state = CURRENT.get()
    return state is not None and state.is_rescue_attempt


def _forget(task: asyncio.Future[Any]) -> None:
    _ABANDONED.discard(task)
    if not task.cancelled():
        task.exception()  # perhaps nobody asks for it


def _outcome(task: asyncio.Future[Any]) -> str:
    """What became of one more attempt, as far as it was not the rescue."""
    if not task.done() or task.cancelled():
        return "too_late"
    return "in_vain" if task.exception() is None else "failed"


def header_value(rescuing: RescueProgress, *, names: bool) -> dict[str, str]:
    """What response headers say of it: from whom, how many were asked beyond the first, what that cost.

    Args:
        rescuing: of the request.
        names: whether clients may see who serves.
    """
    pairs = {"x-exacto-rescue-attempts": str(rescuing.attempts)} if rescuing.attempts else {}
    if rescuing.answered_by not in (None, rescuing.replaced_attempt):
        pairs["x-exacto-rescued"] = rescuing.replaced_attempt.candidate.key if names else "true"
    if rescuing.attempts and rescuing.extra_cost is not None:
        pairs["x-exacto-rescue-cost"] = f"{rescuing.extra_cost:.9f}"
    return pairs

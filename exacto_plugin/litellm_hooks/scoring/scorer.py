"""The response side: samples and evaluations from log events.

Appends only; never reads or changes a snapshot, never changes an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Blame, Flaw, Outcome, Sample
from exacto_plugin.core.scoring.attribution import Attribution
from exacto_plugin.core.scoring.evaluator import worst
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY, offered_tools
from exacto_plugin.litellm_hooks.request.hops import metadata_of
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.scoring.answer_evaluation import evaluate_answer
from exacto_plugin.litellm_hooks.scoring.answer_sample import request_outcome, sample_of
from exacto_plugin.litellm_hooks.scoring.caller import caller_in, hashed
from exacto_plugin.litellm_hooks.scoring.failures import (
    ErrorInAnswerError,
    is_callers_fault,
    is_error_in_answer,
    is_refusal,
)
from exacto_plugin.litellm_hooks.scoring.log_event import (
    attempt_of,
    cost_in,
    model_info_of,
    request_limit_in,
)
from exacto_plugin.litellm_hooks.scoring.quality import quality_of
from exacto_plugin.litellm_hooks.scoring.response import is_health_check, parse_response
from exacto_plugin.litellm_hooks.scoring.seen_streams import attempt_in
from exacto_plugin.telemetry.attributes import OTHER_ERROR, error_type
from exacto_plugin.telemetry.spans import PARENT_SPAN, annotate_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from exacto_plugin.core.routing.rescue import AnswerQuality
    from exacto_plugin.core.scoring.evaluation import Evaluation
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.routing.affinity import ConversationAffinity
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder
    from exacto_plugin.litellm_hooks.runtime.samples import SampleSink
    from exacto_plugin.litellm_hooks.scoring.caller_preferences import PreferenceCounter
    from exacto_plugin.litellm_hooks.scoring.response import ParsedResponse

BROKEN_STREAM = "broken_stream"
"""The failure of a stream that had begun, where its error has no name of its own."""

_SKIPPED_TYPES = ("cache_hit", "client_disconnect")
"""Events that are no evidence about a deployment, not even about its speed."""


class ResponseScorer:
    """The scoring of answers and failures. One per process, without state.

    Args:
        context: of this process.
        lock: the engine's; LiteLLM logs some answers in threads.
        samples: gets each sample.
        recorder: records scored answers.
        affinity: keeps or releases conversations.
        preferences: counts those of callers.
    """

    def __init__(
        self,
        context: Context,
        lock: AbstractContextManager[object],
        samples: SampleSink,
        recorder: Recorder,
        affinity: ConversationAffinity,
        preferences: PreferenceCounter,
    ) -> None:
        self._context = context
        self._lock = lock
        self._samples = samples
        self._recorder = recorder
        self._affinity = affinity
        self._preferences = preferences

    def record_answer(self, kwargs: Mapping[str, Any], response: Any, start: datetime, end: datetime) -> None:
        """Record one finished answer: outcome, tokens, timing."""
        answer = parse_response(kwargs, response)
        if self._context.closed or answer.skip_reason == "health_check":
            return
        self._note_coverage(kwargs.get(LOG_KEY))
        tools: Sequence[Any] = kwargs.get(TOOLS_KEY) or ()
        attempt = attempt_of(kwargs, model_info_of(kwargs))
        if self._is_duplicate(attempt, response):
            return
        evaluations, attribution = self.evaluate(kwargs, tools, answer, response)
        self._samples.note_flaws(attribution, attempt.model_group, attempt.candidate)
        if answer.skip_reason in _SKIPPED_TYPES:
            self._context.telemetry.request(answer.skip_reason)
            self._put_on_span(kwargs, answer.skip_reason, attribution)
            return
        if attempt.started_at is not None:  # LiteLLM's events of streams start with the request, not with the attempt
            start = max(start, attempt.started_at)
        outcome = worst(evaluations)
        sample = sample_of(self._context, kwargs, answer, attempt, outcome, attribution, (start, end))
        self._record(sample, attempt)
        self._note_pairs(kwargs.get(LOG_KEY), attempt, sample)
        if (limit := request_limit_in(kwargs)) is not None:
            self._samples.note_limit(sample, attempt.candidate, limit)
        bad = sample.lost or (sample.outcome is not None and sample.outcome.is_bad)
        guard = self._context.faults.guard
        guard("affinity", lambda: self._affinity.note_answer(attempt, bad=bad), None)
        attempt.verdict = request_outcome(answer, tools, outcome, attribution)
        self._put_on_span(kwargs, attempt.verdict, attribution)
        attempt.cost = cost_in(kwargs) if attempt.cost is None else attempt.cost
        locate = partial(self._mismatch_place, kwargs, answer, evaluations)
        guard("record", lambda: self._put_on_record(kwargs, attempt, sample, locate, bad=bad), None)
        if tools:
            guard("choices", lambda: self._preferences.record(kwargs.get(LOG_KEY), sample.caller), None)
        self._context.telemetry.evaluations(attempt.model_group, attempt.candidate, evaluations)
        quality = attempt.quality
        if quality is None and attempt.is_scored_early:
            quality = quality_of(answer, evaluations, attribution, response)
        self._count(attempt, quality)

    def _count(self, attempt: Attempt, quality: AnswerQuality | None) -> None:
        """Count an answered attempt, and its request unless the rescue counts that.

        A rescued request is counted by the rescue: once, however many answers it took.
        """
        telemetry = self._context.telemetry
        if not (attempt.rescue or (quality is not None and quality.bad)):
            telemetry.request(attempt.verdict)
        telemetry.attempt(attempt.model_group, attempt.tier, None)

    def _note_coverage(self, state: object) -> None:
        """Count the first scored answer of an HTTP request with tools."""
        if isinstance(state, RequestState) and state.surface and not state.scored:
            state.scored = True
            self._context.coverage.scored(state.surface)

    def _is_duplicate(self, attempt: Attempt, response: Any) -> bool:
        """Return whether this very answer was logged before.

        LiteLLM logs synchronous Responses streams in two threads.
        """
        identity = getattr(response, "id", None)
        with self._lock:
            told, attempt.last_response_id = attempt.last_response_id, identity if isinstance(identity, str) else ""
        return bool(attempt.last_response_id) and attempt.last_response_id == told

    def evaluate(
        self, kwargs: Mapping[str, Any], tools: Sequence[Any], answer: ParsedResponse, response: Any
    ) -> tuple[tuple[Evaluation, ...], Attribution]:
        """Evaluate an answer's calls, none without tools, and attribute its flaws."""
        return evaluate_answer(self._context.evaluator, kwargs, tools, answer, response)

    def record_answer_sync(self, kwargs: Mapping[str, Any], response: Any, start: datetime, end: datetime) -> None:
        """Record one finished answer of a synchronous call.

        Of a direct call LiteLLM keeps the tools in its own form.
        """
        if TOOLS_KEY not in kwargs:
            optional: Mapping[str, Any] = kwargs.get("optional_params") or {}
            kwargs = {**kwargs, TOOLS_KEY: offered_tools({**optional, "input": kwargs.get("input")})}
        self.record_answer(kwargs, response, start, end)

    def record_failure(self, attempt: Attempt, error: BaseException | None, otherwise: str = OTHER_ERROR) -> None:
        """Record one failed attempt; a failure that LiteLLM reports twice counts once.

        Args:
            attempt: the failed attempt.
            error: its cause; None when LiteLLM gave none.
            otherwise: the name of an error without a status.
        """
        if attempt.ended:
            return
        attempt.ended = True
        attempt.failure = error_type(error, otherwise)
        if attempt.answered:
            return  # counted by its answer
        self._context.telemetry.attempt(attempt.model_group, attempt.tier, attempt.failure)
        if is_callers_fault(error):
            return
        self._context.faults.guard("affinity", lambda: self._affinity.note_failure(attempt), None)
        at = self._context.clock()
        group, key = attempt.model_group, attempt.candidate.key
        reported = is_error_in_answer(error, streamed=otherwise == BROKEN_STREAM)
        attribution = Attribution((Flaw.PROVIDER_ERROR,) if reported else (), Blame.PROVIDER)
        caller = caller_in(attempt.metadata)
        self._samples.note_flaws(attribution, group, attempt.candidate)
        sample = Sample(
            group,
            key,
            at,
            ok=False,
            flaws=attribution.flaws,
            blame=Blame.PROVIDER,
            streamed=attempt.streamed,
            routed=attempt.routed,
            probe=attempt.probe,
            caller=hashed(caller.key, self._context.salt),
            account=hashed(caller.account, self._context.salt),
            refused=is_refusal(error),
        )
        self._record(sample, attempt)
        self._note_pairs(CURRENT.get(), attempt, sample)

    def note_answered(self, request_data: Mapping[str, Any]) -> None:
        """Note the arrival of a whole answer, which LiteLLM may fail to convert."""
        details = getattr(request_data.get("litellm_logging_obj"), "model_call_details", None) or {}
        state = details.get(LOG_KEY)
        if isinstance(state, RequestState) and state.served_by is not None:
            state.served_by.answered = True

    def record_error_in_stream(self, attempt: Attempt) -> None:
        """Record the error that a provider reported in a stream; LiteLLM may not log it."""
        self.record_failure(attempt, ErrorInAnswerError(), BROKEN_STREAM)

    def note_message(self, details: Mapping[str, Any], response: Any) -> None:
        """Note what LiteLLM's log event of a whole Messages answer leaves out.

        It has no stop reason of the provider's, and for an error, or an answer without usage, there is none at all.

        Args:
            details: LiteLLM's ``model_call_details``.
            response: the answer in the form of any surface; all but Messages answers are left out.
        """
        attempt = attempt_in(details)
        if attempt is None or not isinstance(response, Mapping) or response.get("type") not in ("message", "error"):
            return
        if response.get("type") == "error":
            self.record_failure(attempt, ErrorInAnswerError())
        elif isinstance(reason := response.get("stop_reason"), str):
            attempt.finish_reasons.add(reason)
            if not response.get("usage"):
                missing = Attribution((Flaw.NO_USAGE,), Blame.PROVIDER)
                self._samples.note_flaws(missing, attempt.model_group, attempt.candidate)

    def record_failure_sync(self, details: Mapping[str, Any]) -> None:
        """Record a failed attempt of a synchronous call from its only log event.

        Args:
            details: LiteLLM's ``model_call_details``.
        """
        if is_health_check(details):
            return
        error = details.get("exception")
        otherwise = BROKEN_STREAM if details.get("stream") else OTHER_ERROR
        self.record_failure(attempt_of(details, model_info_of(details)), error, otherwise)

    def record_sync_failure(self, error: BaseException) -> None:
        """Record a synchronous attempt's failure as soon as its request gets the error.

        LiteLLM logs it in a thread, perhaps when the next attempt has already begun.
        """
        state = CURRENT.get()
        if state is not None and state.sync.selected and state.attempts:
            self.record_failure(state.attempts[-1], error)

    def record_broken_stream(self, details: Mapping[str, Any], error: BaseException) -> None:
        """Record a stream that failed after it had begun.

        LiteLLM logs only the first failure of a request, and perhaps when the next attempt has already begun, so the
        event itself does not identify its attempt: it is the only one, unless another had failed before.

        Args:
            details: LiteLLM's ``model_call_details``.
            error: its cause.
        """
        state = details.get(LOG_KEY)
        if not isinstance(state, RequestState) or not state.attempts:
            self.record_failure(attempt_of(details, model_info_of(details)), error, BROKEN_STREAM)
        elif not any(attempt.ended for attempt in state.attempts):
            self.record_failure(state.attempts[-1], error, BROKEN_STREAM)

    def record_last_failure(self, state: RequestState, error: BaseException) -> None:
        """Record the failure of a whole streamed request as that of its last attempt.

        Earlier log events do not matter.
        """
        if state.attempts:
            self.record_failure(state.attempts[-1], error, BROKEN_STREAM)

    def _record(self, sample: Sample, attempt: Attempt) -> None:
        if attempt.direct:
            self._samples.record_direct_call(sample)
        self._samples.record(sample, attempt.candidate)

    def _note_pairs(self, state: object, attempt: Attempt, sample: Sample) -> None:
        """Compare an attempt with the others of its request; never by a caller's fault."""
        if not isinstance(state, RequestState) or sample.blame not in (None, Blame.PROVIDER):
            return
        if state.served_by is attempt or any(one is attempt for one in state.attempts):
            note = partial(self._samples.note_pairs, attempt, state.attempts, sample)
            self._context.faults.guard("pairs", note, None)

    def _put_on_span(self, kwargs: Mapping[str, Any], outcome: str, attribution: Attribution) -> None:
        span = metadata_of(kwargs.get("litellm_params") or {}).get(PARENT_SPAN)
        self._context.faults.guard("telemetry", lambda: annotate_answer(span, outcome, attribution), None)

    def _put_on_record(
        self, kwargs: Mapping[str, Any], attempt: Attempt, sample: Sample, locate: Callable[[], str], *, bad: bool
    ) -> None:
        state = kwargs.get(LOG_KEY)
        known = state if isinstance(state, RequestState) else None
        self._recorder.record_answer(known, attempt, tools=sample.tools_offered, bad=bad, locate=locate)

    def _mismatch_place(
        self, kwargs: Mapping[str, Any], answer: ParsedResponse, evaluations: Sequence[Evaluation]
    ) -> str:
        """Return where the first mismatching call violates its schema; empty if none does."""
        places = (number for number, one in enumerate(evaluations) if one.outcome is Outcome.SCHEMA_MISMATCH)
        number = next(places, None)
        if number is None:
            return ""
        call = answer.calls[number]
        return self._context.evaluator.evaluate(call, kwargs.get(TOOLS_KEY) or (), explain=True).schema_path

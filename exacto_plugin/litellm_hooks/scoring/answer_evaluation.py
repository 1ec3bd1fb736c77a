"""Evaluates a whole answer: its calls, and the attribution of its flaws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.attribution import FLAWLESS, Ending, attribute
from exacto_plugin.core.scoring.broken_answers import content_flaws, with_content_flaws
from exacto_plugin.core.scoring.leaked_calls import find_leaked_calls, lost_calls, may_have_call
from exacto_plugin.litellm_hooks.scoring.answer_content import content_expectations
from exacto_plugin.litellm_hooks.scoring.request_tools import choice_in, expectations_of
from exacto_plugin.litellm_hooks.scoring.response import texts_of
from exacto_plugin.litellm_hooks.scoring.sent_request import SentRequest
from exacto_plugin.litellm_hooks.scoring.short_names import with_short_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.scoring.attribution import Attribution
    from exacto_plugin.core.scoring.evaluation import Evaluation
    from exacto_plugin.core.scoring.evaluator import Evaluator
    from exacto_plugin.core.scoring.leaked_calls import LeakedCall
    from exacto_plugin.litellm_hooks.scoring.response import ParsedResponse

_ATTRIBUTED = ("", "client_disconnect", "cut_short")
"""Skip reasons of answers whose flaws are counted.

These are scored answers, and answers that a party other than the provider ended.
"""
_FREE = (None, "auto")
"""Tool choices that require nothing."""


def evaluate_answer(
    evaluator: Evaluator, details: Mapping[str, Any], tools: Sequence[Any], answer: ParsedResponse, response: Any
) -> tuple[tuple[Evaluation, ...], Attribution]:
    """Evaluate an answer's calls, none without tools, and attribute its flaws.

    Args:
        evaluator: of the calls.
        details: LiteLLM's ``model_call_details`` of the request.
        tools: as the client sent them.
        answer: the parsed response.
        response: the response itself.
    """
    evaluations, attribution = _evaluate_calls(evaluator, details, tools, answer, response)
    if answer.content is None:
        return evaluations, attribution
    flaws = content_flaws(answer.content, content_expectations(details))
    return evaluations, with_content_flaws(attribution, flaws)


def _evaluate_calls(
    evaluator: Evaluator, details: Mapping[str, Any], tools: Sequence[Any], answer: ParsedResponse, response: Any
) -> tuple[tuple[Evaluation, ...], Attribution]:
    if not tools or answer.skip_reason not in _ATTRIBUTED:
        return (), FLAWLESS
    evaluations: tuple[Evaluation, ...] = ()
    lost: list[LeakedCall] = []
    if not answer.skip_reason:
        evaluations = _verdicts(evaluator, details, tools, answer)
        texts = texts_of(response, answer.calls) if answer.texts is None else answer.texts
        if signed := [text for text in texts if may_have_call(text)]:
            written = with_short_names(tools)
            leaks = [leak for text in signed for leak in find_leaked_calls(text, written)]
            lost = lost_calls(leaks, answer.calls)
        if not lost and _is_flawless(details, answer, evaluations):
            return evaluations, FLAWLESS
    return evaluations, attribute(expectations_of(details, tools), answer.observed(lost), evaluations)


def _verdicts(
    evaluator: Evaluator, details: Mapping[str, Any], tools: Sequence[Any], answer: ParsedResponse
) -> tuple[Evaluation, ...]:
    """Evaluate the calls of an answer.

    Tools that the request brings by other means than its list matter for unknown names only, and are then read.
    """
    found = evaluator.evaluate_all(answer.calls, tools) if answer.calls else ()
    if any(one.outcome is Outcome.UNKNOWN_NAME for one in found) and SentRequest(details).opens_tools:
        return evaluator.evaluate_all(answer.calls, tools, open_set=True)
    return found


def _is_flawless(details: Mapping[str, Any], answer: ParsedResponse, evaluations: Sequence[Evaluation]) -> bool:
    """Check for an answer of which ``attribute`` finds no flaw.

    Only where the request leaves the choice free. Nearly all answers are such ones; to ask here saves 8 us of
    processor time.
    """
    if answer.ending is Ending.CALLS:
        if not (answer.calls or answer.others):
            return False
    elif answer.ending is not Ending.STOP:
        return False
    return not answer.duplicate_ids and all(one.flaw is None for one in evaluations) and choice_in(details) in _FREE

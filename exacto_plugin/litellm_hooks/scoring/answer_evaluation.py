"""Evaluates a whole answer: its calls, and the attribution of its flaws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.scoring.attribution import Attribution, attribute
from exacto_plugin.core.scoring.broken_answers import content_flaws, with_content_flaws
from exacto_plugin.core.scoring.leaked_calls import find_leaked_calls, lost_calls
from exacto_plugin.litellm_hooks.scoring.answer_content import content_expectations
from exacto_plugin.litellm_hooks.scoring.request_tools import expectations_of
from exacto_plugin.litellm_hooks.scoring.response import texts_of
from exacto_plugin.litellm_hooks.scoring.sent_request import SentRequest
from exacto_plugin.litellm_hooks.scoring.short_names import with_short_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.scoring.evaluation import Evaluation
    from exacto_plugin.core.scoring.evaluator import Evaluator
    from exacto_plugin.core.scoring.leaked_calls import LeakedCall
    from exacto_plugin.litellm_hooks.scoring.response import ParsedResponse

_ATTRIBUTED = ("", "client_disconnect", "cut_short")
"""Skip reasons of answers whose flaws are counted.

These are scored answers, and answers that a party other than the provider ended.
"""


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
        return (), Attribution()
    evaluations: tuple[Evaluation, ...] = ()
    lost: list[LeakedCall] = []
    if not answer.skip_reason:
        opened = SentRequest(details).opens_tools
        evaluations = evaluator.evaluate_all(answer.calls, tools, open_set=opened)
        if texts := [*texts_of(response, answer.calls)]:
            written = with_short_names(tools)
            leaks = [leak for text in texts for leak in find_leaked_calls(text, written)]
            lost = lost_calls(leaks, answer.calls)
    return evaluations, attribute(expectations_of(details, tools), answer.observed(lost), evaluations)

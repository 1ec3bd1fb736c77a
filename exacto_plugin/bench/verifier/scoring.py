"""Scores replayed answers exactly as answers of traffic are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from litellm import ModelResponse

from exacto_plugin.core.model import DeploymentKey, Sample
from exacto_plugin.core.scoring.evaluator import Evaluator, worst
from exacto_plugin.core.windows.increments import FAULTS, CounterKind, increments_of
from exacto_plugin.litellm_hooks.request.call_details import CHOICE_KEY, TOOLS_KEY, choice_of
from exacto_plugin.litellm_hooks.scoring.answer_evaluation import evaluate_answer
from exacto_plugin.litellm_hooks.scoring.response import parse_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.config.settings import Settings


class ScoredAnswer(NamedTuple):
    """Counts of one answer."""

    called: bool
    """It has a tool call that was evaluated, or lost."""
    bad: bool
    flaws: tuple[str, ...]
    input_tokens: int
    output_tokens: int


class AnswerScorer:
    """Scorer of answers by the settings that traffic is scored by.

    Args:
        settings: those of the proxy.
    """

    def __init__(self, settings: Settings) -> None:
        self._evaluator = Evaluator(settings.scoring.engine, settings.empty_arguments)
        self._charge = settings.charge
        losses = ",".join(sorted(flaw.value for flaw in self._charge.losses))
        self.name = f"1 {settings.empty_arguments.value} {losses} {self._charge.excuses_callers}"
        """Name of the way of scoring: scores of different ones are not compared."""

    def score(self, body: Mapping[str, Any], answer: Mapping[str, Any]) -> ScoredAnswer:
        """Score the answer of a request.

        Args:
            body: the request, in the form of chat completions.
            answer: the response's JSON.
        """
        tools = body.get("tools") or ()
        details: dict[str, Any] = {
            "call_type": "acompletion",
            "messages": body["messages"],
            "optional_params": {key: value for key, value in body.items() if key != "messages"},
            TOOLS_KEY: tools,
            CHOICE_KEY: choice_of(body),
        }
        response = ModelResponse(**answer)
        parsed = parse_response(details, response)
        evaluations, attribution = evaluate_answer(self._evaluator, details, tools, parsed, response)
        outcome, lost = self._charge.charged_outcome(worst(evaluations), attribution)
        offered = bool(tools) and not parsed.skip_reason
        sample = Sample("", DeploymentKey(""), 0.0, tools_offered=offered, outcome=outcome, lost=lost)
        counts = increments_of(sample, 0).counts
        bad = any(kind in counts for kind in (*FAULTS, CounterKind.LOST))
        used = answer.get("usage") or {}
        return ScoredAnswer(
            bad or CounterKind.CALLED in counts,
            bad,
            tuple(flaw.value for flaw in attribution.flaws),
            int(used.get("prompt_tokens") or 0),
            int(used.get("completion_tokens") or 0),
        )

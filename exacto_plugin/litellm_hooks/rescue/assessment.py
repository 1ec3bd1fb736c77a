"""The assessment of answers that may be replaced, before their delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Mode
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.rescue.attempt_results import cost_of
from exacto_plugin.litellm_hooks.scoring.quality import quality_of
from exacto_plugin.litellm_hooks.scoring.response import parse_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.routing.rescue import AnswerQuality
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.request.call_details import RescuableAttempt
    from exacto_plugin.litellm_hooks.scoring.scorer import ResponseScorer


class AnswerAssessment:
    """The answers that may be replaced, and their quality.

    Args:
        context: of this process.
        scoring: evaluates answers.
    """

    def __init__(self, context: Context, scoring: ResponseScorer) -> None:
        self._context = context
        self._scoring = scoring
        self.faults = context.faults

    def assess(self, request_data: Mapping[str, Any], response: Any) -> None:
        """Assess an answer in its provider's form, where it could be rescued.

        Where one surface is served through another, LiteLLM's first call of the hook has the provider's own form.
        """
        if not self._context.settings.rescue.enabled:
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
        """Return the quality of an answer, from its evaluations and attribution.

        Args:
            details: LiteLLM's ``model_call_details`` of the attempt, which carry the client's tools.
            response: a whole answer, in any surface's form.
        """
        answer = parse_response(details, response)
        evaluations, attribution = self._scoring.evaluate(details, details.get(TOOLS_KEY) or (), answer, response)
        return quality_of(answer, evaluations, attribution, response)

    def assess_sync(self, state: RequestState, asked: RescuableAttempt, response: Any) -> None:
        """Assess a whole answer of a synchronous call, for which LiteLLM has no hook.

        Args:
            state: state of the request; its newest attempt produced the answer.
            asked: the attempt.
            response: the answer, or a stream, which is assessed when it has ended.
        """
        attempt = state.served_by
        if attempt is None or attempt.quality is not None or asked.details is None or not self.may_rescue(state):
            return
        if not hasattr(response, "choices"):
            return
        attempt.quality = self.quality(asked.details, response)
        attempt.cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost")

    @property
    def is_enabled(self) -> bool:
        """True when the settings allow rescue at all."""
        return self._context.settings.rescue.enabled

    def may_rescue(self, state: RequestState) -> bool:
        """Return whether answers to this request may be replaced.

        Requires a deployment selected by the router, applied tiers, fallbacks and no provider-bound state.
        """
        attempt, policy = state.served_by, state.routing.policy
        if policy is None or attempt is None or not attempt.routed:
            return False
        applied = state.affinity.in_share and self._context.settings.mode_of(state.model_group) is Mode.APPLY
        return applied and policy.allow_fallbacks and state.affinity.provider_state is None

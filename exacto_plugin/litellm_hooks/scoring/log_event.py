"""The facts in LiteLLM's log event of an answer or a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of, litellm_id
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.state import ATTEMPT_KEY, LOG_KEY, RequestState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Candidate

_LIMIT_HEADERS = (
    "llm_provider-x-ratelimit-limit-requests",
    "llm_provider-anthropic-ratelimit-requests-limit",
)
"""LiteLLM's names of the provider's headers; those without prefix may be LiteLLM's own."""

_MOST_TOKENS = 10**9
"""A hundred times the largest context.

A larger number is an error of its source, and an unbounded integer does not fit a float.
"""

_MOST_DIGITS = 9


def attempt_of(details: Mapping[str, Any], model_info: Mapping[str, Any]) -> Attempt:
    """Return the attempt that an event is about: the newest on that deployment.

    Args:
        details: LiteLLM's ``model_call_details``.
        model_info: of the deployment.
    """
    attempt = details.get(ATTEMPT_KEY)
    if isinstance(attempt, Attempt) and attempt.model_group:
        return attempt
    called_id = litellm_id({"model_info": model_info})
    state = details.get(LOG_KEY)
    if attempt is None and isinstance(state, RequestState):
        attempt = state.newest_attempt(called_id)
    if isinstance(attempt, Attempt):
        if not attempt.model_group:  # a direct call, of which LiteLLM's events have more data than its hooks
            attempt.candidate, attempt.model_group = _named(details, model_info)
            attempt.routed = attempt.direct = True
        return attempt
    # A direct call pins no deployment: there is no router that could have chosen another one.
    return Attempt(*_named(details, model_info), routed=not called_id, direct=not called_id)


def _named(details: Mapping[str, Any], model_info: Mapping[str, Any]) -> tuple[Candidate, str]:
    """Return the called deployment and its model group from LiteLLM's log event.

    Of a direct call the model takes the place of the model group.
    """
    params = {**(details.get("litellm_params") or {}), "model": details.get("model")}
    params["custom_llm_provider"] = details.get("custom_llm_provider") or params.get("custom_llm_provider")
    payload: Mapping[str, Any] = details.get("standard_logging_object") or {}
    group = str(payload.get("model_group") or details.get("model") or "")
    return candidate_of({"litellm_params": params, "model_info": model_info}), group


def model_info_of(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``model_info`` of the called deployment; empty for a direct call."""
    return (kwargs.get("litellm_params") or {}).get("model_info") or {}


def cost_in(kwargs: Mapping[str, Any]) -> float | None:
    """Return the USD of an answer as LiteLLM counts them; None without a price."""
    payload: Mapping[str, Any] = kwargs.get("standard_logging_object") or {}
    cost = payload.get("response_cost")
    return float(cost) if isinstance(cost, int | float) and cost > 0 else None


def tokens_in(kwargs: Mapping[str, Any], kind: str) -> int:
    """Return a number of tokens; zero for one that is missing or cannot be right."""
    payload: Mapping[str, Any] = kwargs.get("standard_logging_object") or {}
    tokens = payload.get(kind)
    return tokens if isinstance(tokens, int) and 0 <= tokens <= _MOST_TOKENS else 0


def request_limit_in(kwargs: Mapping[str, Any]) -> float | None:
    """Return the requests a minute that the provider's headers allow, or None."""
    payload: Mapping[str, Any] = kwargs.get("standard_logging_object") or {}
    hidden: Mapping[str, Any] = payload.get("hidden_params") or {}
    headers: Mapping[str, Any] = hidden.get("additional_headers") or {}
    if not headers:
        return None
    told = next((headers[name] for name in _LIMIT_HEADERS if name in headers), None)
    digits = str(told)
    return float(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS and int(digits) > 0 else None

"""Parameters that a request sends and that a deployment supports.

Used for ``require_parameters``. The operator's ``model_info.supported_parameters`` takes precedence over LiteLLM's
knowledge of the provider. A parameter with several names on several surfaces has one canonical name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import litellm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exacto_plugin.core.model import Candidate

_NAMES: Mapping[str, str] = {
    **{
        name: name
        for name in (
            "temperature", "top_p", "top_k", "top_a", "min_p", "frequency_penalty", "presence_penalty",
            "repetition_penalty", "stop", "seed", "max_tokens", "n", "logit_bias", "logprobs", "top_logprobs",
            "response_format", "structured_outputs", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
            "include_reasoning", "verbosity", "prediction", "modalities", "audio", "web_search_options",
        )
    },
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
    "functions": "tools",
    "function_call": "tool_choice",
    "reasoning_effort": "reasoning",
    "thinking": "reasoning",
}  # fmt: skip
"""Canonical name of each parameter that changes an answer.

Names of OpenAI on every surface, of Anthropic, and those that OpenRouter lists under ``supported_parameters``. Other
keys of a request are no parameters of the model."""


def canonical(names: Iterable[object]) -> frozenset[str]:
    """Return the canonical names of the parameters among some names."""
    return frozenset(_NAMES[name] for name in names if isinstance(name, str) and name in _NAMES)


def sent_parameters(kwargs: Mapping[str, Any], *, offers_tools: bool) -> tuple[str, ...]:
    """Return the parameters that a request sends, sorted.

    Args:
        kwargs: the request as LiteLLM routes it; null means not sent.
        offers_tools: True for a request with tools, wherever it has them: a Responses request may in its input.
    """
    extra = kwargs.get("extra_body")
    asked = {**(extra if isinstance(extra, Mapping) else {}), **kwargs}
    sent = set(canonical(name for name, value in asked.items() if value is not None))
    sent |= {"tools"} if offers_tools else set()
    text = asked.get("text")  # its name in the Responses API
    form = asked.get("response_format") or (text.get("format") if isinstance(text, Mapping) else None)
    kind = form.get("type") if isinstance(form, Mapping) else None
    sent.discard("response_format")
    if kind == "json_object":
        sent.add("response_format")
    elif form is not None and kind != "text":
        sent.add("structured_outputs")  # following a schema is more than answering in JSON
    return tuple(sorted(sent))


def supported_parameters(litellm_params: Mapping[str, Any]) -> frozenset[str]:
    """Return the parameters that LiteLLM lists as supported by a deployment.

    Empty for an unknown provider.
    """
    return _known(str(litellm_params.get("model") or ""), litellm_params.get("custom_llm_provider"))


def informed(candidate: Candidate, litellm_params: Mapping[str, Any]) -> Candidate:
    """Fill in a candidate's supported parameters.

    Those that the operator declared, else those that LiteLLM lists.
    """
    if candidate.parameters is not None:
        return candidate
    return replace(candidate, parameters=supported_parameters(litellm_params))


@lru_cache(maxsize=4096)
def _known(model: str, provider: str | None) -> frozenset[str]:
    try:
        name, provider, *_ = litellm.get_llm_provider(model, custom_llm_provider=provider)
    except litellm.BadRequestError:
        return frozenset()
    known = canonical(litellm.get_supported_openai_params(name, provider) or ())
    return known | {"structured_outputs"} if "response_format" in known else known

"""``require_parameters``: which parameters a request sends, and which ones a deployment is known to support.

What the operator declares in ``model_info.supported_parameters`` counts, else what LiteLLM knows of the provider. One
parameter has several names on several surfaces; here each has one.
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
"""Parameters that change an answer, by each of their names: OpenAI's on every surface, Anthropic's, and those that
OpenRouter lists under ``supported_parameters``. Everything else in a request is no parameter of the model."""


def canonical(names: Iterable[object]) -> frozenset[str]:
    """The parameters among some names, each under its one name."""
    return frozenset(_NAMES[name] for name in names if isinstance(name, str) and name in _NAMES)


def sent_parameters(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that a request sends, sorted.

    Args:
        kwargs: the request as LiteLLM routes it; null means not sent.
    """
    extra = kwargs.get("extra_body")
    asked = {**(extra if isinstance(extra, Mapping) else {}), **kwargs}
    sent = set(canonical(name for name, value in asked.items() if value is not None))
    text = asked.get("text")  # the Responses API's place for it
    form = asked.get("response_format") or (text.get("format") if isinstance(text, Mapping) else None)
    kind = form.get("type") if isinstance(form, Mapping) else None
    sent.discard("response_format")
    if kind == "json_object":
        sent.add("response_format")
    elif form is not None and kind != "text":
        sent.add("structured_outputs")  # following a schema is more than answering in JSON
    return tuple(sorted(sent))


def supported_parameters(litellm_params: Mapping[str, Any]) -> frozenset[str]:
    """The parameters that LiteLLM knows a deployment to support; none when it does not know the provider."""
    return _known(str(litellm_params.get("model") or ""), litellm_params.get("custom_llm_provider"))


def informed(candidate: Candidate, litellm_params: Mapping[str, Any]) -> Candidate:
    """A candidate that knows its parameters: those that the operator declared, else what LiteLLM knows."""
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

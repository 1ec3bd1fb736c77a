"""Provider-bound state of a request: encrypted reasoning, stored responses.

Only the deployment that created such state can read it. LiteLLM writes the deployment into the ids of stored responses,
and into encrypted items where its own check for them is on; the ids of a rescued stored response's items have it too.
Elsewhere the conversation's affinity entry gives the deployment. Reads markers, never the content.

A pointer to a stored response binds nothing where no provider stores any: LiteLLM then translates the Responses API to
chat completions, and follows the pointer itself.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from litellm.responses import main as responses_main
from litellm.responses.utils import ResponsesAPIRequestUtils

from exacto_plugin.core.model import LiteLLMId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ENCRYPTED_BLOCKS = ("redacted_thinking", "reasoning.encrypted", "thinking")
"""Block types of Anthropic and of OpenRouter's ``reasoning_details``.

``thinking`` counts only with a signature. A tuple, since a client may send a list as a type, and a set cannot be
searched for a list."""

_STATE_FIELDS = ("content", "thinking_blocks", "reasoning_details")
"""Fields of a chat or Anthropic message that hold such blocks."""

_ENDPOINT = "/v1/responses"

_LATEST = 32
"""Number of newest messages that are searched.

A client that returns encrypted reasoning sends it in the newest turns.
"""


class ProviderState(NamedTuple):
    """Provider-bound state of one request."""

    deployment: LiteLLMId = LiteLLMId("")
    """LiteLLM's id of the deployment, where the state names it; else empty."""
    releasable: bool = False
    """True when LiteLLM's own check handles the state.

    That check removes the encryption when the deployment is not available.
    """
    is_pointer: bool = False
    """True for a pointer to what a provider stores."""


def provider_state_of(kwargs: Mapping[str, Any], messages: Sequence[Any] | None) -> ProviderState | None:
    """Return the provider-bound state of a request.

    None when any deployment may serve it.

    Args:
        kwargs: the request as LiteLLM routes it.
        messages: messages of a chat or Anthropic request that are not in ``kwargs``.
    """
    previous = kwargs.get("previous_response_id")
    if isinstance(previous, str) and previous:
        named = ResponsesAPIRequestUtils.get_model_id_from_response_id(previous)
        return ProviderState(LiteLLMId(named or ""), is_pointer=True)
    items = kwargs.get("input")
    if isinstance(items, list):
        found = [state for item in reversed(items) if (state := _state_of_item(item)) is not None]
        # All of it is the same deployment's: where the newest does not name it, an older one may.
        return next((state for state in found if state.deployment), found[0] if found else None)
    said = messages or kwargs.get("messages")
    if isinstance(said, list) and any(_is_encrypted(message) for message in said[-_LATEST:]):
        return ProviderState()
    return None


def _state_of_item(item: Any) -> ProviderState | None:
    if not isinstance(item, dict):
        return None
    sealed, name = item.get("encrypted_content"), item.get("id")
    decoded = ResponsesAPIRequestUtils.decode_encrypted_item_id(name) if isinstance(name, str) else None
    named = (decoded or {}).get("model_id") or ""
    if isinstance(sealed, str) and sealed:
        found, _ = ResponsesAPIRequestUtils.unwrap_encrypted_content_with_model_id(sealed)
        deployment = LiteLLMId(found or named)
        return ProviderState(deployment, releasable=bool(deployment))
    return ProviderState(LiteLLMId(named), is_pointer=True) if item.get("type") == "item_reference" else None


def _is_encrypted(message: Any) -> bool:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    for name in _STATE_FIELDS:
        blocks = message.get(name)
        if isinstance(blocks, list):
            for block in blocks:
                if isinstance(block, dict) and block.get("type") in _ENCRYPTED_BLOCKS:
                    return block["type"] != "thinking" or bool(block.get("signature"))
    return False


def named_item_id(deployment: str, item_id: str) -> str:
    """Return an item's id with its deployment in it.

    The form is LiteLLM's own for encrypted items: LiteLLM takes the deployment out again before it sends the item. An
    id that it would not read back stays as it is.
    """
    text = f"litellm:model_id:{deployment};item_id:{item_id}"
    named = f"encitem_{base64.b64encode(text.encode()).decode()}"
    told = ResponsesAPIRequestUtils.decode_encrypted_item_id(named)
    return named if told == {"model_id": deployment, "item_id": item_id} else item_id


def stores_responses(deployment: Mapping[str, Any]) -> bool:
    """Return whether a deployment's provider may store responses.

    False where LiteLLM translates the Responses API to chat completions.

    Args:
        deployment: its entry in the router's list.
    """
    params = deployment.get("litellm_params") or {}
    info = deployment.get("model_info") or {}
    told = [params.get(name) for name in ("model", "custom_llm_provider", "api_base")]
    model, provider, base = (one if isinstance(one, str) else None for one in told)
    endpoints = info.get("supported_endpoints")
    passes = isinstance(endpoints, list | tuple) and _ENDPOINT in endpoints
    return _stores(model or "", provider, base, bool(params.get("use_chat_completions_api")), passes)


@lru_cache(maxsize=1024)
def _stores(model: str, provider: str | None, base: str | None, as_chat: bool, passes: bool) -> bool:
    info = {"supported_endpoints": [_ENDPOINT] if passes else []}
    known = {"api_base": base, "use_chat_completions_api": as_chat, "model_info": info}
    return bool(responses_main.provider_stores_the_conversation(model, provider, known))

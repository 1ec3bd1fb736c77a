"""Provider-bound state of a request: encrypted reasoning, stored responses.

Only the deployment that created such state can read it. LiteLLM writes the deployment into the ids of stored responses,
and into encrypted items where its own check for them is on. Elsewhere the conversation's affinity entry gives the
deployment. Reads markers, never the content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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


def provider_state_of(kwargs: Mapping[str, Any], messages: Sequence[Any] | None) -> ProviderState | None:
    """Return the provider-bound state of a request.

    None when any deployment may serve it.

    Args:
        kwargs: the request as LiteLLM routes it.
        messages: messages of a chat or Anthropic request that are not in ``kwargs``.
    """
    previous = kwargs.get("previous_response_id")
    if isinstance(previous, str) and previous:
        return ProviderState(LiteLLMId(ResponsesAPIRequestUtils.get_model_id_from_response_id(previous) or ""))
    items = kwargs.get("input")
    if isinstance(items, list):
        return next((bond for item in reversed(items) if (bond := _state_of_item(item)) is not None), None)
    said = messages or kwargs.get("messages")
    if isinstance(said, list) and any(_is_encrypted(message) for message in said[-_LATEST:]):
        return ProviderState()
    return None


def _state_of_item(item: Any) -> ProviderState | None:
    if not isinstance(item, dict):
        return None
    sealed, name = item.get("encrypted_content"), item.get("id")
    if isinstance(sealed, str) and sealed:
        found, _ = ResponsesAPIRequestUtils.unwrap_encrypted_content_with_model_id(sealed)
        decoded = ResponsesAPIRequestUtils.decode_encrypted_item_id(name) if isinstance(name, str) else None
        deployment = LiteLLMId(found or (decoded or {}).get("model_id") or "")
        return ProviderState(deployment, releasable=bool(deployment))
    return ProviderState() if item.get("type") == "item_reference" else None


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

"""Which conversation a request belongs to: a salted hash, never the text.

Key, first match wins (OpenRouter's sticky sessions): body ``session_id``, header ``x-session-id``,
``prompt_cache_key``, else the first system and the first other message. Scoped by API key and model group.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def conversation_key(kwargs: Mapping[str, Any], metadata: Mapping[str, Any], model_group: str, salt: bytes) -> bytes:
    """16 bytes that stand for the conversation.

    Args:
        kwargs: the request as LiteLLM routes it.
        metadata: LiteLLM's metadata of the request.
        model_group: the public model name.
        salt: per-installation secret, so that hashes tell nothing outside.
    """
    digest = hashlib.blake2b(key=salt, digest_size=16)
    for part in (metadata.get("user_api_key_hash") or metadata.get("user_api_key") or "", model_group):
        digest.update(str(part).encode())
        digest.update(b"\0")
    digest.update(_conversation_text(kwargs, metadata).encode("utf-8", "surrogatepass"))
    return digest.digest()


def conversation_share(kwargs: Mapping[str, Any], metadata: Mapping[str, Any], model_group: str, salt: bytes) -> float:
    """Where the conversation falls in [0, 1); the same conversation always falls on the same place."""
    return int.from_bytes(conversation_key(kwargs, metadata, model_group, salt)[:8], "big") / 2**64


def _conversation_text(kwargs: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    extra = kwargs.get("extra_body")
    headers = metadata.get("headers")
    for value in (
        kwargs.get("session_id"),
        extra.get("session_id") if isinstance(extra, dict) else None,
        headers.get("x-session-id") if isinstance(headers, dict) else None,
        kwargs.get("prompt_cache_key"),
    ):
        if isinstance(value, str) and value:
            return value
    messages = kwargs.get("messages") or kwargs.get("input") or ()
    if isinstance(messages, str):
        return messages
    system = first = None
    for message in messages:
        if not isinstance(message, dict):
            continue
        if message.get("role") in ("system", "developer"):
            system = system or message
        else:
            first = message
            break
    return repr((kwargs.get("system") or kwargs.get("instructions"), system, first))

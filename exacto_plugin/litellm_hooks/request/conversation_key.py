"""Which conversation a request belongs to: a salted hash, never the text.

Key, first match wins (OpenRouter's sticky sessions): body ``session_id``, header ``x-session-id``,
``prompt_cache_key``, else the first system and the first other message. Scoped by API key and model group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNSTABLE = frozenset({"cache_control", "id", "role", "status", "type"})
"""Of a message: what clients add, drop or move from turn to turn, and what surfaces call differently."""


class Conversation(NamedTuple):
    """The conversation of a request."""

    key: bytes
    """16 bytes that stand for it."""
    is_new: bool
    """Told by its first messages, and there are no later ones: one of perhaps many that begin like this."""


def conversation_of(
    kwargs: Mapping[str, Any],
    metadata: Mapping[str, Any],
    model_group: str,
    salt: bytes,
    messages: Iterable[Any] | None = None,
) -> Conversation | None:
    """The conversation that a request belongs to; None when nothing tells it (embeddings, an empty body).

    Args:
        kwargs: the request as LiteLLM routes it.
        metadata: LiteLLM's metadata of the request.
        model_group: the public model name.
        salt: per-installation secret, so that hashes tell nothing outside.
        messages: of a chat request, where they are not among ``kwargs``.
    """
    digest = hashlib.blake2b(key=salt, digest_size=16)
    for part in (metadata.get("user_api_key_hash") or metadata.get("user_api_key") or "", model_group):
        _feed(digest, str(part))
    named = _named(kwargs, metadata)
    if named:
        _feed(digest, named)
        return Conversation(digest.digest(), is_new=False)
    # LiteLLM keeps the metadata of Responses under this name; the ``input`` of embeddings begins no conversation.
    said = kwargs.get("input") if "litellm_metadata" in kwargs else None
    system, first, later = _first_messages(kwargs, messages or kwargs.get("messages") or said or ())
    if first is None:
        return None
    for text in _texts(system):
        _feed(digest, text)
    digest.update(b"\1")
    for text in _texts(first):
        _feed(digest, text)
    return Conversation(digest.digest(), is_new=not later)


def share_of(conversation: Conversation | None) -> float:
    """Where a conversation falls in [0, 1): always on the same place; 1 for a request without."""
    return 1.0 if conversation is None else int.from_bytes(conversation.key[:8], "big") / 2**64


def _feed(digest: hashlib.blake2b, text: str) -> None:
    digest.update(text.encode("utf-8", "surrogatepass"))
    digest.update(b"\0")


def _named(kwargs: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The name that the client gave the conversation; empty without one."""
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
    return ""


def _first_messages(kwargs: Mapping[str, Any], messages: Any) -> tuple[Any, Any, bool]:
    """The first system and the first other message, and whether more follow."""
    system: Any = kwargs.get("system") or kwargs.get("instructions")
    if isinstance(messages, str):
        return system, messages, False
    first: Any = None
    for message in messages if isinstance(messages, Iterable) else ():  # a client may send a number
        if not isinstance(message, dict):
            continue
        if first is not None:
            return system, first, True
        if message.get("role") in ("system", "developer"):
            system = system or message
        else:
            first = message
    return system, first, False


def _texts(value: Any) -> Iterator[str]:
    """Every text in a message, in order, whatever a surface wraps it in and however deeply."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            waiting += reversed([inner for name, inner in each.items() if name not in _UNSTABLE])
        elif isinstance(each, list):
            waiting += reversed(each)

"""Key of the conversation that a request belongs to: a salted hash.

The first match is used (as in OpenRouter's sticky sessions): body ``session_id``, header ``x-session-id``,
``prompt_cache_key``, else the first system message and the first other message. Scoped by API key and model group. No
message text is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.core.model import LiteLLMId
    from exacto_plugin.litellm_hooks.request.provider_state import ProviderState

_UNSTABLE = frozenset({"cache_control", "id", "role", "status", "type"})
"""Message fields left out of the hash.

Clients add, drop or move them from turn to turn, or surfaces name them differently.
"""


class Conversation(NamedTuple):
    """The conversation of a request."""

    key: bytes
    """Hash of the conversation, 16 bytes."""
    is_new: bool
    """Identified by its first messages, and no later ones exist.

    Several conversations may begin with the same messages.
    """


@dataclass(slots=True)
class ConversationState:
    """The conversation of one request, in the model group of its newest attempt."""

    conversation: Conversation | None = None
    """None when nothing identifies it, and where no setting needs it."""
    provider_state: ProviderState | None = None
    """Provider-bound state of the request; None without any."""
    pointed_at: LiteLLMId | None = None
    """Deployment that a pointer names which binds nothing; None without one."""
    is_assigned: bool = True
    """True when the conversation is assigned to the selected deployment."""
    in_share: bool = True
    """False when this conversation is outside ``apply_share``."""


def conversation_of(
    kwargs: Mapping[str, Any],
    metadata: Mapping[str, Any],
    model_group: str,
    salt: bytes,
    messages: Iterable[Any] | None = None,
) -> Conversation | None:
    """Return the conversation of a request.

    None when nothing identifies it (embeddings, an empty body).

    Args:
        kwargs: the request as LiteLLM routes it.
        metadata: LiteLLM's metadata of the request.
        model_group: the public model name.
        salt: secret of the installation; without it, hashes cannot be matched to texts.
        messages: messages of a chat request that are not in ``kwargs``.
    """
    digest = hashlib.blake2b(key=salt, digest_size=16)
    for part in (metadata.get("user_api_key_hash") or metadata.get("user_api_key") or "", model_group):
        _feed(digest, str(part))
    named = _named(kwargs, metadata)
    if named:
        _feed(digest, named)
        return Conversation(digest.digest(), is_new=False)
    # LiteLLM keeps the metadata of Responses under this name; the ``input`` of embeddings starts no conversation.
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
    """Return the fixed position of a conversation in [0, 1).

    1 for a request without a conversation.
    """
    return 1.0 if conversation is None else int.from_bytes(conversation.key[:8], "big") / 2**64


def _feed(digest: hashlib.blake2b, text: str) -> None:
    digest.update(text.encode("utf-8", "surrogatepass"))
    digest.update(b"\0")


def _named(kwargs: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return the client's own name of the conversation; empty without one."""
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
    """Return the first system message, the first other one, and whether more follow."""
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
    """Yield every text in a message, in order, at any depth of nesting."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            waiting += reversed([inner for name, inner in each.items() if name not in _UNSTABLE])
        elif isinstance(each, list):
            waiting += reversed(each)

"""Key of the conversation that a request belongs to: a salted hash.

The client's own id of the conversation is used, else the first system message and the first other message. Each client
has a header or a field of its own for the id. Scoped by API key and model group. Neither an id nor a message text is
kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from exacto_plugin.core.routing.affinity import SessionId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.core.model import LiteLLMId
    from exacto_plugin.litellm_hooks.request.provider_state import ProviderState

_UNSTABLE = frozenset({"cache_control", "id", "role", "status", "type"})
"""Message fields left out of the hash.

Clients add, drop or move them from turn to turn, or surfaces name them differently.
"""

_BILLING = "x-anthropic-billing-header:"
"""Beginning of a line that Claude Code puts before its system prompt, and that changes from request to request."""


_Read = Callable[[Mapping[str, Any], Mapping[str, Any]], object]
"""Reads an id from a request and LiteLLM's metadata of it; the result may be anything."""

_IN_USER_ID: Final = "_session_"
"""What comes before the session in Claude Code's older user ids: ``user_..._account_..._session_...``."""

_GENERATED: Final = "litellm_session_id_generated"
"""LiteLLM's mark of an id that it made for one request (``missing_session_id: generate``)."""


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
    session_ids: Iterable[SessionId] = tuple(SessionId),
) -> Conversation | None:
    """Return the conversation of a request.

    None when nothing identifies it (embeddings, an empty body).

    Args:
        kwargs: the request as LiteLLM routes it.
        metadata: LiteLLM's metadata of the request.
        model_group: the public model name.
        salt: secret of the installation; without it, hashes cannot be matched to texts.
        messages: messages of a chat request that are not in ``kwargs``.
        session_ids: the ids that count, in the order in which they do.
    """
    parts = [str(metadata.get("user_api_key_hash") or metadata.get("user_api_key") or ""), model_group]
    named = _session_id(kwargs, metadata, session_ids)
    if named:
        return Conversation(_hashed(salt, _ended([*parts, named])), is_new=False)
    # LiteLLM keeps the metadata of Responses under this name; the ``input`` of embeddings starts no conversation.
    said = kwargs.get("input") if "litellm_metadata" in kwargs else None
    system, first, later = _first_messages(kwargs, messages or kwargs.get("messages") or said or ())
    if first is None:
        return None
    if system is not None:
        parts += _system_texts(system)
    text = _ended(parts) + "\1" + _ended(_texts(first))
    return Conversation(_hashed(salt, text), is_new=not later)


def share_of(conversation: Conversation | None) -> float:
    """Return the fixed position of a conversation in [0, 1).

    1 for a request without a conversation.
    """
    return 1.0 if conversation is None else int.from_bytes(conversation.key[:8], "big") / 2**64


def _ended(texts: Iterable[str]) -> str:
    """Return the texts one after the other, each ended by a zero character."""
    return "".join([f"{text}\0" for text in texts])


def _hashed(salt: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=16).digest()


def _session_id(kwargs: Mapping[str, Any], metadata: Mapping[str, Any], order: Iterable[SessionId]) -> str:
    """Return the client's own id of the conversation; empty without one.

    Args:
        kwargs: the request as LiteLLM routes it.
        metadata: LiteLLM's metadata of the request.
        order: the ids that count; the first one that the request has is returned.
    """
    headers = metadata.get("headers") or None
    for one in order:
        read = _READERS.get(one)
        if read is not None:
            found = read(kwargs, metadata)
        else:
            found = None if headers is None else _header(headers, _HEADERS[one])
        if isinstance(found, str) and found:
            return found
    return ""


def _header(headers: Any, names: Iterable[str]) -> object:
    """Return the first of some headers that a request has; None without any."""
    if isinstance(headers, dict):
        for name in names:
            if found := headers.get(name):
                return found
    return None


def _body_session(kwargs: Mapping[str, Any], _: Mapping[str, Any]) -> object:
    extra = kwargs.get("extra_body")
    return kwargs.get("session_id") or (extra.get("session_id") if isinstance(extra, dict) else None)


def _litellm_session(kwargs: Mapping[str, Any], metadata: Mapping[str, Any]) -> object:
    """Read LiteLLM's field, unless LiteLLM filled it with an id of this request alone."""
    found = kwargs.get("litellm_session_id")
    if not found or metadata.get(_GENERATED):
        return None
    return None if found == _header(metadata.get("headers"), _TRACE_ID) else found


def _user_session(kwargs: Mapping[str, Any], _: Mapping[str, Any]) -> object:
    """Read the session in ``metadata.user_id``: within JSON, or after its name."""
    own = kwargs.get("metadata")
    user = own.get("user_id") if isinstance(own, dict) else None
    if isinstance(user, str) and user.startswith("{"):
        try:
            user = orjson.loads(user)
        except orjson.JSONDecodeError:
            return None
    if isinstance(user, dict):
        return user.get("session_id")
    return user.rpartition(_IN_USER_ID)[2] if isinstance(user, str) and _IN_USER_ID in user else None


_READERS: Final[Mapping[SessionId, _Read]] = {
    SessionId.SESSION_ID: _body_session,
    SessionId.LITELLM_SESSION_ID: _litellm_session,
    SessionId.METADATA_USER_ID: _user_session,
    SessionId.PROMPT_CACHE_KEY: lambda kwargs, _: kwargs.get("prompt_cache_key"),
}
_HEADERS: Final[Mapping[SessionId, tuple[str, ...]]] = {
    SessionId.X_SESSION_ID: ("x-session-id",),
    SessionId.X_LITELLM_SESSION_ID: ("x-litellm-session-id",),
    SessionId.X_CLAUDE_CODE_SESSION_ID: ("x-claude-code-session-id",),
    SessionId.CODEX_SESSION_ID: ("session-id", "session_id"),
    SessionId.X_SESSION_AFFINITY: ("x-session-affinity",),
}
_TRACE_ID: Final = ("x-litellm-trace-id",)


def _first_messages(kwargs: Mapping[str, Any], messages: Any) -> tuple[Any, Any, bool]:
    """Return the first system message, the first other one, and whether more follow."""
    system: Any = kwargs.get("system") or kwargs.get("instructions")
    if isinstance(messages, str):
        return system, messages, False
    first: Any = None
    for message in messages if isinstance(messages, list | Iterable) else ():  # a client may send a number
        if not isinstance(message, dict):
            continue
        if first is not None:
            return system, first, True
        if message.get("role") in ("system", "developer"):
            system = system or (message if next(_system_texts(message), None) is not None else None)
        else:
            first = message
    return system, first, False


def _system_texts(system: Any) -> Iterator[str]:
    """Yield the texts of a system prompt without the line that changes."""
    for text in _texts(system):
        if not text.startswith(_BILLING):
            yield text
        elif rest := text.partition("\n")[2]:
            yield rest


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a message, in order, at any depth of nesting."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict | Mapping):  # a dict is told at once, and other mappings take longer
            waiting += reversed([inner for name, inner in each.items() if name not in _UNSTABLE])
        elif isinstance(each, list):
            waiting += reversed(each)

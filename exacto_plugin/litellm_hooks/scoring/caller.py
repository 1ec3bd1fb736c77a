"""The caller of a request: its key, and the account that the key belongs to."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCOUNTS: Final = (
    ("user", "user_api_key_user_id"),
    ("team", "user_api_key_team_id"),
    ("organisation", "user_api_key_org_id"),
)
"""Kinds of accounts with LiteLLM's names for their ids, the closest to the key first."""

_NOBODY: Final = "default_user_id"
"""LiteLLM's user of the master key (``litellm_proxy_admin_name``).
Keys that were made with the master key have it too, so it stands for no one user."""


class Caller(NamedTuple):
    """The caller of a request; both parts are secrets."""

    key: str
    """LiteLLM's hash of the key; empty without one."""
    account: str
    """Kind and id of the user, else of the team, else of the organisation; empty without any."""


def caller_of(kwargs: Mapping[str, Any]) -> Caller:
    """Return the caller of a request; of a request without a key an empty one.

    Args:
        kwargs: of LiteLLM's log event. The proxy writes the ids; what a client sends under their names is replaced.
    """
    payload: Mapping[str, Any] = kwargs.get("standard_logging_object") or {}
    return caller_in(payload.get("metadata") or {})


def caller_in(metadata: Mapping[str, Any]) -> Caller:
    """Return the caller that a request's metadata name, as the proxy writes them."""
    account = ""
    for kind, name in _ACCOUNTS:
        value = metadata.get(name)
        if isinstance(value, str) and value and value != _NOBODY:
            account = f"{kind} {value}"
            break
    key = metadata.get("user_api_key_hash")
    return Caller(key if isinstance(key, str) else "", account)


def hashed(secret: str, salt: bytes) -> str:
    """Return a salted hash, equal in this installation only; empty for empty text."""
    return hashlib.blake2b(secret.encode(), key=salt, digest_size=8).hexdigest() if secret else ""

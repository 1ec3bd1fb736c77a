"""The secret behind all hashes of an installation.

Must not be written down anywhere.
"""

from __future__ import annotations

import hashlib
import os
import secrets

_SECRETS = ("LITELLM_SALT_KEY", "LITELLM_MASTER_KEY")


def installation_salt() -> bytes:
    """The per-installation secret behind all hashes: the same in every worker that shares LiteLLM's own secrets."""
    for name in _SECRETS:
        value = os.environ.get(name)
        if value:
            return hashlib.blake2b(value.encode(), person=b"exacto-salt", digest_size=32).digest()
    return secrets.token_bytes(32)


def salt_is_shared() -> bool:
    """Whether other processes have the same salt, so that a hash means the same to them."""
    return any(os.environ.get(name) for name in _SECRETS)

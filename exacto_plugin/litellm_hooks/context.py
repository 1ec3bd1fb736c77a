"""The secret behind all hashes of an installation.

Is never stored or logged.
"""

from __future__ import annotations

import hashlib
import os
import secrets

_SECRETS = ("LITELLM_SALT_KEY", "LITELLM_MASTER_KEY")


def installation_salt() -> bytes:
    """Return the installation's secret behind all hashes.

    It is the same in every worker that shares LiteLLM's own secrets.
    """
    for name in _SECRETS:
        value = os.environ.get(name)
        if value:
            return hashlib.blake2b(value.encode(), person=b"exacto-salt", digest_size=32).digest()
    return secrets.token_bytes(32)


def salt_is_shared() -> bool:
    """Return whether other processes have the same salt and so the same hashes."""
    return any(os.environ.get(name) for name in _SECRETS)

"""The values that every part of one process's plugin may read.

Among them is the secret behind all hashes of an installation, which is never stored or logged.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.scoring.evaluator import Evaluator
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.features import AnswerCoverage, Features
    from exacto_plugin.telemetry import Telemetry

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


@dataclass(slots=True)
class Context:
    """The values that are common to all parts. One per process."""

    settings: Settings
    """The settings in force; replaced as a whole when they change."""
    evaluator: Evaluator
    """The evaluator of tool calls under these settings; replaced with them."""
    clock: Callable[[], float]
    """UTC seconds."""
    salt: bytes
    """The secret behind all hashes."""
    salt_is_shared: bool
    """True when other processes have the same salt."""
    faults: FaultReporter
    features: Features
    telemetry: Telemetry
    coverage: AnswerCoverage
    closed: bool = False
    """True at the end: events of calls that were in progress may still follow."""

"""The exceptions that the package raises on purpose.

    ExactoError
    ├── SettingsError   the operator's configuration: the start is stopped
    ├── PolicyError     the client's request: answered with HTTP 400
    └── StoreError      a store cannot be read or written: never on a request's path

Only what a caller is meant to tell apart stands here. Faults of our own are not among them: on a request's path they
are counted and LiteLLM's own choice goes on.
"""

from __future__ import annotations


class ExactoError(Exception):
    """Base of everything the package raises on purpose."""


class SettingsError(ExactoError):
    """The configuration cannot be used; the message names the key and what was expected."""


class PolicyError(ExactoError):
    """What the client asked for is malformed; the message names the field."""


class StoreError(ExactoError):
    """A store could not be read or written."""

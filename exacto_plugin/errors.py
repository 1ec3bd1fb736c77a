"""The exceptions that the package raises on purpose.

    ExactoError
    ├── SettingsError     the operator's configuration: the start is stopped
    ├── StoreError        a store cannot be read or written: never on a request's path
    └── UnknownNameError  no model group or deployment has the name; the message suggests one

Only errors that a caller has to distinguish are defined here. The plugin's own faults are not among them: on a
request's path they are counted and LiteLLM's own choice applies.
"""

from __future__ import annotations


class ExactoError(Exception):
    """Base of every exception that the package raises on purpose."""


class SettingsError(ExactoError):
    """Invalid configuration; the message names the key and the expected value."""


class StoreError(ExactoError):
    """A store could not be read or written."""


class UnknownNameError(ExactoError):
    """There is no such model group or deployment; the message suggests one."""

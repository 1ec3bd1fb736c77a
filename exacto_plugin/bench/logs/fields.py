"""Access to the fields of foreign logs, whose types nobody guarantees."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from exacto_plugin.errors import ExactoError


class LogError(ExactoError):
    """A log cannot be used; the message says why."""


def digest(data: bytes) -> str:
    """Return the SHA-256 of a log as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def at(plain: Any, *path: str) -> Any:
    """Return a nested value; None where any part of the path is missing.

    >>> at({"eval": {"task": "t"}}, "eval", "task"), at({}, "eval", "task")
    ('t', None)
    """
    for name in path:
        plain = plain.get(name) if isinstance(plain, Mapping) else None
    return plain


def items(plain: Any) -> Sequence[Any]:
    """Return a list as it is, and an empty one for anything else."""
    return plain if isinstance(plain, list) else ()


def number(value: Any) -> float | None:
    """Return a finite number; None for anything else.

    True and False are 1 and 0, ``C`` and ``I`` are Inspect's correct and incorrect.

    >>> number("C"), number(True), number(0.5), number("high"), number(float("nan"))
    (1.0, 1.0, 0.5, None, None)
    """
    if isinstance(value, str):
        return {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}.get(value)
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def count(value: Any) -> int:
    """Return a whole number that is not negative; 0 for anything else."""
    found = number(value)
    return int(found) if found is not None and found > 0 else 0


def moment(text: Any) -> float:
    """Return UTC seconds of an ISO time, UTC without a zone; 0 for no time."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return 0.0
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()

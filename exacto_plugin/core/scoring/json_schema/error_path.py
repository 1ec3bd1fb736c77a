"""Formats the place of a schema violation without the caller's data.

Models put user data into keys as well as into values, so only keys that the schema declares are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HIDDEN: Final = "*"
"""Stands for any key that the schema does not declare, and for every index."""

_LONGEST_SHOWN: Final = 256
"""Characters of a path; declared names can be as long as a schema may be."""


_MAPS: Final = frozenset({"properties", "patternProperties", "definitions", "dependencies"})
"""Keywords whose value is a map of names to subschemas."""

_VALUES: Final = frozenset({"const", "enum"})
"""Keywords that hold no schemas."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The first error of an engine.

    It holds keys of the arguments, so ``shown_path`` is to be displayed instead.
    """

    path: tuple[str | int, ...]
    """Keys and indices from the root of the arguments."""
    keyword: str
    """The JSON Schema keyword that was violated."""
    missing: str | None = None
    """The missing property of a ``required`` violation."""


def shown_path(violation: Violation, schema: object) -> str:
    """Return ``pointer#keyword``, such as ``/passengers/*/dob#format``.

    A missing property ends the pointer.

    Args:
        violation: the engine's error.
        schema: the prepared schema, which determines the keys that may be shown.
    """
    declared = _declared_names(schema)
    parts = [part if isinstance(part, str) and part in declared else HIDDEN for part in violation.path]
    if violation.missing is not None:
        parts.append(violation.missing)  # declared by the schema, which requires it
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)
    return f"{pointer[:_LONGEST_SHOWN]}#{violation.keyword}"


def _declared_names(schema: object) -> set[str]:
    """Return the names under every ``properties``."""
    names: set[str] = set()
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            for word, value in node.items():
                if word == "properties":
                    names.update(value)
                if word in _MAPS and isinstance(value, dict):
                    stack.extend(value.values())
                elif word not in _VALUES:
                    stack.append(value)
    return names

"""Where arguments break their schema, in words that may leave the core.

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
"""Words whose keys are not words."""

_VALUES: Final = frozenset({"const", "enum"})
"""Words that hold no schemas."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The first error that an engine found. Holds keys of the arguments: show ``shown_path`` instead."""

    path: tuple[str | int, ...]
    """Keys and indices from the root of the arguments."""
    keyword: str
    """The JSON Schema word that was broken."""
    missing: str | None = None
    """The property that ``required`` asks for."""


def shown_path(violation: Violation, schema: object) -> str:
    """``pointer#keyword``, as ``/passengers/*/dob#format``; a missing property ends the pointer.

    Args:
        violation: what an engine found.
        schema: the prepared schema that was broken, which decides what may be shown.
    """
    declared = _declared_names(schema)
    parts = [part if isinstance(part, str) and part in declared else HIDDEN for part in violation.path]
    if violation.missing is not None:
        parts.append(violation.missing)  # named by the schema, else nothing could miss it
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)
    return f"{pointer[:_LONGEST_SHOWN]}#{violation.keyword}"


def _declared_names(schema: object) -> set[str]:
    """The names under every ``properties``."""
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

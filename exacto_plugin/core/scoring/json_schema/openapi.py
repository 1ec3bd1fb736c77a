"""Translates Gemini's schemas to JSON Schema.

``functionDeclarations[].parameters`` is a subset of OpenAPI 3.0 with types in capitals and ``nullable``
(https://ai.google.dev/api/caching#Schema), which no draft-7 engine compiles. Translates only the schema of the called
tool; the caller's object is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TYPES: Final = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"})
_MOST_LEVELS: Final = 64
"""Levels that are translated, as many as are compiled.
Deeper levels stay unchanged, and the schema is refused for its depth."""


def draft7_of(schema: object) -> object:
    """Translate capitalised types to lower case and ``nullable`` to a type.

    A schema without a capitalised type is returned unchanged.

    Args:
        schema: a function's parameters, as the client sent them.
    """
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if isinstance(kind, str) and kind in _TYPES:
        return _translated(schema, _MOST_LEVELS)
    return schema


def _translated(schema: object, levels: int) -> object:
    if not isinstance(schema, Mapping) or levels == 0:
        return schema
    made = dict(schema)
    kind = made.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        nullable = made.pop("nullable", False) is True
        made["type"] = [kind.lower(), "null"] if nullable else kind.lower()
        if nullable and isinstance(made.get("enum"), list):
            made["enum"] = [*made["enum"], None]
    for word in ("items", "additionalProperties"):
        if word in made:
            made[word] = _translated(made[word], levels - 1)
    if isinstance(properties := made.get("properties"), Mapping):
        made["properties"] = {name: _translated(inner, levels - 1) for name, inner in properties.items()}
    if isinstance(branches := made.get("anyOf"), list):
        made["anyOf"] = [_translated(branch, levels - 1) for branch in branches]
    for word in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
        # Protocol buffers write 64-bit integers as text.
        if isinstance(number := made.get(word), str) and number.isascii() and number.isdecimal() and len(number) < 19:
            made[word] = int(number)
    return made

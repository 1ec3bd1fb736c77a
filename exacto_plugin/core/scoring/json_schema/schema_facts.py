"""The demands of a conjunction of prepared schemas, one keyword at a time.

A conjunction is a list of schema objects that all hold for one value, without ``allOf`` and ``$ref``. Every answer
errs on the side of what is possible. ``satisfiability`` puts them together.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.scoring.json_schema.drafts import JsonObject

ALL_TYPES: Final = frozenset({"null", "boolean", "integer", "fraction", "string", "array", "object"})
"""JSON's types, with numbers as integers and the others: ``1.0`` is an integer."""

OBJECT: Final = frozenset({"object"})

_TOGETHER: Final = (
    frozenset({"properties", "patternProperties", "additionalProperties"}),
    frozenset({"items", "additionalItems"}),
    frozenset({"if", "then", "else"}),
)
"""Keywords whose meaning depends on each other."""


def text_of(value: object) -> bytes:
    """Return a value as text that is equal for equal JSON only: ``1`` is not ``true``."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def allowed_types(flat: Sequence[JsonObject]) -> frozenset[str]:
    """Return the types that ``type``, also under ``not``, leaves.

    >>> sorted(allowed_types([{"type": ["number", "string"]}, {"not": {"type": "integer"}}]))
    ['fraction', 'string']
    """
    types = ALL_TYPES
    for schema in flat:
        if "type" in schema:
            types &= _types(schema["type"])
        denied = schema.get("not")
        if isinstance(denied, dict) and denied.keys() == {"type"}:
            types -= _types(denied["type"])
    return types


def _types(value: object) -> frozenset[str]:
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    found = {str(name) for name in names}
    return frozenset((found - {"number"}) | ({"integer", "fraction"} if "number" in found else set()))


def limits_of(flat: Sequence[JsonObject], least: str, most: str) -> tuple[float, float]:
    """Return the largest of the lower limits and the smallest of the upper ones."""
    return (
        max((number for each in flat if (number := _number(each.get(least))) is not None), default=0.0),
        min((number for each in flat if (number := _number(each.get(most))) is not None), default=math.inf),
    )


def is_empty_range(flat: Sequence[JsonObject], *, whole: bool) -> bool:
    """Return True if no number is within all limits; ``whole``: no integer.

    >>> is_empty_range([{"minimum": 0.2, "maximum": 0.8}], whole=True)
    True
    >>> is_empty_range([{"minimum": 0.2, "maximum": 0.8}], whole=False)
    False
    """
    lower, upper = -math.inf, math.inf
    open_below = open_above = False
    for schema in flat:
        for word, is_open in (("minimum", False), ("exclusiveMinimum", True)):
            number = _number(schema.get(word))
            if number is not None and (number, is_open) > (lower, open_below):
                lower, open_below = number, is_open
        for word, is_open in (("maximum", False), ("exclusiveMaximum", True)):
            number = _number(schema.get(word))
            if number is not None and (-number, is_open) > (-upper, open_above):
                upper, open_above = number, is_open
    if lower > upper or (lower == upper and (open_below or open_above)):
        return True
    if math.isinf(lower) or math.isinf(upper):
        return False
    if not whole:
        return lower == upper and float(lower).is_integer()
    first = math.floor(lower) + 1 if open_below else math.ceil(lower)
    last = math.ceil(upper) - 1 if open_above else math.floor(upper)
    steps = [step for each in flat if isinstance(step := each.get("multipleOf"), int) and step > 0]
    return first > last or any(last // step * step < first for step in steps)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def item_schemas(flat: Sequence[JsonObject], place: int) -> list[object]:
    """Return the schemas of the item at a place."""
    found: list[object] = []
    for schema in flat:
        items = schema.get("items", True)
        if not isinstance(items, list):
            found.append(items)
        else:
            found.append(items[place] if place < len(items) else schema.get("additionalItems", True))
    return [each for each in found if each is not True]


def property_schemas(flat: Sequence[JsonObject], name: str) -> list[object]:
    """Return the schemas of a property, except those under regular expressions."""
    found: list[object] = []
    for schema in flat:
        declared = schema.get("properties")
        if isinstance(declared, dict) and name in declared:
            found.append(declared[name])
        elif not schema.get("patternProperties"):
            found.append(schema.get("additionalProperties", True))
    return [each for each in found if each is not True]


def needed_names(flat: Sequence[JsonObject]) -> tuple[set[str], list[object]]:
    """Return the required properties, and the schemas of ``dependencies`` on them."""
    names = {name for each in flat if isinstance(needed := each.get("required"), list) for name in needed}
    schemas: list[object] = []
    entries = [item for each in flat if isinstance(found := each.get("dependencies"), dict) for item in found.items()]
    for _ in entries:
        more = {name for on, needed in entries if on in names and isinstance(needed, list) for name in needed}
        if more <= names:
            break
        names |= more
    schemas += [needed for on, needed in entries if on in names and not isinstance(needed, list)]
    return names, schemas


def unique_branches(branches: Sequence[object]) -> list[object]:
    """Return the branches of ``oneOf`` that occur once.

    A value that fits one of two equal branches fits both.
    """
    texts = [text_of(branch) for branch in branches]
    counts = Counter(texts)
    return [branch for branch, text in zip(branches, texts, strict=True) if counts[text] == 1]


def implies(schema: JsonObject, other: JsonObject) -> bool:
    """Return True if a schema has all keywords of another one, with equal values.

    >>> implies({"type": "object", "minProperties": 1}, {"type": "object"})
    True
    >>> implies({"properties": {"a": {}}, "additionalProperties": False}, {"additionalProperties": False})
    False
    """
    words = set(other)
    for together in _TOGETHER:
        if words & together:
            words |= together
    return all(word in schema and text_of(schema[word]) == text_of(other[word]) for word in other) and all(
        (word in schema) == (word in other) for word in words
    )

"""Finds contradictory schemas, which no arguments satisfy.

Sound and incomplete: a schema that some value satisfies is never reported, and a contradiction that takes long to find
is not found. A set of schemas that all hold for one value (a *conjunction*) is examined type by type; schemas that
only recursion without an end could satisfy count as contradictions, because JSON values are finite. Values of ``enum``
and ``const`` are tried with the engine itself. Regular expressions are not examined. Takes prepared schemas only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema
from exacto_plugin.core.scoring.json_schema.schema_facts import (
    ALL_TYPES,
    OBJECT,
    allowed_types,
    implies,
    is_empty_range,
    item_schemas,
    limits_of,
    needed_names,
    property_schemas,
    unique_branches,
)
from exacto_plugin.core.scoring.limits import NotCompilableError, UnscorableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.scoring.json_schema.drafts import JsonObject
    from exacto_plugin.core.scoring.json_schema.engine import ValidationEngine

_STEPS: Final = 400
"""Conjunctions that are examined, about 10 ms."""

_COMPILATIONS: Final = 8
"""Conjunctions with listed values that are compiled."""

_DEPTH: Final = 24
"""Nested conjunctions; far below Python's own limit of recursion."""

_LISTED: Final = 64
"""Listed values that are tried."""

_POSITIONS: Final = 8
"""Items of an array, and properties of an object, that are examined."""


class _TooLongError(Exception):
    """Error for a search that is given up."""


def is_unsatisfiable(prepared: PreparedSchema, engine: ValidationEngine, *, objects_only: bool) -> bool:
    """Return True if no value satisfies a schema; False where that is not certain.

    Args:
        prepared: the schema.
        engine: the engine by which values are judged.
        objects_only: True to ask about objects only, which arguments of tools are.
    """
    try:
        return _Search(prepared, engine).fails([prepared.schema], OBJECT if objects_only else ALL_TYPES, 0)
    except (_TooLongError, NotCompilableError, UnscorableError, OverflowError, TypeError, ValueError):
        return False


class _Search:
    """One search for a contradiction."""

    def __init__(self, prepared: PreparedSchema, engine: ValidationEngine) -> None:
        self._root = prepared
        self._engine = engine
        schema = prepared.schema
        found = schema.get("definitions") if isinstance(schema, dict) else None
        self._definitions: JsonObject = found if isinstance(found, dict) else {}
        self._refers_to_root = b'"$ref":"#"' in orjson.dumps(schema)
        self._steps = _STEPS
        self._compilations = _COMPILATIONS
        self._open: set[bytes] = set()
        """Conjunctions of the values that contain the examined one."""

    def fails(self, schemas: Sequence[object], types: frozenset[str], depth: int) -> bool:
        """Return True if no value of these types satisfies all schemas."""
        self._steps -= 1
        if self._steps < 0 or depth > _DEPTH:
            raise _TooLongError
        flat = self._flattened(schemas)
        if flat is None:
            return True
        types &= allowed_types(flat)
        if any(self._is_refuted(each["not"], flat) for each in flat if "not" in each):
            return True
        if self._lists_none(flat, types):
            return True
        if all(self._fails_as(kind, flat, depth) for kind in sorted(types)):
            return True
        return any(
            all(self.fails([*rest, branch], types, depth + 1) for branch in branches)
            for rest, branches in _alternatives(flat)
        )

    def _inner(self, schemas: Sequence[object], depth: int) -> bool:
        """Return True if no value inside another one satisfies all schemas.

        A value that needs another one inside it that satisfies the same schemas would have no end.
        """
        key = orjson.dumps(sorted(orjson.dumps(each, option=orjson.OPT_SORT_KEYS).decode() for each in schemas))
        if key in self._open:
            return True
        self._open.add(key)
        try:
            return self.fails(schemas, ALL_TYPES, depth + 1)
        finally:
            self._open.discard(key)

    def _flattened(self, schemas: Sequence[object]) -> list[JsonObject] | None:
        """Resolve ``$ref`` and ``allOf``; None if one of the schemas is ``false``."""
        waiting, flat, followed = list(schemas), [], set()
        while waiting:
            schema = waiting.pop()
            if schema is False:
                return None
            if not isinstance(schema, dict):
                continue
            reference = schema.get("$ref")
            if isinstance(reference, str):
                if reference not in followed:
                    followed.add(reference)
                    waiting.append(self._target(reference))
                continue
            parts = schema.get("allOf")
            waiting.extend(parts if isinstance(parts, list) else ())
            if own := {word: value for word, value in schema.items() if word not in ("allOf", "definitions")}:
                flat.append(own)
        return flat

    def _target(self, reference: str) -> object:
        return self._root.schema if reference == "#" else self._definitions[reference.removeprefix("#/definitions/")]

    def _is_refuted(self, denied: object, flat: Sequence[JsonObject]) -> bool:
        """Return True if ``not`` denies what always holds, or what is demanded."""
        parts = self._flattened([denied])
        if parts is None:
            return False
        return not parts or (len(parts) == 1 and any(implies(each, parts[0]) for each in flat))

    def _lists_none(self, flat: Sequence[JsonObject], types: frozenset[str]) -> bool:
        """Return True if ``enum`` or ``const`` list values, and none of them is accepted."""
        lists = [
            each["enum"] if "enum" in each else [each["const"]] for each in flat if each.keys() & {"enum", "const"}
        ]
        values = min((each for each in lists if isinstance(each, list)), key=len, default=None)
        if values is None:
            return False
        if types == OBJECT:
            values = [value for value in values if isinstance(value, dict)]
        if not values:
            return True
        if len(values) > _LISTED or self._refers_to_root or self._compilations == 0:
            return False
        self._compilations -= 1
        whole: JsonObject = {"allOf": list(flat), "definitions": self._definitions}
        validator = self._engine.compile(PreparedSchema(whole, self._root.traits))
        return not any(validator.is_valid(value) for value in values)

    def _fails_as(self, kind: str, flat: Sequence[JsonObject], depth: int) -> bool:
        """Return True if no value of one type satisfies all schemas."""
        if kind in ("integer", "fraction"):
            return is_empty_range(flat, whole=kind == "integer")
        if kind == "string":
            least, most = limits_of(flat, "minLength", "maxLength")
            return least > most
        if kind == "array":
            return self._fails_as_array(flat, depth)
        return kind == "object" and self._fails_as_object(flat, depth)

    def _fails_as_array(self, flat: Sequence[JsonObject], depth: int) -> bool:
        least, most = limits_of(flat, "minItems", "maxItems")
        contained = [each["contains"] for each in flat if "contains" in each]
        if max(least, bool(contained)) > most:
            return True
        every = [each["items"] for each in flat if "items" in each and not isinstance(each["items"], list)]
        if any(self._inner([each, *every], depth) for each in contained):
            return True
        positions = (item_schemas(flat, place) for place in range(int(min(least, _POSITIONS))))
        return any(schemas and self._inner(schemas, depth) for schemas in positions)

    def _fails_as_object(self, flat: Sequence[JsonObject], depth: int) -> bool:
        names, further = needed_names(flat)
        if further:  # schemas of ``dependencies`` on names that are required
            rest = [{word: value for word, value in each.items() if word != "dependencies"} for each in flat]
            if self.fails([*rest, *further], OBJECT, depth + 1):
                return True
        least, most = limits_of(flat, "minProperties", "maxProperties")
        if max(least, len(names)) > most:
            return True
        about_names = [each["propertyNames"] for each in flat if "propertyNames" in each]
        if about_names and max(least, len(names)) > 0 and self.fails(about_names, frozenset({"string"}), depth + 1):
            return True
        for name in sorted(names)[:_POSITIONS]:
            if self._fails_at(name, flat, depth):
                return True
            if about_names and self.fails([*about_names, {"const": name}], frozenset({"string"}), depth + 1):
                return True
        closed = [
            set(declared if isinstance(declared := each.get("properties"), dict) else ())
            for each in flat
            if each.get("additionalProperties") is False and not each.get("patternProperties")
        ]
        possible = set.intersection(*closed) if closed else None
        if possible is None or least == 0:
            return False
        if len(possible) <= _POSITIONS:
            possible = {name for name in possible if not self._fails_at(name, flat, depth)}
        return least > len(possible)

    def _fails_at(self, name: str, flat: Sequence[JsonObject], depth: int) -> bool:
        schemas = property_schemas(flat, name)
        return bool(schemas) and self._inner(schemas, depth)


def _alternatives(flat: Sequence[JsonObject]) -> list[tuple[list[JsonObject], list[object]]]:
    """Return each choice: the rest of the schemas, and branches of which one holds."""
    found: list[tuple[list[JsonObject], list[object]]] = []
    for place, each in enumerate(flat):
        others = [*flat[:place], *flat[place + 1 :]]
        for word in ("anyOf", "oneOf"):
            branches = each.get(word)
            if isinstance(branches, list):
                rest = {other: value for other, value in each.items() if other != word}
                found.append(([*others, rest], unique_branches(branches) if word == "oneOf" else branches))
        if "if" in each and each.keys() & {"then", "else"}:
            condition = each["if"]
            rest = {word: value for word, value in each.items() if word not in ("if", "then", "else")}
            yes, no = (
                {"allOf": [condition, each.get("then", True)]},
                {"allOf": [{"not": condition}, each.get("else", True)]},
            )
            found.append(([*others, rest], [yes, no]))
    return found

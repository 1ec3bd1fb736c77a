"""Converts a client's schema to a draft-7 schema that an engine may compile.

Retains the keywords that affect validation and removes annotations, identifiers and unknown keywords (a malformed
``title`` must not prevent validation, and ``$schema`` or ``$id`` make engines fetch documents). Rewrites newer
keywords as draft-7 ones, collects the targets of ``$ref`` under ``definitions``, and refuses schemas that cannot be
compiled or validated at a bounded cost. The engine then refuses only wrong values of plain keywords. Does not compile
and never changes its argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import orjson

from exacto_plugin.core.scoring.json_schema.cost import containers_in, value_cost
from exacto_plugin.core.scoring.json_schema.drafts import JsonObject, in_draft7
from exacto_plugin.core.scoring.json_schema.schema_graph import SchemaGraph
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, NotCompilableError, ScoringLimits

_Connect = Callable[[int, int], None]
"""Adds a subschema to its parent's weight: a method of the graph."""

_PLAIN_WORDS: Final = frozenset(
    {
        "type",
        "const",
        "multipleOf",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "format",
        "maxItems",
        "minItems",
        "uniqueItems",
        "maxProperties",
        "minProperties",
        "required",
    }
)
"""Keywords without subschemas."""

_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf"})
"""Keywords with a list of subschemas; ``items`` has one or a list."""

_MAPS: Final = frozenset({"properties", "patternProperties"})
"""Keywords with named subschemas."""

_TURNING_WORDS: Final = frozenset({"not", "oneOf", "if"})
"""Keywords under which a looser subschema can make the whole schema stricter.
``contains`` is none of them: in draft 7 it requires one item or more."""


@dataclass(frozen=True, slots=True)
class SchemaTraits:
    """The properties of a schema that are known before it is compiled."""

    cost: int
    """Largest work along one path of the arguments, in units of a plain schema node."""
    nodes: int
    """Number of subschemas, those under ``definitions`` included."""
    containers: int
    """Number of objects and arrays in the values of ``enum`` and ``const``."""
    patterns: tuple[str, ...]
    """Every regular expression in the schema."""
    recursive: bool
    separable: bool
    """True if a schema without its patterns accepts the same arguments or more."""


@dataclass(frozen=True, slots=True)
class PreparedSchema:
    """A draft-7 schema within all limits, and its traits."""

    schema: JsonObject | bool
    traits: SchemaTraits


def prepare(schema: object, limits: ScoringLimits = DEFAULT_LIMITS, *, keep_patterns: bool = True) -> PreparedSchema:
    """Check, bound and simplify a schema of plain JSON values.

    Raises:
        NotCompilableError: it is malformed, refers outside itself, loops, or exceeds a limit.
    """
    return _Preparation(schema, limits, keep_patterns).run()


class _Preparation:
    """One traversal of one schema.

    References are queued instead of followed recursively, so that chains use no stack.
    """

    def __init__(self, root: object, limits: ScoringLimits, keep_patterns: bool) -> None:
        self._root = root
        self._limits = limits
        self._keep_patterns = keep_patterns
        self._graph = SchemaGraph()
        self._targets: dict[tuple[str, ...], tuple[str, int]] = {(): ("#", self._graph.add_node())}
        self._waiting: deque[tuple[str, int, object, bool]] = deque()
        self._connections: dict[str, _Connect] = {
            **dict.fromkeys(("allOf", "anyOf", "oneOf", "not", "if", "then", "else"), self._graph.add_in_place),
            "dependencies": self._graph.add_in_place,
            **dict.fromkeys(("properties", "items"), self._graph.add_child),
            **dict.fromkeys(("additionalProperties", "additionalItems"), self._graph.add_child),
            **dict.fromkeys(("patternProperties", "propertyNames", "contains"), self._graph.add_to_every_child),
        }
        self._patterns: list[str] = []
        self._pattern_properties = False
        self._turning = False
        self._looser = False
        self._enum_values = 0
        self._containers = 0

    def run(self) -> PreparedSchema:
        schema = self._subschema(self._root, 0, 0, False)
        definitions: JsonObject = {}
        while self._waiting:
            name, node, target, rebased = self._waiting.popleft()
            definitions[name] = self._subschema(target, node, 0, rebased)
        if definitions and isinstance(schema, dict):
            schema["definitions"] = definitions
            # Two pointers into each other's targets copy the shared part.
            if len(orjson.dumps(schema)) > self._limits.schema_bytes:
                raise NotCompilableError("schema_bytes", limit=True)
        if self._looser and self._turning:
            raise NotCompilableError("newer_words")
        cost, recursive = self._graph.measure(self._limits)
        separable = not self._patterns or not (self._turning or self._pattern_properties)
        traits = SchemaTraits(cost, len(self._graph), self._containers, tuple(self._patterns), recursive, separable)
        return PreparedSchema(schema, traits)

    def _subschema(self, schema: object, node: int, depth: int, rebased: bool) -> JsonObject | bool:
        """Prepare one subschema as ``node``.

        ``rebased``: an ``$id`` above it gives its references another base.
        """
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise NotCompilableError("malformed")
        if depth > self._limits.schema_depth:
            raise NotCompilableError("schema_depth", limit=True)
        rebased = rebased or (schema is not self._root and _is_base(schema.get("$id")))
        if "$ref" in schema:  # in draft 7 keywords beside it have no effect
            return {"$ref": self._reference(schema["$ref"], node, rebased)}
        plain, looser = in_draft7(schema)
        self._looser |= looser
        prepared: JsonObject = {}
        for word, value in plain.items():
            if word == "additionalItems" and not isinstance(plain.get("items"), list):
                continue  # has no effect, and jsonschema fails on it when ``items`` is a boolean
            if word in _PLAIN_WORDS:
                prepared[word] = value
                self._graph.add_cost(node, value_cost(word, value))
                if word == "const":
                    self._containers += containers_in([value])
            else:
                self._applicator(word, value, node, depth + 1, rebased, prepared)
        return prepared

    def _applicator(self, word: str, value: object, node: int, depth: int, rebased: bool, out: JsonObject) -> None:
        """Prepare one keyword that is not copied unchanged; unknown keywords are left out."""
        connect = self._connections.get(word)
        if connect is not None:
            self._turning |= word in _TURNING_WORDS

            def sub(schema: object) -> JsonObject | bool:
                child = self._new_node()
                connect(node, child)
                return self._subschema(schema, child, depth, rebased)

            if word in _MAPS:
                out[word] = {name: sub(each) for name, each in _object(value).items()}
            elif word in _LISTS or (word == "items" and isinstance(value, list)):
                out[word] = [sub(each) for each in _nonempty_list(value)]
            elif word == "dependencies":
                entries = _object(value)
                out[word] = {name: each if isinstance(each, list) else sub(each) for name, each in entries.items()}
                self._graph.add_cost(node, len(entries))  # engines check each of them for any arguments
            else:
                out[word] = sub(value)
        if word == "pattern":
            pattern = self._pattern(value)
            if self._keep_patterns:
                out[word] = pattern
        elif word == "patternProperties":
            for pattern in _object(value):
                self._pattern(pattern)
                self._pattern_properties = True
        elif word == "enum":
            out[word] = self._enum(value, node)

    def _new_node(self) -> int:
        if len(self._graph) >= self._limits.schema_nodes:
            raise NotCompilableError("schema_nodes", limit=True)
        return self._graph.add_node()

    def _pattern(self, pattern: object) -> str:
        if not isinstance(pattern, str):
            raise NotCompilableError("malformed")
        self._patterns.append(pattern)
        if len(self._patterns) > self._limits.patterns or len(pattern) > self._limits.pattern_length:
            raise NotCompilableError("patterns", limit=True)
        return pattern

    def _enum(self, values: object, node: int) -> list[object]:
        if not isinstance(values, list):
            raise NotCompilableError("malformed")
        containers = sum(isinstance(value, dict | list) for value in values)
        self._enum_values += len(values) + containers * (self._limits.enum_object_weight - 1)
        if self._enum_values > self._limits.enum_values:
            raise NotCompilableError("enum_values", limit=True)
        self._graph.add_cost(node, value_cost("enum", values))
        self._containers += containers_in(values)
        return values

    def _reference(self, reference: object, node: int, rebased: bool) -> str:
        """Return the path under ``definitions`` that replaces ``reference``."""
        if not isinstance(reference, str):
            raise NotCompilableError("malformed")
        if not reference.startswith("#") or rebased:
            raise NotCompilableError("remote_reference")
        path = unquote(reference[1:])
        if path and not path.startswith("/"):
            raise NotCompilableError("reference")  # a name given by $id or $anchor
        pointer = tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])
        if pointer not in self._targets:
            target, moved = self._resolve(pointer)
            name = str(len(self._targets) - 1)
            self._targets[pointer] = (f"#/definitions/{name}", self._new_node())
            self._waiting.append((name, self._targets[pointer][1], target, moved))
        place, target_node = self._targets[pointer]
        self._graph.add_reference(node, target_node)
        return place

    def _resolve(self, pointer: tuple[str, ...]) -> tuple[object, bool]:
        """Return the target of a JSON pointer, and True if its references are rebased.

        An ``$id`` along the pointer gives references another base.
        """
        target, rebased = self._root, False
        for part in pointer:
            if isinstance(target, dict) and part in target:
                target = target[part]
            elif isinstance(target, list) and part.isdecimal() and len(part) < 10 and int(part) < len(target):
                target = target[int(part)]
            else:
                raise NotCompilableError("reference")
            rebased |= isinstance(target, dict) and _is_base(target.get("$id"))
        return target, rebased


def _is_base(identifier: object) -> bool:
    """Check that an ``$id`` changes the base of references; ``#name`` does not."""
    return isinstance(identifier, str) and not identifier.startswith("#")


def _object(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise NotCompilableError("malformed")
    return value


def _nonempty_list(value: object) -> list[object]:
    if not isinstance(value, list) or not value:
        raise NotCompilableError("malformed")
    return value

"""Arguments for a simulated tool call: valid for a JSON Schema, or invalid.

Does no I/O. Every result is checked: valid arguments validate under draft 7, a mismatch does not, broken JSON does not
parse.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError, UnknownType
from referencing import Registry
from referencing.exceptions import Unresolvable

if TYPE_CHECKING:
    from random import Random

_WORDS: Final = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper")
_MAX_DEPTH: Final = 8
"""Depth limit for recursive schemas; deeper parts get the shortest value."""
_ATTEMPTS: Final = 6
"""Attempts to draw a valid value before the minimal one is tried."""


_UNUSABLE: Final = (SchemaError, UnknownType, Unresolvable, RecursionError, re.error, TypeError)
"""The errors of a schema that no validator can use."""
_NOTHING_REMOTE: Final[Registry[Any]] = Registry()
"""References that leave the schema are not followed, so nothing is ever fetched."""


def conforms(schema: object, value: object) -> bool:
    """Validate a value under draft 7; an unusable schema accepts everything."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping):
        return True
    try:
        return bool(Draft7Validator(schema, registry=_NOTHING_REMOTE).is_valid(value))
    except _UNUSABLE:
        return True


def usable(schema: Mapping[str, Any]) -> bool:
    """Return True for a well-formed schema of draft 7."""
    try:
        Draft7Validator.check_schema(schema)
    except _UNUSABLE:
        return False
    return True


def valid_arguments(schema: object, random: Random) -> Any:
    """Draw arguments that fit a tool's schema.

    Args:
        schema: the tool's ``parameters``; without one, or with one that is malformed, an empty object fits.
        random: the source of every choice.

    Raises:
        ValueError: no fitting value was found (contradictions, rare patterns).
    """
    if not isinstance(schema, Mapping) or not schema or not usable(schema):
        return {}
    for attempt in range(_ATTEMPTS):
        value = _Maker(schema, random, minimal=attempt == _ATTEMPTS - 1).value(schema)
        if conforms(schema, value):
            return value
    raise ValueError("no value that fits this schema was found")


def mismatch(schema: object, valid: object, random: Random) -> Any:
    """Change valid arguments so that the schema refuses them.

    The changes are those of real providers, as far as possible.

    Raises:
        ValueError: the schema refuses nothing.
    """
    for candidate in _slips(schema, valid, random):
        if not conforms(schema, candidate):
            return candidate
    raise ValueError("this schema accepts everything")


def broken_json(valid: object, random: Random) -> str:
    """Return a text like these arguments that does not parse."""
    text = json.dumps(valid)
    body = text if len(text) > 2 else '{"value": 1}'
    slips: list[Callable[[], str]] = [
        lambda: body[: max(1, len(body) - 1 - random.randrange(max(1, len(body) // 3)))],
        lambda: f"{body[:-1]},{body[-1]}",
        lambda: body.replace('"', "'"),
        lambda: f"```json\n{body}\n```",
        lambda: body + body,
        lambda: body.replace(":", "=", 1),
    ]
    random.shuffle(slips)
    for slip in slips:
        broken = slip()
        if broken and not _parses(broken):
            return broken
    return "{"


def unknown_name(name: str, known: frozenset[str], random: Random) -> str:
    """Return a name like the tool's that the request did not offer."""
    middle = len(name) // 2
    slips = [
        f"functions.{name}",
        f"{name}:0",
        f"default_api.{name}",
        name[:middle] + name[middle + 1 :],
        f"{name}_tool",
    ]
    random.shuffle(slips)
    return next((slip for slip in slips if slip and slip not in known), f"no_{'_'.join(sorted(known))}")


def _parses(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


def _slips(schema: object, valid: object, random: Random) -> Iterator[Any]:
    """Yield candidates for a mismatch, the likeliest mistakes of providers first.

    In random order among equally likely ones.
    """
    if isinstance(valid, dict):
        keys = list(valid)
        random.shuffle(keys)
        slips: list[Any] = [{key: valid[key] for key in valid if key != gone} for gone in keys]
        slips += [{**valid, key: _other_type(valid[key])} for key in keys]
        slips += [{**valid, key: inner} for key in keys for inner in _inner_slips(valid[key])]
        random.shuffle(slips)
        yield from slips
        yield {**valid, "unexpected_property": True}
        properties = schema.get("properties") if isinstance(schema, Mapping) else None
        if isinstance(properties, Mapping):
            others: tuple[Any, ...] = ({"unexpected": []}, [], "x", -1, None)
            yield from ({**valid, key: other} for key in properties for other in others)
    yield from ([valid], json.dumps(valid), -1, None, [], {}, {"unexpected_property": True})


def _inner_slips(value: object) -> Iterator[Any]:
    if isinstance(value, dict):
        for gone in value:
            yield {key: inner for key, inner in value.items() if key != gone}
        for key in value:
            yield {**value, key: _other_type(value[key])}
    elif isinstance(value, list):
        yield [*value, {"unexpected": True}]
    elif isinstance(value, str):
        yield f"{value}?"


def _other_type(value: object) -> Any:
    return str(value) if isinstance(value, bool | int | float) else 7 if isinstance(value, str) else "[object Object]"


class _Maker:
    """Draws values for one schema; ``minimal`` leaves out all optional parts."""

    def __init__(self, root: Mapping[str, Any], random: Random, *, minimal: bool) -> None:
        self._root = root
        self._random = random
        self._minimal = minimal

    def value(self, schema: object, depth: int = 0) -> Any:
        schema = self._flat(schema, depth)
        for given in ("const", "default"):
            if (
                given in schema
                and (given == "const" or self._random.random() < 0.5)
                and conforms(schema, schema[given])
            ):
                return schema[given]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self._random.choice(schema["enum"])
        kind = self._kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        return self._random.random() < 0.5 if kind == "boolean" else None

    def _flat(self, schema: object, depth: int) -> dict[str, Any]:
        """Resolve a schema: follow references, merge ``allOf``, choose branches."""
        if not isinstance(schema, Mapping):
            return {}
        flat = dict(schema)
        for _ in range(_MAX_DEPTH):
            reference = flat.pop("$ref", None)
            if not isinstance(reference, str):
                break
            flat = {**flat, **self._resolve(reference)}
        for word in ("anyOf", "oneOf"):
            branches = flat.pop(word, None)
            if isinstance(branches, list) and branches:
                flat = _merged(flat, self._flat(self._branch(branches, depth), depth + 1))
        for part in flat.pop("allOf", None) or ():
            flat = _merged(flat, self._flat(part, depth + 1))
        return flat

    def _branch(self, branches: list[Any], depth: int) -> Any:
        """Choose a branch; at depth, one without children, so that recursion ends."""
        if depth < _MAX_DEPTH // 2:
            return self._random.choice(branches)
        return min(branches, key=lambda branch: len(json.dumps(branch)))

    def _resolve(self, reference: str) -> Mapping[str, Any]:
        node: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, Mapping) else None
        return node if isinstance(node, Mapping) else {}

    def _kind(self, schema: Mapping[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list) and kind:
            kind = self._random.choice([one for one in kind if one != "null"] or kind)
        if isinstance(kind, str):
            return kind
        if "properties" in schema or "required" in schema:
            return "object"
        return "array" if "items" in schema else "string"

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = [key for key in schema.get("required") or () if isinstance(key, str)]
        wanted = list(required)
        if not self._minimal and depth < _MAX_DEPTH // 2:
            wanted += [key for key in properties if key not in required and self._random.random() < 0.5]
        extra = schema.get("additionalProperties", {})
        if depth >= _MAX_DEPTH:
            return {key: None for key in required}
        made = {key: self.value(properties.get(key, extra), depth + 1) for key in wanted}
        for index in range(int(schema.get("minProperties", 0)) - len(made)):
            made[f"key_{index}"] = self.value(extra, depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, 3)))
        count = (
            least
            if self._minimal or depth >= _MAX_DEPTH // 2
            else self._random.randint(least, max(least, min(most, 3)))
        )
        items = schema.get("items", {})
        if isinstance(items, list):
            return [self.value(item, depth + 1) for item in items]
        made: list[Any] = []
        for _ in range(count * (_ATTEMPTS if schema.get("uniqueItems") else 1)):
            item = self.value(items, depth + 1)
            if len(made) < count and not (schema.get("uniqueItems") and item in made):
                made.append(item)
        return made

    def _string(self, schema: Mapping[str, Any]) -> str:
        made = self._formatted(schema.get("format"))
        if made is None:
            made = self._random.choice(_WORDS)
            pattern = schema.get("pattern")
            if isinstance(pattern, str):
                made = self._patterned(pattern)
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        if len(made) < least:
            made += "".join(self._random.choices(string.ascii_lowercase, k=least - len(made)))
        return made if most is None else made[: int(most)]

    def _formatted(self, name: object) -> str | None:
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self._random.randrange(500_000))
        word = self._random.choice(_WORDS)
        made = {
            "date": moment.date().isoformat(),
            "date-time": moment.isoformat(),
            "time": moment.time().isoformat() + "Z",
            "email": f"{word}@example.com",
            "uri": f"https://example.com/{word}",
            "uuid": f"{self._random.getrandbits(32):08x}-0000-4000-8000-{self._random.getrandbits(48):012x}",
            "ipv4": f"192.0.2.{self._random.randrange(1, 255)}",
            "hostname": f"{word}.example.com",
        }
        return made.get(name) if isinstance(name, str) else None

    def _patterned(self, pattern: str) -> str:
        """Draw a value for some common patterns; the final check finds the others."""
        shapes = (
            "abc",
            "ABC",
            "123",
            "A1",
            "ABC123",
            "2026-01-31",
            "12:30",
            "1.0",
            "a@b.co",
            "+15550100",
            "AB-1234",
            "",
        )
        checker = Draft7Validator({"pattern": pattern})
        return next((shape for shape in shapes if checker.is_valid(shape)), self._random.choice(_WORDS))

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        low, high = schema.get("minimum"), schema.get("maximum")
        step = schema.get("multipleOf") or (1 if whole else 0.5)
        if "exclusiveMinimum" in schema:
            low = schema["exclusiveMinimum"] + (step if low is None or schema["exclusiveMinimum"] >= low else 0)
        if "exclusiveMaximum" in schema:
            high = schema["exclusiveMaximum"] - step
        low = min(0, high - 10 * step) if low is None and high is not None else low or 0
        high = low + 20 * step if high is None else high
        first = -(-low // step)
        last = max(first, high // step)
        made = self._random.randint(int(first), int(last)) * step
        return int(made) if whole else float(made)


def _merged(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two schemas that both apply.

    Properties and required lists are united; of the rest the right one's are taken.
    """
    both = {**left, **right}
    for word in ("properties",):
        if isinstance(left.get(word), Mapping) and isinstance(right.get(word), Mapping):
            both[word] = {**left[word], **right[word]}
    if isinstance(left.get("required"), list) and isinstance(right.get("required"), list):
        both["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    return both

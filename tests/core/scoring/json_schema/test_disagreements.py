"""Where validators disagree, the verdict is the one that charges no innocent provider.

Classes of schemas and arguments on which @cfworker/json-schema, jsonschema, jsonschema-rs and fastjsonschema were
measured to give different answers, or on which all of them give one that surprises.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.support.scoring_cases import ENGINES, judge

VALID, MISMATCH, UNUSED = "valid", "schema_mismatch", "valid not_compilable"


class Row(NamedTuple):
    """One class of disagreement and how it is settled."""

    about: str
    schema: object
    arguments: str
    expected: str
    pure: str | None = None
    """What the pure engine says, where it differs."""


DISAGREEMENTS = [
    Row("unknown type dict", {"type": "dict"}, "{}", UNUSED),
    Row("unknown type float", {"properties": {"a": {"type": "float"}}}, '{"a": 1}', UNUSED),
    Row("unknown type any", {"properties": {"a": {"type": "any"}}}, '{"a": 1}', UNUSED),
    Row("upper case type", {"type": "OBJECT"}, "[]", UNUSED),
    Row("type null", {"type": None}, "{}", UNUSED),
    Row("required true", {"properties": {"a": {"required": True}}}, "{}", UNUSED),
    Row("required null", {"required": None}, "{}", UNUSED),
    Row("required twice", {"required": ["a", "a"]}, "{}", UNUSED),
    Row("minLength text", {"minLength": "1"}, '""', UNUSED),
    Row("draft-4 exclusiveMinimum", {"minimum": 1, "exclusiveMinimum": True}, "1", UNUSED),
    Row("empty anyOf", {"anyOf": []}, "{}", UNUSED),
    Row("properties null", {"properties": None}, "{}", UNUSED),
    Row("enum null", {"enum": None}, "{}", UNUSED),
    Row("broken annotations", {"title": None, "description": 5, "type": "object"}, "[]", MISMATCH),
    Row("used broken definition", {"$ref": "#/$defs/a", "$defs": {"a": {"type": "dict"}}}, "1", UNUSED),
    Row("unused broken definition", {"$defs": {"a": {"type": "dict"}}, "type": "object"}, "[]", MISMATCH),
    Row("cents", {"items": {"multipleOf": 0.01}}, "[19.99, 0.07, 4.35]", VALID),
    Row("tenths", {"multipleOf": 0.1}, "0.3", VALID),
    Row("no multiple", {"multipleOf": 0.01}, "0.015", MISMATCH),
    Row("multiple of a large number", {"multipleOf": 3}, "1" + "0" * 400, MISMATCH),
    Row("1.0 is an integer", {"type": "integer"}, "1.0", VALID),
    Row("1e2 is an integer", {"type": "integer"}, "1e2", VALID),
    Row("1.5 is not", {"type": "integer"}, "1.5", MISMATCH),
    Row("true is not 1", {"enum": [1]}, "true", MISMATCH),
    Row("1.0 is 1", {"enum": [1]}, "1.0", VALID),
    Row("1 and true are unique", {"uniqueItems": True}, "[1, true, 0, false]", VALID),
    Row("1 and 1.0 are not", {"uniqueItems": True}, "[1, 1.0]", MISMATCH),
    Row("nested 1 and 1.0 are not", {"uniqueItems": True}, '[{"a": [1]}, {"a": [1.0]}]', MISMATCH),
    Row("bad date", {"format": "date"}, '"2024-02-30"', MISMATCH),
    Row("bad uuid", {"format": "uuid"}, '"42"', MISMATCH),
    Row("unknown format", {"format": "int32"}, '"x"', VALID),
    Row("date-time with a space", {"format": "date-time"}, '"2024-01-01 10:00:00Z"', VALID),
    Row("time without an offset", {"format": "time"}, '"10:00:00"', VALID),
    Row("leading zeros", {"format": "ipv4"}, '"01.02.03.04"', VALID),
    Row("idn-email", {"format": "idn-email"}, '"x"', VALID),
    Row("contentEncoding", {"contentEncoding": "base64"}, '"not base64!"', VALID),
    Row("contentMediaType", {"contentMediaType": "application/json"}, '"{"', VALID),
    Row("prefixItems", {"prefixItems": [{"type": "string"}]}, "[1]", MISMATCH),
    Row("closed prefixItems", {"prefixItems": [{"type": "string"}], "items": False}, '["a"]', VALID),
    Row("beyond closed prefixItems", {"prefixItems": [{"type": "string"}], "items": False}, '["a", 1]', MISMATCH),
    Row("dependentRequired", {"dependentRequired": {"a": ["b"]}}, '{"a": 1}', MISMATCH),
    Row("dependentSchemas", {"dependentSchemas": {"a": {"required": ["b"]}}}, '{"a": 1}', MISMATCH),
    Row("minContains 0", {"contains": {"type": "null"}, "minContains": 0}, "[1]", VALID),
    Row("unevaluatedProperties", {"properties": {"a": {}}, "unevaluatedProperties": False}, '{"b": 1}', MISMATCH),
    Row("newer $schema", {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}, "[]", MISMATCH),
    Row("draft-04 $schema", {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}, "1.0", VALID),
    Row("unknown $schema", {"$schema": "http://example.invalid/", "type": "object"}, "[]", MISMATCH),
    Row("words beside $ref", {"$ref": "#/$defs/a", "type": "null", "$defs": {"a": {"type": "object"}}}, "{}", VALID),
    Row("recursion", {"properties": {"a": {"$ref": "#"}}, "required": ["b"]}, '{"a": {}, "b": 1}', MISMATCH),
    Row("boolean schemas", {"properties": {"a": True, "b": False}}, '{"a": 1, "b": 1}', MISMATCH),
    Row("unknown keyword", {"nullable": True, "type": "string"}, "null", MISMATCH),
    Row("remote reference", {"properties": {"a": {"$ref": "https://example.invalid/"}}}, "[]", UNUSED),
    Row("$id with a space", {"$id": "anyOf with refs", "type": "object"}, "[]", MISMATCH),
    Row("loop", {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "1", UNUSED),
    Row("\\d is ASCII", {"pattern": "^\\d+$"}, '"\u0661"', MISMATCH, VALID),
    Row("$ is the end", {"pattern": "^a$"}, '"a\\n"', MISMATCH, VALID),
    Row("\\p{L}", {"pattern": "^\\p{L}+$"}, '"\u00e4"', VALID),
    Row("lookahead", {"pattern": "^(?=a)b$"}, '"a"', UNUSED, VALID),
    Row("named group", {"pattern": "^(?<n>a)$"}, '"a"', VALID),
    Row("escaped hyphen", {"pattern": "^a\\-b$"}, '"a-b"', VALID),
    Row("no expression", {"pattern": "("}, '"a"', UNUSED, VALID),
    Row("pattern under not", {"not": {"pattern": "^a$"}}, '"a"', MISMATCH, UNUSED),
    Row("patternProperties", {"patternProperties": {"^a": False}}, '{"a": 1}', MISMATCH, UNUSED),
    Row("length in code points", {"maxLength": 1}, '"\U0001f600"', VALID),
    Row("combining characters count", {"maxLength": 1}, '"e\u0301"', MISMATCH),
    Row("names of JavaScript's own", {"properties": {"toString": {"type": "string"}}}, '{"toString": 1}', MISMATCH),
    Row("__proto__", {"required": ["__proto__"]}, '{"__proto__": 1}', VALID),
    Row("double-encoded object", {"type": "object"}, '"{}"', MISMATCH),
    Row("anything goes", {}, "[]", VALID),
    Row("no schema accepts", False, "{}", "unscored unsatisfiable"),
    Row("schema is text", "object", "{}", UNUSED),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", DISAGREEMENTS, ids=lambda row: row.about)
def test_where_validators_disagree(engine: str, row: Row) -> None:
    """Both engines settle it the same way, save for expressions, which the pure one never runs."""
    found = judge(engine, row.schema, row.arguments)
    assert f"{found.outcome} {found.reason}".strip() == (
        row.pure if row.pure and engine == "jsonschema" else row.expected
    )

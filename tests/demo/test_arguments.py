"""What simulated providers write as arguments: fitting, mismatching, and broken."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from exacto_plugin.demo.arguments import broken_json, conforms, mismatch, unknown_name, valid_arguments

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "sku": {"type": "string", "pattern": "^[A-Z]{3}[0-9]+$"},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 9},
        "speed": {"enum": ["slow", "fast"]},
        "gift": {"type": "boolean"},
        "until": {"type": "string", "format": "date"},
        "note": {"type": ["string", "null"], "maxLength": 12, "minLength": 3},
        "address": {"$ref": "#/$defs/address"},
        "weights": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 4},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 2},
    },
    "required": ["sku", "quantity", "address", "weights", "tags"],
    "additionalProperties": False,
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "zip": {"type": "string", "minLength": 5, "maxLength": 5}},
            "required": ["city", "zip"],
        }
    },
}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["name", "children"],
}
CHOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "target": {
            "oneOf": [
                {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
                {"type": "object", "properties": {"slug": {"const": "x"}}, "required": ["slug"]},
            ]
        }
    },
    "allOf": [{"required": ["target"]}, {"properties": {"page": {"type": "integer", "multipleOf": 5}}}],
}

_LEAVES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 2, "maxLength": 8},
        {"type": "string", "format": "uuid"},
        {"type": "integer", "minimum": -3, "maximum": 3},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 5},
        {"type": "integer", "multipleOf": 7},
        {"type": "boolean"},
        {"enum": ["red", "green", 3]},
        {"const": {"a": 1}},
        {"type": ["integer", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    ]
)


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(properties: dict[str, Any], required: set[str], closed: bool) -> dict[str, Any]:
        named = sorted(required & set(properties))
        return {"type": "object", "properties": properties, "required": named, "additionalProperties": not closed}

    names = st.sampled_from(["city", "days", "unit", "filter", "limit"])
    return st.builds(build, st.dictionaries(names, inner, max_size=4), st.sets(names), st.booleans())


SCHEMAS = _objects(
    st.recursive(
        _LEAVES,
        lambda inner: st.one_of(_objects(inner), inner.map(lambda s: {"type": "array", "items": s, "maxItems": 3})),
        max_leaves=6,
    )
)


@given(schema=SCHEMAS, seed=st.integers(0, 10_000))
def test_fitting_arguments_always_fit(schema: dict[str, Any], seed: int) -> None:
    """Whatever a tool asks for, what is written as valid validates under draft 7."""
    assert Draft7Validator(schema).is_valid(valid_arguments(schema, Random(seed)))


@given(schema=SCHEMAS, seed=st.integers(0, 10_000))
def test_a_mismatch_never_fits(schema: dict[str, Any], seed: int) -> None:
    """What is written as a mismatch is refused by the schema, and can be written as JSON."""
    random = Random(seed)
    wrong = mismatch(schema, valid_arguments(schema, random), random)
    assert not Draft7Validator(schema).is_valid(json.loads(json.dumps(wrong)))


@given(schema=SCHEMAS, seed=st.integers(0, 10_000))
def test_broken_json_never_parses(schema: dict[str, Any], seed: int) -> None:
    """What is written as broken does not parse, and is not the empty text, which is a case of its own."""
    random = Random(seed)
    text = broken_json(valid_arguments(schema, random), random)
    assert text
    with pytest.raises(ValueError, match=r"."):
        json.loads(text)


@given(names=st.sets(st.text(min_size=1, max_size=12), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_an_unknown_name_is_not_among_the_offered(names: set[str], seed: int) -> None:
    """However odd the names, the unknown one is none of them."""
    assert unknown_name(min(names), frozenset(names), Random(seed)) not in names


@pytest.mark.parametrize("schema", [ORDER, TREE, CHOICE], ids=["order", "tree", "choice"])
@pytest.mark.parametrize("seed", range(20))
def test_schemas_of_real_tools_are_met_and_missed(schema: dict[str, Any], seed: int) -> None:
    """Patterns, references, recursion, choices, unique items and bounds are honoured, and missed when asked to."""
    random = Random(seed)
    valid = valid_arguments(schema, random)
    assert Draft7Validator(schema).is_valid(valid)
    assert not Draft7Validator(schema).is_valid(mismatch(schema, valid, random))


def test_the_same_seed_writes_the_same() -> None:
    """Runs can be repeated."""
    assert valid_arguments(ORDER, Random(7)) == valid_arguments(ORDER, Random(7))
    assert len({json.dumps(valid_arguments(ORDER, Random(seed))) for seed in range(20)}) > 5


@pytest.mark.parametrize(
    "schema", [None, {}, True, {"type": "dict"}, {"$ref": "https://example.com/schema.json"}, {"$ref": "#/nowhere"}]
)
def test_a_schema_that_cannot_be_used_gets_an_answer(schema: Any) -> None:
    """A missing, malformed or remote schema is answered like a model would: with something, and without any fetch."""
    assert conforms(schema, valid_arguments(schema, Random(0)))


def test_a_schema_that_accepts_everything_cannot_be_missed() -> None:
    """Where nothing can mismatch, it is said instead of pretended."""
    with pytest.raises(ValueError, match="accepts everything"):
        mismatch({}, {}, Random(0))


def test_a_contradiction_is_told() -> None:
    """No value fits a contradiction, and none is invented."""
    with pytest.raises(ValueError, match="no value"):
        valid_arguments({"type": "integer", "minimum": 5, "maximum": 1}, Random(0))

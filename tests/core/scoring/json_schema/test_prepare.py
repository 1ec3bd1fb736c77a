"""Schemas are checked, bounded and put into draft-7 words before an engine sees them: case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exacto_plugin.core.scoring.json_schema.cost import value_cost
from exacto_plugin.core.scoring.json_schema.engine import make_engine
from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema, prepare
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, NotCompilableError, ScoringLimits
from tests.support.scoring_cases import ENGINES

JsonSchema = dict[str, Any]


def words_of(prepared: object) -> set[str]:
    """Every key in a prepared schema, names of properties included."""
    if isinstance(prepared, dict):
        return set(prepared).union(*(words_of(value) for value in prepared.values()))
    return set().union(*(words_of(value) for value in prepared)) if isinstance(prepared, list) else set()


def prepared(schema: object, **limits: int) -> PreparedSchema:
    """The prepared schema under other limits."""
    return prepare(schema, ScoringLimits(**limits))


def refusal(schema: object, **limits: int) -> NotCompilableError:
    """Why a schema is refused."""
    with pytest.raises(NotCompilableError) as caught:
        prepared(schema, **limits)
    return caught.value


def test_annotations_identifiers_and_unknown_words_are_dropped() -> None:
    """Broken or not, they decide nothing, and two of them make engines fetch things."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "not a uri",
        "$comment": 5,
        "title": None,
        "description": 5,
        "default": {"$ref": "http://127.0.0.1:9/"},
        "examples": "none",
        "readOnly": "yes",
        "contentEncoding": "base64",
        "contentMediaType": "application/json",
        "x-vendor": {"$schema": "http://127.0.0.1:9/"},
        "nullable": True,
        "type": "object",
        "properties": {"title": {"type": "string", "title": 7}, "$ref": {"type": "string"}},
    }
    expected = {"type": "object", "properties": {"title": {"type": "string"}, "$ref": {"type": "string"}}}
    assert prepared(schema).schema == expected


@pytest.mark.parametrize(
    ("newer", "draft7"),
    [
        ({"prefixItems": [{"type": "string"}]}, {"items": [{"type": "string"}]}),
        ({"prefixItems": [True], "items": False}, {"items": [True], "additionalItems": False}),
        ({"prefixItems": [], "items": {"type": "null"}}, {"items": {"type": "null"}}),
        ({"dependentRequired": {"a": ["b"]}}, {"dependencies": {"a": ["b"]}}),
        ({"dependentSchemas": {"a": False}}, {"dependencies": {"a": False}}),
        (
            {"dependencies": {"a": ["x"]}, "dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": True}},
            {"dependencies": {"a": {"allOf": [{"required": ["x"]}, {"required": ["b"]}]}, "c": True}},
        ),
        ({"contains": {"type": "null"}, "minContains": 0}, {}),
        ({"contains": {"type": "null"}, "minContains": 1}, {"contains": {"type": "null"}}),
        ({"contains": True, "maxContains": 2}, {"contains": True}),
        ({"minContains": 2}, {}),
        ({"unevaluatedProperties": False}, {"additionalProperties": False}),
        ({"unevaluatedProperties": False, "additionalProperties": True}, {"additionalProperties": True}),
        ({"unevaluatedProperties": False, "allOf": [True]}, {"allOf": [True]}),
        ({"unevaluatedItems": False}, {}),
        ({"additionalItems": False}, {}),
        ({"items": True, "additionalItems": False}, {"items": True}),
    ],
)
def test_newer_words_become_draft_7_words(newer: JsonSchema, draft7: JsonSchema) -> None:
    """Where draft 7 has the same thing it is used; else the word is dropped, which only accepts more."""
    assert prepared(newer).schema == draft7


@pytest.mark.parametrize(
    "looser", [{"contains": True, "minContains": 2}, {"unevaluatedProperties": False, "anyOf": [True]}]
)
@pytest.mark.parametrize("turning", [{"not": {"type": "null"}}, {"oneOf": [True]}, {"if": True}])
def test_a_dropped_word_and_a_negation_do_not_go_together(looser: JsonSchema, turning: JsonSchema) -> None:
    """Accepting more under ``not`` would accept less: such a schema is not used, rather than blaming a provider."""
    assert refusal({"allOf": [looser, turning]}).detail == "newer_words"


@pytest.mark.parametrize(
    "schema",
    [
        None, [], "string", 5,
        {"properties": None}, {"properties": []}, {"properties": {"a": None}}, {"properties": {"a": "string"}},
        {"allOf": []}, {"anyOf": {}}, {"oneOf": None}, {"not": None}, {"items": None}, {"items": []},
        {"additionalProperties": "no"}, {"patternProperties": []}, {"pattern": 5}, {"dependencies": []}, {"enum": None},
        {"$ref": None}, {"$ref": {"type": "string"}},
        {"prefixItems": {}}, {"prefixItems": [True], "items": [True]}, {"dependentRequired": []},
        {"dependencies": [], "dependentSchemas": {}},
    ],
)  # fmt: skip
def test_malformed_schemas_are_refused(schema: object) -> None:
    """Wherever a schema, a list or a map is expected and is not there."""
    found = refusal(schema)
    assert (found.detail, found.limit) == ("malformed", False)


@pytest.mark.parametrize(
    ("schema", "detail"),
    [
        ({"$ref": "http://127.0.0.1:9/x"}, "remote_reference"),
        ({"$ref": "file:///etc/hostname"}, "remote_reference"),
        ({"$ref": "other.json#/a"}, "remote_reference"),
        ({"properties": {"a": {"$ref": "ftp://127.0.0.1/x"}}}, "remote_reference"),
        ({"$ref": "#/$defs/missing"}, "reference"),
        ({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}, "reference"),
        ({"$ref": "#/allOf/7", "allOf": [True]}, "reference"),
        ({"$ref": "#/allOf/" + "9" * 5_000, "allOf": [True]}, "reference"),
        ({"properties": {"a": {"$id": "http://x/", "properties": {"b": {"$ref": "#"}}}}}, "remote_reference"),
        ({"$ref": "#/$defs/a/properties/b", "$defs": {"a": {"$id": "http://x/", "properties": {"b": {"$ref": "#"}}}}},
         "remote_reference"),
        ({"$ref": "#"}, "cycle"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "cycle"),
        ({"if": {"not": {"$ref": "#"}}}, "cycle"),
        ({"allOf": [{"anyOf": [{"oneOf": [{"$ref": "#"}]}]}]}, "cycle"),
        ({"dependencies": {"a": {"$ref": "#"}}}, "cycle"),
    ],
)  # fmt: skip
def test_references_that_lead_nowhere_or_round_in_place_are_refused(schema: object, detail: str) -> None:
    """Nothing is fetched to find that out, and no limit is to blame."""
    found = refusal(schema)
    assert (found.detail, found.limit) == (detail, False)


def test_references_are_gathered_whatever_they_are_called() -> None:
    """Under any word, through lists, with escapes, and each target once."""
    schema = {
        "components": {"schemas": {"a/b~c d": {"type": "string"}}},
        "items": [{"$ref": "#/components/schemas/a~1b~0c%20d"}, {"$ref": "#/items/2"}, {"type": "null"}],
        "contains": {"$ref": "#/components/schemas/a~1b~0c%20d", "type": "null"},
    }
    assert prepared(schema).schema == {
        "items": [{"$ref": "#/definitions/0"}, {"$ref": "#/definitions/1"}, {"type": "null"}],
        "contains": {"$ref": "#/definitions/0"},
        "definitions": {"0": {"type": "string"}, "1": {"type": "null"}},
    }


def test_a_broken_definition_costs_the_check_only_when_it_is_used() -> None:
    """Unused definitions are dropped unread."""
    definitions = {"$defs": {"broken": {"type": "dict", "properties": 5}}}
    assert prepared({"type": "object", **definitions}).schema == {"type": "object"}
    assert refusal({"properties": {"a": {"$ref": "#/$defs/broken"}}, **definitions}).detail == "malformed"


def test_recursive_schemas_are_told_from_shared_ones() -> None:
    """Only a loop through children makes a schema recursive."""
    tree = {"properties": {"child": {"$ref": "#"}}}
    shared = {"properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "null"}}}
    assert prepared(tree).traits.recursive
    assert not prepared(shared).traits.recursive


def doubling(word: str, levels: int) -> JsonSchema:
    """A schema whose every level applies the next one twice."""
    definitions: JsonSchema = {"0": {"type": "integer"}}
    for level in range(1, levels + 1):
        definitions[str(level)] = {word: [{"$ref": f"#/$defs/{level - 1}"}] * 2}
    return {"$ref": f"#/$defs/{levels}", "$defs": definitions}


@pytest.mark.parametrize("word", ["allOf", "anyOf", "oneOf"])
def test_the_weight_counts_what_references_multiply(word: str) -> None:
    """A dozen levels of doubling are refused, and so are four hundred, without counting to 2^400."""
    assert prepared(doubling(word, 8)).traits.cost > 2**8
    for levels in (12, 25, 199):
        found = refusal(doubling(word, levels))
        assert (found.detail, found.limit) == ("schema_weight", True)


def test_children_count_by_the_worst_of_them() -> None:
    """A hundred properties cost as much as one, since a value has one name."""
    one = prepared({"properties": {"a": {"type": "string"}}}).traits.cost
    many = prepared({"properties": {f"p{number}": {"type": "string"} for number in range(100)}}).traits.cost
    both = prepared({"properties": {"a": {"type": "string"}}, "patternProperties": {"^a": True, "b": True}}).traits.cost
    assert one == many == 2
    assert both == 4


@pytest.mark.parametrize(
    ("limits", "fits", "exceeds", "detail"),
    [
        ({"schema_nodes": 5}, {"allOf": [True] * 4}, {"allOf": [True] * 5}, "schema_nodes"),
        ({"schema_depth": 2}, {"not": {"not": {}}}, {"not": {"not": {"not": {}}}}, "schema_depth"),
        ({"patterns": 1}, {"pattern": "a"}, {"pattern": "a", "propertyNames": {"pattern": "b"}}, "patterns"),
        ({"pattern_length": 3}, {"pattern": "abc"}, {"patternProperties": {"abcd": True}}, "patterns"),
        ({"enum_values": 3}, {"enum": [1, 2, 3]}, {"enum": [1, 2], "items": {"enum": ["a", "b"]}}, "enum_values"),
        ({"enum_values": 13}, {"enum": ["a", "b", "c", {}]}, {"enum": [{}, []]}, "enum_values"),
        ({"schema_weight": 3}, {"allOf": [True, True]}, {"allOf": [True, True, True]}, "schema_weight"),
        (
            {"reference_depth": 1},
            {"$ref": "#/$defs/a", "$defs": {"a": True}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": True}},
            "reference_depth",
        ),
        (
            {"schema_bytes": 100},
            {"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"required": ["x" * 20]}}},
            {
                "items": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a/not"}],
                "$defs": {"a": {"not": {"required": ["x" * 40]}}},
            },
            "schema_bytes",
        ),
    ],
)
def test_each_limit_is_inclusive_and_says_so(
    limits: dict[str, int], fits: JsonSchema, exceeds: JsonSchema, detail: str
) -> None:
    """One more of anything is refused for its cost and not as a mistake."""
    prepared(fits, **limits)
    found = refusal(exceeds, **limits)
    assert (found.detail, found.limit) == (detail, True)


def test_long_chains_of_references_cost_no_stack() -> None:
    """Four hundred links compile on both engines, two thousand are refused."""

    def chain(links: int) -> JsonSchema:
        definitions: JsonSchema = {str(link): {"$ref": f"#/$defs/{link + 1}"} for link in range(links - 1)}
        return {"$ref": "#/$defs/0", "$defs": {**definitions, str(links - 1): {"type": "integer"}}}

    for name in ENGINES:
        make_engine(name).compile(prepared(chain(400)))
    for links in (401, 2_000):
        assert refusal(chain(links)).detail == "reference_depth"


def test_patterns_are_kept_or_left_out_as_asked() -> None:
    """Left out, they are still counted; the schema says whether leaving them out is safe."""
    schema = {"properties": {"a": {"contains": {"pattern": "^x"}}}, "propertyNames": {"pattern": "^.$"}}
    assert "pattern" in words_of(prepare(schema).schema)
    without = prepare(schema, keep_patterns=False)
    assert "pattern" not in words_of(without.schema)
    assert without.traits == prepare(schema).traits
    assert without.traits.patterns == ("^x", "^.$")
    assert without.traits.separable


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"pattern": "a"}},
        {"oneOf": [{"pattern": "a"}, {"pattern": "b"}]},
        {"if": {"pattern": "a"}, "then": False},
        {"patternProperties": {"^a": True}, "additionalProperties": False},
    ],
)
def test_schemas_that_turn_on_a_pattern_say_so(schema: JsonSchema) -> None:
    """Leaving the pattern out would make them accept less."""
    assert not prepare(schema).traits.separable


@pytest.mark.parametrize(
    ("word", "cheap", "dear"),
    [
        ("minimum", 3, 3.5),
        ("multipleOf", 2, 0.01),
        ("maximum", 2**53, 2**53 + 1),
        ("const", "a", 1.5),
        ("const", {"a": 1}, {"a": [1.5]}),
        ("enum", ["a"] * 50, [1]),
        ("enum", [1, 2], [{}, []]),
        ("uniqueItems", False, True),
        ("format", "int32", "date-time"),
    ],
)
def test_slow_values_cost_more(word: str, cheap: object, dear: object) -> None:
    """What an engine compares slowly is charged, so that the budget of a call is one of time."""
    assert value_cost(word, cheap) < value_cost(word, dear)
    assert prepare({word: dear}).traits.cost == 1 + value_cost(word, dear)


def test_what_takes_memory_is_counted() -> None:
    """Subschemas, each target of a reference once, and what ``enum`` and ``const`` hold."""
    schema = {
        "items": {"$ref": "#/$defs/a"},
        "contains": {"$ref": "#/$defs/a"},
        "enum": [{"a": [1, {}]}, "b"],
        "const": {"a": 1},
        "$defs": {"a": {"not": {}}},
    }
    traits = prepared(schema).traits
    assert (traits.nodes, traits.containers) == (5, 4)


def test_the_default_limits_admit_a_large_ordinary_schema() -> None:
    """A schema twenty times as large as the 99th percentile of BFCL's is far from every limit."""
    properties = {f"property_{number}": {"type": "string", "enum": ["a", "b"]} for number in range(100)}
    definitions = {f"D{number}": {"type": "object", "properties": properties} for number in range(12)}
    schema = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in definitions], "$defs": definitions}
    assert 58_000 < len(json.dumps(schema)) < DEFAULT_LIMITS.schema_bytes
    assert prepare(schema).traits.cost * 20_000 < DEFAULT_LIMITS.evaluations

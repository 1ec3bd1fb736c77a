"""Schemas that nothing satisfies are the caller's; one that anything satisfies is never taken for one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.model import Blame, Flaw, Outcome
from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.json_schema.engine import make_engine
from exacto_plugin.core.scoring.json_schema.prepare import prepare
from exacto_plugin.core.scoring.json_schema.satisfiability import is_unsatisfiable
from exacto_plugin.core.scoring.limits import NotCompilableError, UnscorableError
from tests.fuzz.schemas import schemas, values

ENGINES = {name: make_engine(name) for name in ("jsonschema_rs", "jsonschema")}
STRING, NUMBER = {"type": "string"}, {"type": "number"}


def required(**properties: Any) -> dict[str, Any]:
    """An object with these properties."""
    return {"type": "object", "properties": properties, "required": sorted(properties)}


UNSATISFIABLE: list[Any] = [
    False,
    {"not": {}},
    {"not": True},
    {"enum": []},
    {"allOf": [STRING, NUMBER]},
    {"type": "object", "required": ["a"], "additionalProperties": False},
    required(a=False),
    required(a={"not": {}}),
    required(a={"enum": []}),
    required(a={"const": 1, "enum": [2, 3]}),
    required(a={"allOf": [{"const": 1}, {"const": 2}]}),
    required(a={"type": "string", "const": 1}),
    required(a={"type": "integer", "enum": ["x", None, 1.5]}),
    required(a={"type": "number", "minimum": 5, "maximum": 4}),
    required(a={"type": "number", "exclusiveMinimum": 5, "maximum": 5}),
    required(a={"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}),
    required(a={"type": "integer", "minimum": 11, "maximum": 19, "multipleOf": 10}),
    required(a={"type": "string", "minLength": 3, "maxLength": 2}),
    required(a={"type": "array", "minItems": 2, "maxItems": 1}),
    required(a={"type": "array", "minItems": 1, "items": False}),
    required(a={"type": "array", "minItems": 2, "items": [True], "additionalItems": False}),
    required(a={"type": "array", "items": STRING, "contains": NUMBER}),
    required(a={"type": "array", "contains": True, "maxItems": 0}),
    required(a=required(b=required(c={"minimum": 2, "maximum": 1, "type": "number"}))),
    {"type": "object", "minProperties": 2, "maxProperties": 1},
    {"type": "object", "required": ["a", "b"], "maxProperties": 1},
    {"type": "object", "properties": {"a": {}}, "additionalProperties": False, "minProperties": 2},
    {"type": "object", "properties": {"a": False}, "additionalProperties": False, "minProperties": 1},
    {"type": "object", "propertyNames": False, "minProperties": 1},
    {"type": "object", "propertyNames": {"maxLength": 2}, "required": ["abc"]},
    {"type": "object", "required": ["a"], "dependencies": {"a": ["b"]}, "properties": {"b": False}},
    {"type": "object", "required": ["a"], "dependencies": {"a": {"required": ["b"], "properties": {"b": False}}}},
    {"type": "object", "anyOf": [STRING, NUMBER]},
    {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["a"]}]},
    {"type": "object", "if": True, "then": False},
    {"type": "object", "if": {"required": ["a"]}, "then": False, "else": {"required": ["a"]}},
    {"type": "object", "not": {"type": "object"}},
    {"allOf": [required(a=STRING), {"not": required(a=STRING)}]},
    {"$ref": "#/definitions/x", "definitions": {"x": {"not": {}}}},
    required(a={"$ref": "#/definitions/x"}) | {"definitions": {"x": {"enum": []}}},
    required(next={"$ref": "#"}),
    {"allOf": [required(a=STRING), required(a=NUMBER)]},
]

SATISFIABLE: list[tuple[Any, Any]] = [
    (True, {}),
    ({}, {}),
    ({"not": False}, {}),
    ({"type": "object", "properties": {"a": False}}, {}),
    ({"type": "object", "additionalProperties": False}, {}),
    ({"required": ["a"], "patternProperties": {"a": {}}, "additionalProperties": False}, {"a": 1}),
    (required(a={"type": "integer", "minimum": 1.5, "maximum": 2.5}), {"a": 2}),
    (required(a={"type": "integer", "const": 1.0}), {"a": 1}),
    (required(a={"minimum": 5, "maximum": 4}), {"a": "no number"}),
    (required(a={"minLength": 3, "maxLength": 2}), {"a": 1}),
    (required(a={"minItems": 1, "items": False}), {"a": {}}),
    (required(a={"anyOf": [False, STRING]}), {"a": "x"}),
    (required(a={"anyOf": [STRING], "type": "string"}), {"a": "x"}),
    (required(a={"oneOf": [STRING, STRING, NUMBER]}), {"a": 1}),
    (required(a={"not": {"properties": {"b": {}}, "additionalProperties": False}}), {"a": {"c": 1}}),
    ({"properties": {"next": {"$ref": "#"}}}, {"next": {"next": {}}}),
    (required(a={"anyOf": [{"type": "null"}, {"$ref": "#"}]}), {"a": {"a": None}}),
    ({"if": {"required": ["a"]}, "then": False}, {}),
    ({"allOf": [required(a={"minimum": 2}), required(a={"maximum": 2})]}, {"a": 2}),
]


def found(engine: str, schema: Any, *, objects_only: bool = True) -> bool:
    """What is said of a schema."""
    return is_unsatisfiable(prepare(schema), ENGINES[engine], objects_only=objects_only)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("schema", UNSATISFIABLE, ids=lambda schema: orjson.dumps(schema).decode()[:60])
def test_contradictions_are_found(engine: str, schema: Any) -> None:
    """Those that a client may have, by mistake or on purpose."""
    assert found(engine, schema)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("schema", "value"), SATISFIABLE, ids=lambda each: orjson.dumps(each).decode()[:60])
def test_what_can_be_satisfied_is_no_contradiction(engine: str, schema: Any, value: Any) -> None:
    """Although it looks like one."""
    # The Python engine compiles no schema whose meaning depends on regular expressions.
    judged_by = "jsonschema_rs" if schema is not True and "patternProperties" in schema else engine
    assert ENGINES[judged_by].compile(prepare(schema)).is_valid(value)
    assert not found(engine, schema)
    assert not found(engine, schema, objects_only=False)


@settings(max_examples=400, deadline=None)
@given(schemas(False), st.lists(values, min_size=1, max_size=8), st.sampled_from(sorted(ENGINES)))
def test_a_schema_that_accepts_something_is_never_reported(schema: Any, tried: list[Any], engine: str) -> None:
    """Any schema that an engine compiles, by any value that it accepts."""
    try:
        prepared = prepare(schema)
        validator = ENGINES[engine].compile(prepared)
        accepted = [value for value in [*tried, {}, [], "", 0, 1.5, None, True] if validator.is_valid(value)]
    except (NotCompilableError, UnscorableError):
        return
    if accepted:
        assert not is_unsatisfiable(prepared, ENGINES[engine], objects_only=False)
    if any(isinstance(value, dict) for value in accepted):
        assert not is_unsatisfiable(prepared, ENGINES[engine], objects_only=True)


def fitting_later(value: Any) -> st.SearchStrategy[Any]:
    """``fitting``, made when it is drawn from."""
    return st.deferred(lambda: fitting(value))


def fitting(value: Any) -> st.SearchStrategy[Any]:
    """Schemas that a value satisfies, with limits that it just meets."""
    options: list[st.SearchStrategy[Any]] = [st.just(True), st.just({"const": value}), st.just({"enum": [value, 0]})]
    if isinstance(value, dict):
        inner = st.fixed_dictionaries({name: fitting_later(each) for name, each in value.items()})
        options.append(
            inner.map(
                lambda properties: {
                    "type": "object",
                    "properties": properties,
                    "required": sorted(value),
                    "minProperties": len(value),
                    "maxProperties": len(value),
                    "additionalProperties": False,
                }
            )
        )
    elif isinstance(value, list):
        inner_items = st.tuples(*(fitting_later(each) for each in value)).map(list)
        options.append(
            inner_items.map(
                lambda items: {"minItems": len(items), "maxItems": len(items), **({"items": items} if items else {})}
            )
        )
    elif isinstance(value, str):
        options.append(st.just({"type": "string", "minLength": len(value), "maxLength": len(value)}))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        options.append(st.just({"minimum": value, "maximum": value, "type": "number"}))
    one = st.one_of(options)
    return st.one_of(
        one,
        st.lists(one, min_size=1, max_size=3).map(lambda parts: {"allOf": parts}),
        one.map(lambda part: {"anyOf": [False, part]}),
        one.map(lambda part: {"oneOf": [{"not": {}}, part]}),
        one.map(lambda part: {"not": {"not": part}}),
        one.map(lambda part: {"if": part, "then": part, "else": False}),
    )


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), values, max_size=3).flatmap(fitting))
def test_a_schema_made_for_a_value_is_never_reported(schema: Any) -> None:
    """However tightly it fits."""
    try:
        prepared = prepare(schema)
    except NotCompilableError:
        return
    assert not is_unsatisfiable(prepared, ENGINES["jsonschema_rs"], objects_only=True)


def test_a_call_by_such_a_schema_is_the_callers_fault() -> None:
    """And is not scored; the calls of other tools are."""
    tools = [
        {"type": "function", "function": {"name": "no", "parameters": {"not": {}}}},
        {"type": "function", "function": {"name": "yes", "parameters": required(a=STRING)}},
    ]
    evaluator = Evaluator()
    broken = evaluator.evaluate(ToolCall("no", "{}"), tools)
    assert broken == Evaluation(Outcome.UNSCORED, "unsatisfiable")
    assert (broken.flaw, broken.blame) == (Flaw.BROKEN_SCHEMA, Blame.CALLER)
    assert evaluator.evaluate(ToolCall("yes", "{}"), tools).outcome is Outcome.SCHEMA_MISMATCH


def test_arguments_that_are_no_object_are_judged_by_a_schema_for_them() -> None:
    """A schema for strings accepts one; for an object it is a schema that nothing satisfies."""
    tools = [{"type": "function", "function": {"name": "say", "parameters": STRING}}]
    outcomes = {text: Evaluator().evaluate(ToolCall("say", text), tools).outcome for text in ('"x"', "7", "{}")}
    assert outcomes == {'"x"': Outcome.VALID, "7": Outcome.SCHEMA_MISMATCH, "{}": Outcome.UNSCORED}


def test_the_question_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls do not match."""
    asked: list[bool] = []

    def ask(*_: object, objects_only: bool) -> bool:
        asked.append(objects_only)
        return False

    place = "exacto_plugin.core.scoring.json_schema.cache.is_unsatisfiable"
    monkeypatch.setattr(place, ask)
    tools = [{"type": "function", "function": {"name": "f", "parameters": required(a=STRING)}}]
    evaluator = Evaluator()
    for text in ("{}", "{}", "7", "[]", "{}"):
        evaluator.evaluate(ToolCall("f", text), tools)
    assert asked == [True, False]


def test_a_search_that_takes_long_is_given_up() -> None:
    """Many choices, of which every combination fails."""
    choices = [{"anyOf": [required(**{f"p{number}": {"const": side}}) for side in (1, 2)]} for number in range(40)]
    assert not found("jsonschema_rs", {"allOf": [*choices, {"maxProperties": 39}]})

"""What holds of any schema whatever: it is prepared or refused, left alone, never fetched, and judged alike by all."""

from __future__ import annotations

import copy
import functools
import socket
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
import referencing
from hypothesis import assume
from hypothesis import strategies as st
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.json_schema.engine import ValidationEngine, Validator, make_engine
from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema, prepare
from exacto_plugin.core.scoring.limits import NotCompilableError, UnscorableError
from tests.fuzz.bodies import json_values
from tests.fuzz.examples import fuzz
from tests.fuzz.schemas import costly_schemas, names, schemas, texts, values
from tests.support.scoring_cases import ENGINES, offered

_LIMITED = frozenset({"valid schema_limit", "valid not_compilable", "unscored evaluations", "unscored steps"})
"""Ways of not saying yes or no for the cost of it; the engines differ in when."""

_ALLOWED_REFUSALS = frozenset({"cycle"})


@functools.cache
def _engine(name: str) -> ValidationEngine:
    return make_engine(name)


@functools.cache
def _evaluator(name: str) -> Evaluator:
    return Evaluator(name)


def _prepared(schema: object) -> PreparedSchema:
    """The prepared schema; an example that is refused does not count."""
    try:
        return prepare(schema)
    except NotCompilableError:
        assume(False)
        raise


def _judged(engine: str, call: ToolCall, tools: list[Any]) -> Evaluation:
    """The verdict, always one that a provider can be held to."""
    found = _evaluator(engine).evaluate(call, tools, explain=True)
    assert found.reason != "engine_error"
    assert (found.schema_path != "") == (found.outcome is Outcome.SCHEMA_MISMATCH)
    return found


@fuzz(schemas(broken=True) | costly_schemas() | json_values())
def test_any_json_is_prepared_or_refused_and_left_alone(schema: object) -> None:
    """Nothing but the refusal is raised, and the client's schema is not changed."""
    before = copy.deepcopy(schema)
    with suppress(NotCompilableError):
        prepare(schema)
    assert schema == before


@fuzz(schemas(broken=True) | costly_schemas())
def test_engines_compile_or_refuse_what_was_prepared(schema: object) -> None:
    """A prepared schema may still be wrong; no engine finds a third way to say so."""
    prepared = _prepared(schema)
    for name in ENGINES:
        with suppress(NotCompilableError):
            _engine(name).compile(prepared)


@fuzz(schemas(broken=False), st.lists(values, min_size=1, max_size=3))
def test_both_engines_give_the_same_verdict(schema: object, instances: list[object]) -> None:
    """Without patterns and formats the engines differ in speed only."""
    prepared = _prepared(schema)
    try:
        fast, pure = (_engine(name).compile(prepared) for name in ENGINES)
    except NotCompilableError:
        assume(False)
    for instance in instances:
        with suppress(UnscorableError):
            assert fast.is_valid(instance) == pure.is_valid(instance)
            for engine in (fast, pure):
                assert (engine.first_violation(instance) is None) == engine.is_valid(instance)


@fuzz(schemas(broken=False))
def test_preparing_twice_changes_nothing_more(schema: object) -> None:
    """What comes out is in plain words already."""
    once = _prepared(schema)
    assert prepare(once.schema).traits == once.traits


def _compiled(engine: str, schema: object) -> Validator | None:
    """A schema that draft 7 allows, compiled; None when it costs too much or its references lead in a circle."""
    try:
        return _engine(engine).compile(prepare(schema))
    except NotCompilableError as refusal:
        if refusal.limit or refusal.detail in _ALLOWED_REFUSALS:
            return None
        raise


def _no_fetching(uri: str) -> Any:
    raise Unresolvable(uri)


@fuzz(schemas(broken=False, newer=False), st.lists(values, min_size=1, max_size=3))
def test_the_verdict_is_draft_7s(schema: Any, instances: list[object]) -> None:
    """In draft 7's plain words the prepared schema says what ``jsonschema.Draft7Validator`` says of the client's own.

    A schema that draft 7 allows is refused for its cost or for a loop of references only.
    """
    reference = jsonschema.Draft7Validator
    with suppress(RecursionError):  # a loop of references, of which draft 7 does not say what it means
        try:
            reference.check_schema(schema)
        except SchemaError:
            assume(False)
        registry: Any = referencing.Registry(retrieve=_no_fetching)  # type: ignore[call-arg]
        wanted = [reference(schema, registry=registry).is_valid(instance) for instance in instances]
        for name in ENGINES:
            validator = _compiled(name, schema)
            if validator is not None:
                with suppress(UnscorableError):
                    assert [validator.is_valid(instance) for instance in instances] == wanted


@fuzz(schemas(broken=True) | costly_schemas(), texts, st.booleans())
def test_any_call_gets_a_verdict(schema: object, arguments: str, empty: bool) -> None:
    """Neither schema nor arguments make an engine fail; a mismatch is told in words that the schema declares."""
    for name in ENGINES:
        found = _judged(name, ToolCall("called", "" if empty else arguments), offered(schema))
        pointer, _, _word = found.schema_path.rpartition("#")
        shown = {part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]}
        assert shown <= {"*", *_strings(schema)} or len(found.schema_path) >= 256


@fuzz(schemas(broken=False) | costly_schemas(), texts)
def test_both_engines_judge_a_call_alike(schema: object, arguments: str) -> None:
    """Where neither declines for the cost and no pattern is involved, outcome and reason are the same."""
    assume("attern" not in str(schema))
    found = [_judged(name, ToolCall("called", arguments), offered(schema)) for name in ENGINES]
    said = {f"{each.outcome} {each.reason}".strip() for each in found}
    assert len(said) == 1 or said & _LIMITED or "unscored depth" in said


_tools = st.lists(
    st.one_of(
        json_values(),
        st.builds(
            lambda wrapper, key, name, schema, kind: {"type": kind, wrapper: {"name": name, key: schema}},
            st.sampled_from(["function", "toolSpec", "custom", "x"]),
            st.sampled_from(["parameters", "input_schema", "inputSchema", "parametersJsonSchema"]),
            st.sampled_from(["called", "other", "", 1, None]),
            schemas(broken=True),
            st.sampled_from(["function", "custom", "mcp", "web_search", None, 1]),
        ),
        st.builds(
            lambda plural, entries: {plural: entries},
            st.sampled_from(["function_declarations", "functionDeclarations"]),
            json_values() | st.lists(st.fixed_dictionaries({"name": st.just("called"), "parameters": json_values()})),
        ),
        st.fixed_dictionaries({"name": st.just("called")}, optional={"input_schema": json_values(), "type": names}),
    ),
    max_size=3,
)


@fuzz(_tools, st.sampled_from(["called", "other", "", "function"]), texts | json_values())
def test_any_tools_get_a_verdict(tools: list[Any], name: str, arguments: object) -> None:
    """Whatever stands in ``tools``, and whatever kind of thing a provider sends as arguments."""
    for engine in ENGINES:
        _judged(engine, ToolCall(name, arguments), tools)


@fuzz(st.sampled_from(["$ref", "$schema", "$id", "$dynamicRef", "$recursiveRef"]), schemas(broken=True), st.data())
def test_nothing_is_fetched(word: str, schema: Any, data: st.DataObject) -> None:
    """A URL in a schema, in whatever place, is never asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/{data.draw(names)}"
        where = data.draw(st.sampled_from(["properties", "$defs", "items", "allOf"]))
        beside = {"$ref": data.draw(st.sampled_from(["x", "#/y", url]))}
        pointed: Any = {word: url} if word == "$ref" else {word: url, **beside}
        inside: Any = {"properties": {"a": pointed}, "$defs": {"X": pointed}, "items": pointed, "allOf": [pointed]}
        whole = {**(schema if isinstance(schema, dict) else {}), where: inside[where], word: url}
        for name in ENGINES:
            _judged(name, ToolCall("called", '{"a": 1}'), offered(whole))
        with pytest.raises(BlockingIOError):
            listening.accept()


def _strings(value: object) -> set[str]:
    """All names and strings inside a value."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.add(each)
        elif isinstance(each, dict):
            found.update(each)
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return found

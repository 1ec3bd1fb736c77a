"""A tool call gets the published verdict, and a deployment is never blamed for what others did."""

from __future__ import annotations

import json
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator, worst
from exacto_plugin.core.scoring.json_schema.cache import CompiledSchema, SchemaCache
from exacto_plugin.core.scoring.json_schema.engine import make_engine
from exacto_plugin.core.scoring.limits import ScoringLimits
from tests.support.scoring_cases import ENGINES, judge, offered

BOTH = pytest.mark.parametrize("engine", ENGINES)

BOOKING = {
    "type": "object",
    "properties": {
        "seats": {"type": "integer"},
        "passengers": {
            "type": "array",
            "items": {"type": "object", "properties": {"dob": {"type": "string", "format": "date"}}},
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["seats"],
    "additionalProperties": False,
}


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments", "outcome", "reason"),
    [
        ("called", '{"seats": 2}', Outcome.VALID, ""),
        ("called", {"seats": 2}, Outcome.VALID, ""),
        ("called", '{"seats": 2', Outcome.INVALID_JSON, ""),
        ("called", '{"seats": NaN}', Outcome.INVALID_JSON, ""),
        ("called", ["seats"], Outcome.INVALID_JSON, ""),
        ("called", 5, Outcome.INVALID_JSON, ""),
        ("called", '{"seats": "2"}', Outcome.SCHEMA_MISMATCH, ""),
        ("called", {"seats": "2"}, Outcome.SCHEMA_MISMATCH, ""),
        ("called", '{"seats": 2, "extra": 1}', Outcome.SCHEMA_MISMATCH, ""),
        ("called", "[]", Outcome.SCHEMA_MISMATCH, ""),
        ("called", "null", Outcome.SCHEMA_MISMATCH, ""),
        ("called", '"{\\"seats\\": 2}"', Outcome.SCHEMA_MISMATCH, ""),
        ("other", '{"seats": 2}', Outcome.UNKNOWN_NAME, ""),
        ("other", "{", Outcome.UNKNOWN_NAME, ""),
        ("", "{}", Outcome.UNKNOWN_NAME, ""),
        ("plain", '{"anything": 1}', Outcome.VALID, "no_schema"),
        ("plain", "{", Outcome.INVALID_JSON, ""),
        ("web_search", '{"query": "x"}', Outcome.VALID, "no_schema"),
        ("web_search", None, Outcome.VALID, "no_schema"),
        ("sql", "SELECT 1", Outcome.VALID, "no_schema"),
        ("broken", '{"seats": 2}', Outcome.VALID, "not_compilable"),
        ("broken", "{", Outcome.INVALID_JSON, ""),
        ("huge", '{"seats": 2}', Outcome.VALID, "schema_limit"),
    ],
)
def test_verdicts(engine: str, name: str, arguments: object, outcome: Outcome, reason: str) -> None:
    """One row each of the published rule, with its reason."""
    tools = [
        *offered(BOOKING),
        {"type": "function", "function": {"name": "plain"}},
        {"type": "web_search_preview"},
        {"type": "custom", "custom": {"name": "sql"}},
        *offered({"type": "dict"}, "broken"),
        *offered({"description": "x" * 200_000}, "huge"),
    ]
    found = Evaluator(engine).evaluate(ToolCall(name, arguments), tools)
    assert found == Evaluation(outcome, reason)


@BOTH
@pytest.mark.parametrize("arguments", ["", "  ", "\n", None])
def test_empty_arguments_are_a_choice(engine: str, arguments: object) -> None:
    """As an empty object they are held against the schema; as published they are no JSON."""
    call = ToolCall("called", arguments)
    as_object, as_text = Evaluator(engine), Evaluator(engine, "invalid_json")
    none_needed, some_needed = offered({"type": "object", "properties": {}}), offered(BOOKING)
    assert as_object.evaluate(call, none_needed) == Evaluation(Outcome.VALID, "empty_arguments")
    assert as_object.evaluate(call, some_needed) == Evaluation(Outcome.SCHEMA_MISMATCH, "empty_arguments")
    assert as_text.evaluate(call, none_needed) == Evaluation(Outcome.INVALID_JSON, "empty_arguments")
    assert as_object.evaluate(ToolCall("called", "\u00a0"), none_needed).outcome is Outcome.INVALID_JSON


def test_unknown_settings_are_refused() -> None:
    """A misspelt setting does not select a default."""
    with pytest.raises(ValueError, match="fast"):
        Evaluator("fast")
    with pytest.raises(ValueError, match="null"):
        Evaluator(empty_arguments="null")


@BOTH
def test_tools_of_one_name_accept_what_either_accepts(engine: str) -> None:
    """Two servers may offer a tool of one name; a call that none of them accepts is still bad."""
    evaluator = Evaluator(engine)
    tools = [
        {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "required": [key]}}}
        for key in ("query", "text")
    ]
    for arguments, outcome in (
        ('{"query": 1}', Outcome.VALID),
        ('{"text": 1}', Outcome.VALID),
        ('{"other": 1}', Outcome.SCHEMA_MISMATCH),
        ('{"text": 1', Outcome.INVALID_JSON),
    ):
        assert evaluator.evaluate(ToolCall("search", arguments), tools).outcome is outcome
    assert evaluator.evaluate(ToolCall("search", '{"text": 1}'), tools[:1]).outcome is Outcome.SCHEMA_MISMATCH


def test_other_means_can_open_a_set() -> None:
    """An unlisted name is not judged where the request brings tools by another parameter; a listed one is."""
    evaluator = Evaluator()
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["a"]}}}]
    unlisted, wrong = ToolCall("g", "{}"), ToolCall("f", "{}")
    assert evaluator.evaluate(unlisted, tools).outcome is Outcome.UNKNOWN_NAME
    assert evaluator.evaluate(unlisted, tools, open_set=True).outcome is Outcome.UNSCORED
    assert evaluator.evaluate(wrong, tools, open_set=True).outcome is Outcome.SCHEMA_MISMATCH


def test_unlisted_names_of_open_tool_sets_are_not_judged() -> None:
    """With an MCP server among the tools nobody can say that a name is wrong; listed ones are judged as ever."""
    tools = [*offered(BOOKING), {"type": "mcp", "server_label": "files"}]
    evaluator = Evaluator()
    assert evaluator.evaluate(ToolCall("read_file", "{}"), tools) == Evaluation(Outcome.UNSCORED, "open_tool_set")
    assert evaluator.evaluate(ToolCall("called", "{}"), tools).outcome is Outcome.SCHEMA_MISMATCH


@BOTH
@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"seats": "x"}, "/seats#type"),
        ({}, "/seats#required"),
        ([], "#type"),
        ({"seats": 1, "passengers": [{}, {"dob": "tomorrow"}]}, "/passengers/*/dob#format"),
        ({"seats": 1, "labels": {"Jane Roe, 4 Elm St": 5}}, "/labels/*#type"),
        ({"seats": 1, "labels": {"seats": 5}}, "/labels/seats#type"),
        ({"seats": 1, "Jane Roe, 4 Elm St": 5}, "#additionalProperties"),
    ],
)
def test_the_place_of_a_mismatch_names_declared_properties_only(engine: str, arguments: object, path: str) -> None:
    """Keys that a model made up may be user data, and indices say nothing."""
    assert judge(engine, BOOKING, arguments, explain=True) == Evaluation(Outcome.SCHEMA_MISMATCH, "", path)
    assert judge(engine, BOOKING, arguments) == Evaluation(Outcome.SCHEMA_MISMATCH)


@BOTH
def test_the_place_of_a_mismatch_is_bounded_and_escaped(engine: str) -> None:
    """Declared names can be long and can hold the separators of a pointer."""
    assert (
        judge(engine, {"properties": {"a/b~c": {"type": "null"}}}, {"a/b~c": 1}, explain=True).schema_path
        == "/a~1b~0c#type"
    )
    long = judge(engine, {"required": ["x" * 10_000]}, {}, explain=True).schema_path
    assert len(long) < 300
    assert long.endswith("#required")


SECRET = "zq_secret_zq"


@BOTH
@given(data=st.data())
def test_an_evaluation_holds_nothing_of_the_arguments(engine: str, data: st.DataObject) -> None:
    """Wherever the secret stands, as key or as value, the verdict does not repeat it."""
    secrets = st.just(SECRET)
    values = st.recursive(
        secrets | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["seats", "passengers", "dob", "labels", SECRET]), inner, max_size=3)
        ),
        max_leaves=8,
    )
    found = judge(engine, BOOKING, data.draw(values), explain=True)
    assert SECRET not in repr(found)


class PanicException(BaseException):
    """Named as PyO3 names what a Rust panic becomes; it derives from BaseException there too."""


class RaisingSchemas(SchemaCache):
    """A cache whose engine fails in some way."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(make_engine())
        self.error = error

    def compiled(self, parameters: object) -> CompiledSchema:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        PanicException("panicked"),
        RuntimeError(),
        RecursionError(),
        MemoryError(),
        UnicodeEncodeError("a", "", 0, 1, ""),
    ],
)
def test_whatever_an_engine_raises_is_nobodys_fault(error: BaseException) -> None:
    """The call is unscored, and the next one is judged."""
    evaluator = Evaluator()
    schemas, evaluator.schemas = evaluator.schemas, RaisingSchemas(error)
    assert evaluator.evaluate(ToolCall("called", "{}"), offered(BOOKING)) == Evaluation(
        Outcome.UNSCORED, "engine_error"
    )
    evaluator.schemas = schemas
    assert evaluator.evaluate(ToolCall("called", "{}"), offered(BOOKING)).outcome is Outcome.SCHEMA_MISMATCH


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_requests_to_stop_are_passed_on(error: BaseException) -> None:
    """What ends a program is no failure of an engine."""
    evaluator = Evaluator()
    evaluator.schemas = RaisingSchemas(error)
    with pytest.raises(type(error)):
        evaluator.evaluate(ToolCall("called", "{}"), offered(BOOKING))


class HostileTool(dict[str, object]):
    """An entry of ``tools`` that cannot be read."""

    def __getitem__(self, key: str) -> NoReturn:
        raise RuntimeError


def test_tools_that_cannot_be_read_are_nobodys_fault() -> None:
    """From Python, ``tools`` can hold anything."""
    found = Evaluator().evaluate(ToolCall("called", "{}"), [HostileTool(function={})])
    assert found == Evaluation(Outcome.UNSCORED, "engine_error")


@BOTH
def test_limits_are_settings(engine: str) -> None:
    """What a verdict may cost can be narrowed."""
    evaluator = Evaluator(engine, limits=ScoringLimits(argument_chars=20, argument_depth=3))
    for text, reason in (('{"seats": 12345678901234567890}', "too_large"), ("[[[[]]]]", "depth"), ('{"seats": 2}', "")):
        assert evaluator.evaluate(ToolCall("called", text), offered(BOOKING)).reason == reason


def test_all_calls_of_an_answer_are_judged_in_order() -> None:
    """Each by itself."""
    calls = [
        ToolCall("called", '{"seats": 1}'),
        ToolCall("called", "{"),
        ToolCall("who", "{}"),
        ToolCall("called", "{}"),
    ]
    found = Evaluator().evaluate_all(iter(calls), offered(BOOKING), explain=True)
    assert [each.outcome for each in found] == [
        Outcome.VALID,
        Outcome.INVALID_JSON,
        Outcome.UNKNOWN_NAME,
        Outcome.SCHEMA_MISMATCH,
    ]
    assert found[-1].schema_path == "/seats#required"
    assert worst(found) is Outcome.INVALID_JSON


@given(st.lists(st.sampled_from(list(Outcome))))
def test_the_worst_call_decides_for_the_request(outcomes: list[Outcome]) -> None:
    """A bad call before an unscored one, that before a valid one; without calls there is no verdict."""
    found = worst(Evaluation(outcome) for outcome in outcomes)
    assert found == worst(Evaluation(outcome) for outcome in sorted(outcomes))
    bad = {Outcome.INVALID_JSON, Outcome.UNKNOWN_NAME, Outcome.SCHEMA_MISMATCH}
    if not outcomes:
        assert found is None
    elif bad & set(outcomes):
        assert found in bad
    else:
        assert found is (Outcome.UNSCORED if Outcome.UNSCORED in outcomes else Outcome.VALID)


@BOTH
@given(st.text(max_size=60), st.text(max_size=10))
def test_no_call_raises(engine: str, arguments: str, name: str) -> None:
    """Any text as arguments and any name get a verdict."""
    evaluator = Evaluator(engine)
    for tools in (offered(BOOKING, name), [{"name": name, "input_schema": {"type": "string"}}], []):
        assert evaluator.evaluate(ToolCall(name, arguments), tools).outcome in Outcome
        assert evaluator.evaluate(ToolCall(name, json.dumps(arguments)), tools).outcome in Outcome

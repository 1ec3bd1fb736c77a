"""Hostile schemas and arguments get an answer of the right kind: nothing crashes, hangs or is fetched.

Tool schemas come from whoever can call the proxy and arguments from models that they instruct. Both engines; how long
the answers take is a matter of ``benchmarks/scoring.py`` and of the limits, each of which has a test of its own.
"""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from referencing.exceptions import Unresolvable

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.json_schema.engine import make_engine
from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema, SchemaTraits
from exacto_plugin.core.scoring.limits import NotCompilableError
from tests.support.scoring_cases import ENGINES, judge, offered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.parametrize("engine", ENGINES)

EVIL_PATTERNS = [
    "^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(a*)*b$", "(a+){10}b", "^([a-zA-Z]+)*$", "^(\\w+\\s?)*$", "(.*a){20}",
    "^(?=(a+)+$)", "(a+)+\\1$", "(?<!(a+)+)b", "^(?:(?:a+)+)+!?$",
]  # fmt: skip


def verdict(found: Evaluation) -> str:
    """Outcome and reason in one word each."""
    return f"{found.outcome} {found.reason}".strip()


@pytest.mark.parametrize("pattern", EVIL_PATTERNS)
@pytest.mark.parametrize("word", ["pattern", "patternProperties", "propertyNames"])
def test_patterns_that_backtrack_for_ever(engine: str, pattern: str, word: str) -> None:
    """Matched by a linear engine or not at all; a backtracking one would not come back."""
    text = "a" * 40 + "!"
    schemas: dict[str, dict[str, Any]] = {
        "pattern": {"properties": {"x": {"pattern": pattern}}},
        "patternProperties": {"patternProperties": {pattern: {"type": "integer"}}},
        "propertyNames": {"propertyNames": {"pattern": pattern}},
    }
    found = judge(engine, schemas[word], {"x": text} if word == "pattern" else {text: 1})
    assert found.outcome in (Outcome.VALID, Outcome.SCHEMA_MISMATCH)
    if engine == "jsonschema":
        assert verdict(found) == ("valid not_compilable" if word == "patternProperties" else "valid")


def test_a_pattern_that_matches_is_never_called_a_mismatch(engine: str) -> None:
    """At its limit a backtracking engine says "no match"; the linear one has no such limit."""
    for pattern in ("^(a+)+$", "^(a|aa)+$", "(a*)*"):
        assert judge(engine, {"pattern": pattern}, json.dumps("a" * 5_000)).outcome == "valid"


def test_patterns_that_explode_when_compiled(engine: str) -> None:
    """Refused by compiled size, number and length."""
    for pattern in ("(\\p{L}{1000}){50}", "((a{100}){100}){100}"):
        assert judge(engine, {"pattern": pattern}, '"a"').outcome == "valid"
    many = {"allOf": [{"pattern": f"^a{number}"} for number in range(33)]}
    long = {"pattern": "a" * 1_025}
    for schema in (many, long):
        assert verdict(judge(engine, schema, '"b"')) == "valid schema_limit"


def test_a_linear_pattern_on_a_long_text(engine: str) -> None:
    """Even linear matching costs pattern times text: on long arguments everything but the pattern is checked."""
    schema = {"type": "object", "properties": {"a": {"pattern": "[ab]*a[ab]{1000}c", "type": "string"}}}
    long = "ab" * 30_000
    assert judge(engine, schema, {"a": long}).outcome == "valid"
    assert judge(engine, schema, {"a": 1, "b": long}).outcome == "schema_mismatch"


def doubling(word: str, levels: int) -> dict[str, Any]:
    """A schema whose every level applies the next one twice."""
    definitions: dict[str, Any] = {"0": {"type": "integer"}}
    for level in range(1, levels + 1):
        definitions[str(level)] = {word: [{"$ref": f"#/$defs/{level - 1}"}] * 2}
    return {"$ref": f"#/$defs/{levels}", "$defs": definitions}


@pytest.mark.parametrize("word", ["allOf", "anyOf", "oneOf"])
def test_reference_bombs(engine: str, word: str) -> None:
    """2 kB of schema that stand for 2^30 evaluations are not used; a small one of the kind is."""
    assert verdict(judge(engine, doubling(word, 30), "1")) == "valid schema_limit"
    # What fits one of two equal branches fits both, so nothing satisfies that one.
    refused = "unscored unsatisfiable" if word == "oneOf" else "schema_mismatch"
    assert verdict(judge(engine, doubling(word, 5), '"x"')) == refused


@pytest.mark.parametrize("turn", [{}, {"not": {"$ref": "#/$defs/a"}}, {"if": {"$ref": "#/$defs/a"}, "else": False}])
def test_loops_on_one_value(engine: str, turn: dict[str, Any]) -> None:
    """They make some engines panic in native code; none gets to see one."""
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}], **turn}, "b": {"$ref": "#/$defs/a"}}}
    assert verdict(judge(engine, loop, "{}")) == "valid not_compilable"


def test_recursive_unions_on_deep_arguments(engine: str) -> None:
    """Three branches that recurse are 3^30 ways through thirty levels: judged by memory or given up in time."""
    schema = {
        "anyOf": [
            {"type": "integer"},
            {"properties": {"a": {"$ref": "#"}}, "required": ["b"]},
            {"properties": {"a": {"$ref": "#"}}, "required": ["c"]},
            {"properties": {"a": {"$ref": "#"}}, "required": ["d"]},
        ]
    }
    found = judge(engine, schema, '{"a":' * 30 + '"x"' + "}" * 30)
    assert verdict(found) == ("schema_mismatch" if engine == "jsonschema_rs" else "unscored steps")


@pytest.mark.parametrize("depth", [30, 128])
def test_deep_arguments_of_a_recursive_schema(engine: str, depth: int) -> None:
    """Followed as far as the engine's stack is known to reach."""
    schema = {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}}}
    expected = "valid" if engine == "jsonschema_rs" or depth < 32 else "unscored depth"
    assert verdict(judge(engine, schema, '{"a":' * depth + "1" + "}" * depth)) == expected


@pytest.mark.parametrize("depth", [129, 1_025, 20_000, 40_000])
def test_arguments_too_deep_for_native_stacks(engine: str, depth: int) -> None:
    """At 20,000 levels the fast engine would end the process: never parsed, as text or as an object, closed or not."""
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    for text in ('{"a":' * depth + "1" + "}" * depth, "[" * depth + "]" * depth, "[" * depth):
        assert verdict(judge(engine, schema, text)) == "unscored depth"
    nested: dict[str, object] = {}
    for _ in range(depth):
        nested = {"a": nested}
    found = Evaluator(engine).evaluate(ToolCall("called", nested), offered(schema))
    assert verdict(found) == "unscored depth"


def test_deep_arguments_in_a_thread_with_a_small_stack(engine: str) -> None:
    """128 levels, and the place of an error below them, fit in 256 kB of stack."""
    schema = {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}}}
    evaluator, found = Evaluator(engine), list[Evaluation]()

    def work() -> None:
        for leaf in ("1", '"x"'):
            text = '{"a":' * 127 + leaf + "}" * 127
            found.append(evaluator.evaluate(ToolCall("called", text), offered(schema), explain=True))

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    kinds = ["valid", "schema_mismatch"] if engine == "jsonschema_rs" else ["unscored depth"] * 2
    assert [verdict(each) for each in found] == kinds


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"enum": [{"a": number} for number in range(100_000)]}, "valid schema_limit"),
        ({"enum": [{"a": number} for number in range(501)]}, "valid schema_limit"),
        ({"enum": [f"value {number}" for number in range(5_001)]}, "valid schema_limit"),
        ({"properties": {f"p{number}": {} for number in range(50_000)}}, "valid schema_limit"),
        ({"anyOf": [{"type": "string", "minLength": number} for number in range(5_000)]}, "valid schema_limit"),
        ({"required": [f"p{number}" for number in range(20_000)]}, "valid schema_limit"),
        (json.loads('{"not":' * 100 + "{}" + "}" * 100), "valid schema_limit"),
        (json.loads('{"not":' * 400 + "{}" + "}" * 400), "valid not_compilable"),
    ],
    ids=["objects", "few objects", "strings", "properties", "branches", "required", "nested", "deeply nested"],
)
def test_huge_schemas(engine: str, schema: object, expected: str) -> None:
    """They count as absent."""
    assert verdict(judge(engine, schema, "{}")) == expected


@pytest.mark.parametrize(
    ("items", "instance"),
    [
        ({"enum": [{"a": number} for number in range(499)]}, [{"a": 498}] * 15_000),
        ({"enum": [number + 0.5 for number in range(1_200)]}, [1198.5] * 30_000),
        ({"anyOf": [{"const": number + 0.5} for number in range(90)]}, [89.5] * 40_000),
        ({"allOf": [{"minimum": number + 0.5} for number in range(90)]}, [1_000] * 40_000),
        ({"allOf": [{"uniqueItems": True}] * 90}, [[number + 0.5 for number in range(14)]] * 2_000),
        ({"dependencies": {f"p{number}": ["a"] for number in range(500)}}, [{}] * 60_000),
        ({"anyOf": [{"type": "string"}] * 200}, [0] * 80_000),
        ({"allOf": [{"format": "duration"}] * 20}, ["P1D"] * 30_000),
    ],
    ids=["objects", "fractions", "constants", "bounds", "unique", "dependencies", "branches", "formats"],
)
def test_slow_words_times_large_arguments(engine: str, items: dict[str, Any], instance: object) -> None:
    """Each takes seconds or minutes unbounded; none of them is charged to a provider."""
    assert verdict(judge(engine, {"items": items}, instance)) == "unscored evaluations"


@pytest.mark.parametrize(
    "instance",
    [[{"a": number} for number in range(2_000)], list(range(2_000)), [number * (2**61 - 1) for number in range(2_000)]],
    ids=["objects", "integers", "colliding integers"],
)
def test_many_unique_items(engine: str, instance: list[object]) -> None:
    """Compared by hash, and not by one that the caller can make collide."""
    assert judge(engine, {"uniqueItems": True}, instance).outcome == "valid"
    assert judge(engine, {"uniqueItems": True}, [*instance, instance[0]]).outcome == "schema_mismatch"


def test_large_ordinary_arguments_are_judged(engine: str) -> None:
    """A file of 200 kB in a string is no attack."""
    schema = {
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string", "minLength": 1}},
    }
    content = "[" * 100_000 + '"' * 20_000
    assert verdict(judge(engine, schema, {"path": "a", "content": content})) == "valid"
    assert verdict(judge(engine, schema, {"path": 1, "content": content})) == "schema_mismatch"
    assert verdict(judge(engine, schema, {"content": "x" * 300_000})) == "unscored too_large"


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        ({"type": "number"}, "1e999", "unscored number_range"),
        ({"type": "number"}, "-1e999", "unscored number_range"),
        ({"type": "integer"}, "9" * 5_000, "unscored number_range"),
        ({"type": "integer"}, "1" + "0" * 30, "valid"),
        ({"type": "string"}, "1" + "0" * 30, "schema_mismatch"),
        ({"multipleOf": 0.001}, "1" + "0" * 300, "valid"),
        ({"multipleOf": 1e-300}, "1e308", "valid"),
        ({"multipleOf": 3}, "1e308", "schema_mismatch"),
        ({"maximum": 1e308}, "5e-324", "valid"),
        ({"type": "integer"}, "-0.0", "valid"),
        ({"type": "number"}, "NaN", "invalid_json"),
        ({"multipleOf": 0}, "1", "valid not_compilable"),
    ],
)
def test_exotic_numbers(engine: str, schema: object, text: str, expected: str) -> None:
    """Exact where they can be, unscored where they cannot, and never an exception."""
    assert verdict(judge(engine, schema, text)) == expected


@pytest.mark.parametrize(
    "rule", [{"type": "string"}, {"minLength": 1}, {"format": "date-time"}, {"pattern": "x"}, {"enum": ["x"]}]
)
@pytest.mark.parametrize("text", ['"\\ud83d"', '{"a": "\\ud83d"}', '{"\\udc00": 1}', '"\ud83d"'])
def test_lone_surrogates(engine: str, rule: dict[str, Any], text: str) -> None:
    """JavaScript allows them and Rust cannot hold them: they are judged as the replacement character."""
    found = judge(engine, {"properties": {"a": rule}, "propertyNames": rule, **rule}, text)
    if found.reason != "unsatisfiable":  # for an object, by a rule for strings
        assert found.outcome in (Outcome.VALID, Outcome.SCHEMA_MISMATCH)
        assert found.reason in ("", "not_compilable")
    assert judge(engine, {"properties": {"a": {"type": "string"}}}, text).outcome is Outcome.VALID


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A loopback server that nobody should connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def foreign_schemas(url: str) -> list[dict[str, Any]]:
    """Schemas that name a document at ``url`` in every place where some engine would fetch it."""
    return [
        {"$ref": url},
        {"$ref": f"{url}#/definitions/a"},
        {"properties": {"never": {"$ref": url}}},
        {"default": {"$ref": url}, "examples": [{"$ref": url}], "const": {"$ref": url}},
        {"$schema": url},
        {"properties": {"a": {"$schema": url, "type": "string"}}},
        {"$id": url, "type": "object"},
        {"$id": url, "$ref": "#/definitions/a", "definitions": {"a": {"$ref": "other.json"}}},
        {"$id": url, "properties": {"a": {"$ref": "other.json"}}},
        {"properties": {"a": {"$id": url, "$ref": "#/definitions/a"}}},
        {"$recursiveRef": url, "$dynamicRef": url},
        {"x-extension": {"$ref": url, "$schema": url}},
        {"$defs": {"a": {"$ref": url}}, "type": "object"},
        {"$vocabulary": {url: True}, "$schema": url},
    ]


def test_nothing_is_fetched(engine: str, listener: socket.socket, tmp_path: Path) -> None:
    """Not over HTTP, HTTPS or FTP, and not from a file, whose contents would show in the verdict."""
    port = listener.getsockname()[1]
    document = tmp_path / "schema.json"
    document.write_text("false")
    urls = [f"{scheme}://127.0.0.1:{port}/schema.json" for scheme in ("http", "https", "ftp")]
    for url in (*urls, document.as_uri(), str(document), f"//127.0.0.1:{port}/x"):
        for schema in foreign_schemas(url):
            if "const" in schema:
                assert judge(engine, schema, {"$ref": url}).outcome == "valid"
            else:
                assert judge(engine, schema, {"a": "x", "never": 1}).outcome == "valid"
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_engine_itself_fetches_nothing(engine: str, listener: socket.socket) -> None:
    """Even a schema that was never prepared: the second of two locks."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
    traits = SchemaTraits(cost=1, nodes=1, containers=0, patterns=(), recursive=False, separable=True)
    schemas: list[dict[str, object]] = [
        {"$ref": url},
        {"properties": {"a": {"$ref": url}}},
        {"$schema": url, "$ref": url},
    ]
    for schema in schemas:
        with pytest.raises((NotCompilableError, Unresolvable)):
            make_engine(engine).compile(PreparedSchema(schema, traits)).is_valid({"a": 1})
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_arguments_are_not_changed(engine: str) -> None:
    """No engine fills in defaults."""
    schema = {"type": "object", "properties": {"a": {"default": 5}, "b": {"type": "object", "default": {}}}}
    arguments: dict[str, object] = {"b": {}}
    Evaluator(engine).evaluate(ToolCall("called", arguments), offered(schema))
    assert arguments == {"b": {}}


def test_schemas_nested_beyond_any_stack(engine: str) -> None:
    """100,000 levels, made in Python, where no parser stopped them."""
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"not": schema}
    assert judge(engine, schema, "{}").outcome == "valid"

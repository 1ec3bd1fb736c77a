"""Compiled schemas are kept by their text, within a budget, and applied only where that is affordable."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from exacto_plugin.core.scoring.arguments import Arguments, parse_arguments
from exacto_plugin.core.scoring.json_schema.cache import SchemaCache
from exacto_plugin.core.scoring.json_schema.engine import ValidationEngine, Validator, make_engine
from exacto_plugin.core.scoring.limits import NotCompilableError, ScoringLimits, UnscorableError
from tests.support.scoring_cases import ENGINES

if TYPE_CHECKING:
    from exacto_plugin.core.scoring.json_schema.error_path import Violation
    from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema


class FakeValidator:
    """A validator that accepts everything."""

    def is_valid(self, instance: object, /) -> bool:
        return True

    def first_violation(self, instance: object, /) -> Violation | None:
        return None


class CountingEngine:
    """An engine that records what it was asked to compile and refuses the type "never"."""

    name: Final = "counting"
    runs_patterns: Final = True
    recursive_depth: Final = None

    def __init__(self) -> None:
        self.compiled: list[PreparedSchema] = []

    def compile(self, prepared: PreparedSchema, /) -> Validator:
        self.compiled.append(prepared)
        if isinstance(prepared.schema, dict) and prepared.schema.get("type") == "never":
            raise NotCompilableError("not_draft7")
        return FakeValidator()


def arguments(text: str) -> Arguments:
    """Parsed arguments."""
    return parse_arguments(text, max_chars=1_000_000, max_depth=1_000)


def test_a_schema_is_compiled_once_whatever_object_it_comes_in() -> None:
    """Each request decodes its tools anew, so equal text is the same schema; other text is not."""
    engine = CountingEngine()
    cache = SchemaCache(engine)
    first = cache.compiled({"type": "object", "maximum": 1})
    assert cache.compiled({"type": "object", "maximum": 1}) is first
    assert cache.compiled({"type": "object", "maximum": 2}) is not first
    assert len(engine.compiled) == len(cache) == 2


def test_refusals_are_kept_too() -> None:
    """A client's broken schema is not compiled again for each of its calls."""
    engine = CountingEngine()
    cache = SchemaCache(engine)
    for _ in range(3):
        with pytest.raises(NotCompilableError, match="not_draft7") as caught:
            cache.compiled({"type": "never"})
        assert not caught.value.limit
        with pytest.raises(NotCompilableError, match="cycle"):
            cache.compiled({"$ref": "#"})
    assert len(engine.compiled) == 1
    assert len(cache) == 2


def test_the_number_of_entries_is_bounded() -> None:
    """The least recently used goes first."""
    engine = CountingEngine()
    cache = SchemaCache(engine, ScoringLimits(cache_entries=3))
    for number in (1, 2, 3, 1, 4):
        cache.compiled({"minimum": number})
    assert len(cache) == 3
    cache.compiled({"minimum": 1})
    assert len(engine.compiled) == 4
    cache.compiled({"minimum": 2})
    assert len(engine.compiled) == 5


def test_estimated_memory_is_bounded() -> None:
    """Long schemas and patterns that expand count more; one that exceeds the budget alone is used but not kept."""
    limits = ScoringLimits(cache_bytes=1_000_000, cache_entries=1_000)
    cache = SchemaCache(CountingEngine(), limits)
    cache.compiled({"maximum": 1})
    small = cache.estimated_bytes
    cache.compiled({"pattern": "^[a-z]+$"})
    plain_pattern = cache.estimated_bytes - small
    cache.compiled({"pattern": "^\\p{L}+$"})
    unicode_pattern = cache.estimated_bytes - plain_pattern - small
    assert small < plain_pattern < unicode_pattern
    for number in range(50):
        cache.compiled({"required": [f"name_{number}" * 100]})
        assert cache.estimated_bytes <= limits.cache_bytes
    kept = len(cache)
    assert 5 < kept < 50
    cache.compiled({"required": ["x" * 100_000]})
    assert len(cache) == kept


def test_refusals_count_with_their_text() -> None:
    """Broken schemas are no way to fill the memory."""
    cache = SchemaCache(CountingEngine(), ScoringLimits(cache_bytes=1_000_000, cache_entries=1_000))
    for number in range(50):
        with pytest.raises(NotCompilableError):
            cache.compiled({"$ref": "#", "x": f"{number}" * 50_000})
    assert len(cache) <= 20


def test_a_schema_that_is_too_long_is_not_even_looked_up() -> None:
    """It is neither compiled nor kept."""
    engine = CountingEngine()
    cache = SchemaCache(engine, ScoringLimits(schema_bytes=100))
    with pytest.raises(NotCompilableError, match="schema_bytes") as caught:
        cache.compiled({"description": "x" * 100})
    assert caught.value.limit
    assert (len(cache), engine.compiled) == (0, [])


@pytest.mark.parametrize("parameters", [object(), {"a": object()}, {1: 2}, {"a": {1, 2}}, {"maximum": 2**70}])
def test_parameters_that_are_not_json_are_refused(parameters: object) -> None:
    """From Python, tools can hold anything."""
    with pytest.raises(NotCompilableError, match="not_json"):
        SchemaCache(CountingEngine()).compiled(parameters)


def test_threads_share_a_cache() -> None:
    """Look-ups from many threads lose no entry and exceed no bound."""
    cache = SchemaCache(CountingEngine(), ScoringLimits(cache_entries=8))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: cache.compiled({"minimum": number % 20}), range(4_000)))
    assert len(cache) == 8


@pytest.mark.parametrize("engine", ENGINES)
def test_work_is_bounded_by_schema_times_arguments(engine: str) -> None:
    """The budget counts the schema's cost for every character, and is inclusive."""
    schema = {"allOf": [{"type": "object"}, {"minProperties": 1}]}
    text = '{"a":1}'
    for evaluations, affordable in ((3 * len(text), True), (3 * len(text) - 1, False)):
        limits = ScoringLimits(evaluations=evaluations)
        compiled = SchemaCache(make_engine(engine, limits), limits).compiled(schema)
        if affordable:
            assert compiled.accepts(arguments(text))
        else:
            with pytest.raises(UnscorableError, match="evaluations"):
                compiled.accepts(arguments(text))


def test_patterns_are_left_out_of_long_arguments() -> None:
    """Their time grows with pattern and text; what does not need them is checked all the same."""
    limits = ScoringLimits(pattern_chars=100)
    cache = SchemaCache(make_engine("jsonschema_rs", limits), limits)
    compiled = cache.compiled({"properties": {"a": {"type": "string", "pattern": "^x+$"}}})
    for length, letter, accepted in ((50, "x", True), (50, "y", False), (100, "y", True)):
        assert compiled.accepts(arguments(f'{{"a": "{letter * length}"}}')) is accepted
    assert not compiled.accepts(arguments(f'{{"a": [{"1," * 100}1]}}'))
    turning = cache.compiled({"not": {"pattern": "^x+$"}})
    assert turning.accepts(arguments('"y"'))
    with pytest.raises(UnscorableError, match="patterns"):
        turning.accepts(arguments(f'"{"y" * 100}"'))


def test_the_pure_engine_follows_recursion_to_a_depth() -> None:
    """Deeper arguments are left to the other engine; a schema that does not recurse has no such bound."""
    limits = ScoringLimits(lite_recursive_depth=4)
    deep = '{"a":' * 5 + "1" + "}" * 5
    for engine, judged in (("jsonschema", False), ("jsonschema_rs", True)):
        cache = SchemaCache(make_engine(engine, limits), limits)
        recursive = cache.compiled({"properties": {"a": {"$ref": "#"}}})
        assert recursive.accepts(arguments(deep[5:-1]))
        assert cache.compiled({"type": "object"}).accepts(arguments(deep))
        if judged:
            assert recursive.accepts(arguments(deep))
        else:
            with pytest.raises(UnscorableError, match="depth"):
                recursive.accepts(arguments(deep))


def test_the_pure_engine_counts_steps() -> None:
    """In a validation, and while a schema is checked against draft 7."""
    engine = make_engine("jsonschema", ScoringLimits(lite_steps=50))
    compiled = SchemaCache(engine).compiled({"items": {"type": "integer"}})
    assert compiled.accepts(arguments("[1, 2, 3]"))
    with pytest.raises(UnscorableError, match="steps"):
        compiled.accepts(arguments(f"[{'1,' * 60}1]"))
    assert compiled.accepts(arguments("[1, 2, 3]"))
    objects = SchemaCache(engine).compiled({"enum": [{"a": number} for number in range(60)]})
    assert not objects.accepts(arguments("1"))
    with pytest.raises(UnscorableError, match="steps"):
        objects.accepts(arguments('{"a": 59}'))
    with pytest.raises(NotCompilableError, match="compile_steps") as caught:
        SchemaCache(make_engine("jsonschema", ScoringLimits(lite_compile_steps=10))).compiled(
            {"properties": {"a": {}, "b": {}}}
        )
    assert caught.value.limit


def test_engines_by_name() -> None:
    """Automatic is the fast one here; an unknown name is an error that names the choices' type."""
    made: list[ValidationEngine] = [make_engine(name) for name in ("auto", *ENGINES)]
    assert [engine.name for engine in made] == ["jsonschema_rs", "jsonschema_rs", "jsonschema"]
    with pytest.raises(ValueError, match="fastjsonschema"):
        make_engine("fastjsonschema")


WITHOUT_WHEEL = """
import sys
sys.modules["jsonschema_rs"] = None
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
evaluator = Evaluator()
tools = [{"name": "f", "parameters": {"type": "object", "required": ["a"]}}]
outcomes = [evaluator.evaluate(ToolCall("f", text), tools).outcome.value for text in ('{"a": 1}', "{}", "{")]
try:
    Evaluator("jsonschema_rs")
except ImportError:
    outcomes.append("no wheel")
sys.stdout.write(" ".join([evaluator.engine_name, *outcomes]))
"""

WITH_WHEEL = """
import sys
from exacto_plugin.core.scoring.evaluator import Evaluator
sys.stdout.write(f"{Evaluator().engine_name} {'jsonschema' in sys.modules}")
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (WITHOUT_WHEEL, "jsonschema valid schema_mismatch invalid_json no wheel"),
        (WITH_WHEEL, "jsonschema_rs False"),
    ],
)
def test_one_engine_is_enough(program: str, printed: str) -> None:
    """Without a jsonschema-rs wheel the pure engine takes over, and with one jsonschema is not even imported."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == printed

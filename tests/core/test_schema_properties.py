"""What holds of any schema whatever: it is prepared or refused, left alone, and judged alike by both engines."""

from __future__ import annotations

import copy
from contextlib import suppress

from hypothesis import assume, given
from hypothesis import strategies as st

from exacto_plugin.core.limits import NotCompilable, Unscorable
from exacto_plugin.core.schema_engine import make_engine
from exacto_plugin.core.schema_prepare import prepare

from .scoring import ENGINES

scalars = st.sampled_from([None, True, False, 0, 1, 2, 3, 1.0, 1.5, -1, 0.01, "", "a", "b", "ab"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["a", "b", "c", "toString", "$id", "properties"])
references = st.sampled_from(
    [
        "#",
        "#/$defs/X",
        "#/$defs/Y",
        "#/definitions/Z",
        "#/properties/a",
        "#/nowhere",
        "#name",
        "http://127.0.0.1:9/",
        "x.json",
    ]
)


def schemas(broken: bool) -> st.SearchStrategy[object]:
    """Draft-7 schemas with newer words among them; ``broken`` adds wrong values, foreign references and patterns."""

    def extend(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
        lists, maps = st.lists(inner, min_size=1, max_size=3), st.dictionaries(names, inner, max_size=3)
        words: dict[str, st.SearchStrategy[object]] = {
            "type": st.sampled_from(["object", "array", "string", "integer", "number", "null", ["string", "null"]]),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "minimum": st.integers(0, 3),
            "multipleOf": st.sampled_from([1, 2, 0.5, 0.01]),
            "maxLength": st.integers(0, 3),
            "minItems": st.integers(0, 3),
            "uniqueItems": st.booleans(),
            "required": st.lists(names, unique=True, max_size=2),
            "items": inner | lists,
            "additionalItems": inner,
            "contains": inner,
            "properties": maps,
            "additionalProperties": inner,
            "propertyNames": inner,
            "dependencies": st.dictionaries(names, inner | st.lists(names, unique=True, max_size=2), max_size=2),
            "allOf": lists,
            "anyOf": lists,
            "oneOf": lists,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "prefixItems": lists,
            "dependentRequired": st.dictionaries(names, st.lists(names, unique=True, max_size=2), max_size=2),
            "dependentSchemas": maps,
            "minContains": st.integers(0, 2),
            "unevaluatedProperties": inner,
            "$ref": references if broken else st.sampled_from(["#", "#/$defs/X", "#/$defs/Y"]),
            "title": values,
            "$schema": st.just("http://127.0.0.1:9/schema"),
            "x-unknown": values,
        }
        if broken:
            words |= {"pattern": st.sampled_from(["^a+$", "(", "(a+)+$"]), "patternProperties": maps, "$id": values}
            words = {word: value | values for word, value in words.items()}
        return st.lists(st.sampled_from(sorted(words)), max_size=4, unique=True).flatmap(
            lambda chosen: st.fixed_dictionaries({word: words[word] for word in chosen})
        )

    leaf: st.SearchStrategy[object] = st.booleans() | st.just({})
    schema = st.recursive(leaf | (values if broken else leaf), extend, max_leaves=8)
    definitions = st.fixed_dictionaries({"X": schema, "Y": schema})
    return st.tuples(schema, definitions).map(
        lambda pair: {**pair[0], "$defs": pair[1]} if isinstance(pair[0], dict) else pair[0]
    )


@given(schemas(broken=True))
def test_any_json_is_prepared_or_refused_and_left_alone(schema: object) -> None:
    """Nothing but the refusal is raised, and the client's schema is not changed."""
    before = copy.deepcopy(schema)
    with suppress(NotCompilable):
        prepare(schema)
    assert schema == before


@given(schemas(broken=True))
def test_engines_compile_or_refuse_what_was_prepared(schema: object) -> None:
    """A prepared schema may still be wrong; no engine finds a third way to say so."""
    try:
        prepared = prepare(schema)
    except NotCompilable:
        assume(False)
    for name in ENGINES:
        with suppress(NotCompilable):
            make_engine(name).compile(prepared)


@given(schemas(broken=False), st.lists(values, min_size=1, max_size=3))
def test_both_engines_give_the_same_verdict(schema: object, instances: list[object]) -> None:
    """Without patterns and formats the engines differ in speed only."""
    try:
        prepared = prepare(schema)
        fast, pure = (make_engine(name).compile(prepared) for name in ENGINES)
    except NotCompilable:
        assume(False)
    for instance in instances:
        try:
            assert fast.is_valid(instance) == pure.is_valid(instance)
        except Unscorable:
            assume(False)


@given(schemas(broken=False))
def test_preparing_twice_changes_nothing_more(schema: object) -> None:
    """What comes out is in plain words already."""
    try:
        once = prepare(schema)
    except NotCompilable:
        assume(False)
    assert prepare(once.schema).traits == once.traits

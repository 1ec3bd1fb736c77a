"""Schemas that clients may send with their tools, right and wrong, and values to judge by them."""

from __future__ import annotations

import functools
import json
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

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


@functools.cache
def schemas(broken: bool, *, newer: bool = True) -> st.SearchStrategy[Any]:
    """Schemas.

    Args:
        broken: adds wrong values, foreign references and patterns.
        newer: adds words that draft 7 does not have, and what engines were measured to disagree about.
    """

    def extend(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
        lists, maps = st.lists(inner, min_size=1, max_size=3), st.dictionaries(names, inner, max_size=3)
        words: dict[str, st.SearchStrategy[object]] = {
            "type": st.sampled_from(["object", "array", "string", "integer", "number", "null", ["string", "null"]]),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "minimum": st.integers(0, 3),
            "multipleOf": st.sampled_from([1, 2, 0.5, 0.01] if newer else [1, 2]),
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
            "minLength": st.integers(0, 3),
            "maxItems": st.integers(0, 3),
            "maxProperties": st.integers(0, 3),
            "minProperties": st.integers(0, 3),
            "exclusiveMinimum": st.integers(0, 3),
            "exclusiveMaximum": st.integers(0, 3),
            "maximum": st.integers(0, 3),
            "$ref": references if broken else st.sampled_from(["#", "#/$defs/X", "#/$defs/Y"]),
            "title": values if newer else st.just("x"),
            "x-unknown": values,
        }
        if newer:
            words |= {
                "prefixItems": lists,
                "dependentRequired": st.dictionaries(names, st.lists(names, unique=True, max_size=2), max_size=2),
                "dependentSchemas": maps,
                "minContains": st.integers(0, 2),
                "unevaluatedProperties": inner,
                "$schema": st.just("http://127.0.0.1:9/schema"),
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


@st.composite
def costly_schemas(draw: st.DrawFn) -> Any:
    """Small in number of kinds, large in one of them: what a stranger sends to keep a machine busy."""
    size = draw(st.integers(1, 600))
    word = draw(st.sampled_from(["allOf", "anyOf", "oneOf"]))
    leaf = draw(schemas(broken=False))
    kind = draw(st.integers(0, 8))
    if kind == 0:  # doubles with every link
        names_ = [str(number) for number in range(min(size, 60))]
        linked = {name: {word: [{"$ref": f"#/$defs/{after}"}] * 2} for name, after in pairwise(names_)}
        return {"$ref": "#/$defs/0", "$defs": {**linked, names_[-1]: leaf}}
    if kind == 1:
        return {word: [leaf] * size}
    if kind == 2:
        return {"properties": {f"{draw(names)}{number}": leaf for number in range(size)}, "required": ["a"]}
    if kind == 3:
        return {"enum": [draw(values), *range(size), *({"a": number} for number in range(size // 8))]}
    if kind == 4:
        made: Any = leaf
        for _ in range(size):
            made = {draw(st.sampled_from(["not", "items", "additionalProperties", "contains"])): made}
        return made
    if kind == 5:
        chain: Any = {str(number): {"$ref": f"#/$defs/{number + 1}"} for number in range(size)}
        return {"$ref": "#/$defs/0", "$defs": {**chain, str(size): leaf}}
    if kind == 6:
        expression = draw(st.sampled_from(["(a+)+$", "(a|aa)*b", "\\p{L}{50}", "(a{0,50}){0,50}", "^.{1,255}$", "["]))
        return {"patternProperties": {f"{expression}{number}": leaf for number in range(size % 40)}}
    if kind == 7:
        return {"items": {"uniqueItems": True, "items": leaf}, "uniqueItems": True}
    return {"dependencies": {str(number): [str(number + 1)] for number in range(size)}, word: [leaf] * (size % 8 + 1)}


texts = st.one_of(
    values.map(json.dumps),
    st.builds(lambda value, times: json.dumps([value] * times), values, st.integers(1, 300)),
    st.integers(1, 300).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 300).map(lambda depth: '{"a":' * depth + "1" + "}" * depth),
    st.integers(1, 40).map(lambda times: json.dumps({"a" * times: "a" * times + "!"})),
    st.sampled_from(
        ["", " ", "NaN", "1e999", "-0", "9" * 400, '"\\ud800"', "[1,]", "{}{}", "\ufeff{}", "null", "1E400"]
    ),
    st.text(alphabet='[]{}",:\\u0123456789abcdeEtruefalsn+-. \t\n\u00a0', max_size=16),
    st.text(max_size=12),
)
"""Arguments as a model may write them."""

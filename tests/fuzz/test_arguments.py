"""Arguments: text becomes a value as ``JSON.parse`` would have it, at a known depth, and back again."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from exacto_plugin.core.scoring.arguments import (
    InvalidJsonError,
    is_deeper_than,
    json_text,
    nesting,
    parse_arguments,
    parse_json,
)
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, UnscorableError
from tests.fuzz.bodies import json_values
from tests.fuzz.examples import fuzz
from tests.fuzz.schemas import texts


def _refuse(_name: str) -> NoReturn:
    raise ValueError


def _depth(value: object) -> int:
    deepest, waiting = 0, [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if isinstance(each, dict | list):
            deepest = max(deepest, depth + 1)
            inside = each.values() if isinstance(each, dict) else each
            waiting += [(item, depth + 1) for item in inside]
    return deepest


@fuzz(texts)
def test_text_is_json_or_it_is_not(text: str) -> None:
    """As a strict parser has it; only what Python cannot hold is left open."""
    try:
        wanted: Any = json.loads(text, parse_constant=_refuse)
        refused = False
    except ValueError:
        wanted, refused = None, True
    try:
        found = parse_json(text)
    except UnscorableError:
        return
    except InvalidJsonError:
        found = InvalidJsonError
    assert refused == (found is InvalidJsonError)
    if refused:
        return
    assert repr(found) == repr(wanted) or _has_large_number(wanted) or _has_half_a_character(wanted)
    assert nesting(text) == _depth(found)
    for depth in (0, 1, nesting(text), nesting(text) - 1, DEFAULT_LIMITS.argument_depth):
        if depth >= 0:
            assert is_deeper_than(text, depth) == (nesting(text) > depth)


@fuzz(json_values())
def test_a_value_becomes_text_and_the_same_value(value: Any) -> None:
    """What some surfaces parse already is judged as its text would be."""
    assert parse_json(json_text(value)) == value
    limits = {"max_chars": DEFAULT_LIMITS.argument_chars, "max_depth": DEFAULT_LIMITS.argument_depth}
    if isinstance(value, dict):
        assert parse_arguments(value, **limits).value == value


def _has_large_number(value: object) -> bool:
    """Whether a value holds a number that one of the parsers rounds."""
    if isinstance(value, dict):
        return any(map(_has_large_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_large_number, value))
    return isinstance(value, float) and (math.isinf(value) or abs(value) > 2**53)


def _has_half_a_character(value: object) -> bool:
    """Whether a value holds a surrogate without its other half, which is replaced."""
    return "\\ud" in repr(value)

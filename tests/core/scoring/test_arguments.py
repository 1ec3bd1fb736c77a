"""Argument texts are read as ``JSON.parse`` reads them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.scoring.arguments import (
    InvalidJsonError,
    is_cut_off,
    is_deeper_than,
    json_text,
    nesting,
    parse_arguments,
    parse_json,
)
from exacto_plugin.core.scoring.limits import UnscorableError

BOUNDS = {"max_chars": 10_000, "max_depth": 128}

# Integers of 64 bits: beyond them JavaScript, and orjson, have doubles where Python has integers.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@given(json_values, st.booleans())
def test_accepted_text_means_what_json_says(value: object, ascii_only: bool) -> None:
    """On plain JSON the value is that of the standard library, whichever way the text is written."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(text) == json.loads(text)


@given(json_values, st.sampled_from([math.nan, math.inf, -math.inf]), st.booleans())
def test_nan_and_infinity_are_refused_anywhere(value: object, constant: float, in_object: bool) -> None:
    """Python writes and reads these three words; JSON has no such words."""
    with pytest.raises(InvalidJsonError):
        parse_json(json.dumps({"a": [value, constant]} if in_object else [value, constant]))


@given(st.text(alphabet='[]{}",:\\0123eE+-.u \n\tabnrtfalsenull\ud83d', max_size=40))
def test_any_text_is_read_or_refused_in_a_known_way(text: str) -> None:
    """No input raises anything but the two refusals, and what Python refuses is refused."""
    try:
        parse_json(text)
    except (InvalidJsonError, UnscorableError):
        return
    json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "{'a': 1}", '{"a": 1,}', "[1,]", "01", ".5", "1.", "+1", "{}{}", "```json\n{}\n```", "NaN",
     "-Infinity", "\ufeff{}", "\u00a0{}", '"\x01"', "undefined", "True", '{"a" 1}', '{"a": 1} // done', '"\\x41"'],
)  # fmt: skip
def test_what_json_parse_throws_on(text: str) -> None:
    """Each of these makes JavaScript's JSON.parse throw."""
    with pytest.raises(InvalidJsonError):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('"\\ud83d"', "\ufffd"),
        ('{"a": "\\ud83d", "b": 1}', {"a": "\ufffd", "b": 1}),
        ('["\\ud83d\\ude00", "\\ude00\\ud83d", "\ud83dx"]', ["\U0001f600", "\ufffd\ufffd", "\ufffdx"]),
        (" \t\n\r1 ", 1),
        ("-0.0", -0.0),
        ("1e2", 100.0),
        ("null", None),
    ],
)
def test_what_json_parse_accepts(text: str, value: object) -> None:
    """Repeated keys, lone surrogates (engines cannot hold them) and bare values are JSON; the last of two keys wins."""
    assert parse_json(text) == value


@pytest.mark.parametrize("text", ["1e999", "-1e999", "9" * 5_000, '{"a": [1e400]}'])
def test_numbers_beyond_doubles_are_not_judged(text: str) -> None:
    """JavaScript reads them as Infinity, about which engines disagree: neither invalid nor comparable."""
    with pytest.raises(UnscorableError, match="number_range"):
        parse_json(text)


def test_a_malformed_text_with_a_huge_number_is_malformed() -> None:
    """The number does not hide that the text as a whole is not JSON."""
    with pytest.raises(InvalidJsonError):
        parse_json("[1e999, oops")


def test_text_nested_deeper_than_parsers_go_is_not_judged() -> None:
    """Whether JavaScript would accept it cannot be found out at a bounded depth."""
    with pytest.raises(UnscorableError, match="depth"):
        parse_json("[" * 100_000)


@given(st.integers(0, 60), st.text(max_size=20))
def test_nesting_counts_brackets_outside_strings(depth: int, text: str) -> None:
    """Brackets in strings, escaped quotes and all, do not count."""
    inner = json.dumps(text + '["{\\')
    assert nesting("[" * depth + inner + "]" * depth) == depth
    assert nesting('{"a":' * depth + inner + "}" * depth) == depth


def test_nesting_of_an_unfinished_string_ends_with_it() -> None:
    """A text cut off inside a string full of code is not mistaken for a deep one."""
    assert nesting('{"code": "' + "[" * 1_000) == 1
    assert not is_deeper_than('{"code": "' + "[" * 1_000, 128)


@pytest.mark.parametrize("arguments", [5, [], ["{}"], True, b"{}", 1.5])
def test_neither_text_nor_object_is_not_json(arguments: object) -> None:
    """A call carries text, or an object on surfaces that parse; anything else is the provider's mistake."""
    with pytest.raises(InvalidJsonError):
        parse_arguments(arguments, **BOUNDS)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_an_object_is_read_as_its_own_text(arguments: dict[str, object]) -> None:
    """A parsed object has the value it came with, and a length that its cost can be bounded by."""
    read = parse_arguments(arguments, max_chars=1_000_000, max_depth=128)
    assert read.value == arguments
    assert json.loads(read.text) == arguments


def test_objects_beyond_orjson_are_read_too() -> None:
    """Integers of more than 64 bits and lone surrogates take the slow way and are not refused."""
    arguments: dict[str, object] = {"n": 2**70, "s": "\ud83d"}
    assert parse_arguments(arguments, **BOUNDS).value == {"n": float(2**70), "s": "\ufffd"}


def test_an_object_that_json_cannot_say_is_refused() -> None:
    """A Python object inside is no JSON; one that contains itself is too deep."""
    with pytest.raises(InvalidJsonError):
        json_text({"a": object()})
    loop: dict[str, object] = {}
    loop["a"] = loop
    with pytest.raises((InvalidJsonError, UnscorableError)):
        parse_arguments(loop, **BOUNDS)


def test_long_and_deep_arguments_are_declined_before_they_are_parsed() -> None:
    """Both bounds are inclusive."""
    assert parse_arguments("[" * 128 + "]" * 128, **BOUNDS).text
    for text, reason in [("[" * 129 + "]" * 129, "depth"), ('"' + "x" * 10_000 + '"', "too_large")]:
        with pytest.raises(UnscorableError, match=reason):
            parse_arguments(text, **BOUNDS)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4), st.data())
def test_every_beginning_of_arguments_is_cut_off(value: object, data: st.DataObject) -> None:
    """Wherever a text breaks off; the whole text is not cut off."""
    text = json.dumps(value)
    assert not is_cut_off(text)
    assert is_cut_off(text[: data.draw(st.integers(0, len(text) - 1))])


@pytest.mark.parametrize(
    "text",
    ["{'a': 1}", '{"a": 1}}', '{"a": 1,}', '{"a": True', '{"a": NaN}', '{"a": 1} {"a"', "{a: 1", '{"a": 01', "[1",
     '{"a": "x\ny', '{"a": 1<|end|>', {"a": 1}, 5],
    ids=str,
)  # fmt: skip
def test_other_faults_are_not(text: object) -> None:
    """Text that no JSON begins with, and what is no text."""
    assert is_cut_off(text) is (text == "[1")

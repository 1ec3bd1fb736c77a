"""Parses the arguments of a tool call with the semantics of ``JSON.parse``.

The published definition of "invalid JSON" is that JavaScript's ``JSON.parse`` throws. Neither Python parser
reproduces that alone: orjson refuses numbers beyond 64 bits and lone surrogates, ``json`` accepts NaN and Infinity
and fails on long integers. Text that orjson accepts is valid; for the rest a strict ``json`` decides. Uses no schema.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import NamedTuple, NoReturn

import orjson

from exacto_plugin.core.scoring.limits import UnscorableError

JSON_WHITESPACE = " \t\n\r"
"""RFC 8259, section 2. A no-break space is not JSON whitespace."""

_LONGEST_INTEGER = 4_300
"""Digits from which an integer is parsed as a double.
Python refuses to convert longer digit strings (``sys.int_info.default_max_str_digits``); as a double, JavaScript's
only number type, every one of them is Infinity."""

# A string, closed or cut off by the end of the text. Possessive, so it never backtracks.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

_SURROGATES = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class InvalidJsonError(ValueError):
    """The text is not JSON: ``JSON.parse`` would throw."""


class Arguments(NamedTuple):
    """Parsed arguments and their text, whose size bounds the cost of validation.

    A tuple, because one is created for every call.
    """

    value: object
    text: str

    def is_deeper_than(self, depth: int) -> bool:
        """Check for objects and arrays nested more than ``depth`` levels deep.

        Cheap for flat arguments.
        """
        return is_deeper_than(self.text, depth)


def is_deeper_than(text: str, depth: int) -> bool:
    """Check for a JSON text nested more than ``depth`` levels deep.

    The nesting is only computed if the text is long and has enough brackets.
    """
    return len(text) > depth and text.count("{") + text.count("[") > depth and nesting(text) > depth


def nesting(text: str) -> int:
    """Return the nesting depth of a JSON text; 0 for a plain value.

    Text that is not JSON raises no error.
    """
    brackets = _STRINGS.sub(b"", text.encode(errors="surrogatepass")).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def parse_json(text: str) -> object:
    """Parse a JSON text.

    Raises:
        InvalidJsonError: ``JSON.parse`` would throw.
        UnscorableError: ``JSON.parse`` would not throw, but a number is beyond the range of doubles
            (``number_range``), or the text is nested deeper than Python parses (``depth``).
    """
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _parse_strictly(text)
    return value


def parse_arguments(arguments: object, *, max_chars: int, max_depth: int) -> Arguments:
    """Parse the arguments of a call, given as JSON text or as a parsed object.

    Raises:
        InvalidJsonError: not JSON text, or neither text nor an object.
        UnscorableError: longer than ``max_chars`` (``too_large``), deeper than ``max_depth`` (``depth``), or out of
            range.
    """
    text = arguments if isinstance(arguments, str) else _text_of(arguments)
    if len(text) > max_chars:
        raise UnscorableError("too_large")
    if is_deeper_than(text, max_depth):
        raise UnscorableError("depth")
    return Arguments(parse_json(text), text)


_UNFINISHED = re.compile(r"(?:-|t|tr|tru|f|fa|fal|fals|n|nu|nul)?|[.eE][+-]?\d*|\\?u[0-9a-fA-F]{0,4}|\\")
"""A literal, a number or an escape at the end of a text that breaks off in it."""


def is_cut_off(arguments: object) -> bool:
    """Check for arguments that break off: a beginning of JSON text that is not JSON.

    Empty text is such a beginning.
    """
    if arguments is None:
        return True
    if not isinstance(arguments, str):
        return False
    try:
        json.loads(arguments)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated string") or _UNFINISHED.fullmatch(arguments, error.pos) is not None
    except (RecursionError, ValueError):
        return False
    return False


def json_text(value: object) -> str:
    """Serialise a parsed value to JSON text.

    Raises:
        InvalidJsonError: the value holds something that JSON cannot represent.
        UnscorableError: it is nested too deeply to serialise (``depth``).
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # Beyond 64 bits, a lone surrogate, or deeper than orjson's limit: ``json`` accepts the first two.
        pass
    try:
        return json.dumps(value, allow_nan=False)
    except RecursionError as error:
        raise UnscorableError("depth") from error
    except (TypeError, ValueError) as error:
        raise InvalidJsonError(str(type(error).__name__)) from error


def _text_of(arguments: object) -> str:
    if not isinstance(arguments, dict):
        raise InvalidJsonError("neither text nor an object")
    return json_text(arguments)


def _parse_strictly(text: str) -> object:
    infinite = False

    def number(digits: str) -> float:
        nonlocal infinite
        value = float(digits)
        infinite = infinite or math.isinf(value)
        return value

    def integer(digits: str) -> float:
        return int(digits) if len(digits) < _LONGEST_INTEGER else number(digits)

    decoder = json.JSONDecoder(parse_float=number, parse_int=integer, parse_constant=_refuse_constant)
    try:
        value: object = decoder.decode(text)
        if _SURROGATES.search(text):
            value = _join_surrogates(value)
    except RecursionError as error:
        raise UnscorableError("depth") from error
    except json.JSONDecodeError as error:
        raise InvalidJsonError("malformed") from error
    if infinite:
        raise UnscorableError("number_range")
    return value


def _join_surrogates(value: object) -> object:
    """Return the same value with U+FFFD for every lone surrogate.

    JavaScript strings may hold lone surrogates and Rust strings may not; no schema can require one, so no verdict
    changes.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_join_surrogates(each) for each in value]
    if isinstance(value, dict):
        return {_join_surrogates(name): _join_surrogates(each) for name, each in value.items()}
    return value


def _refuse_constant(_name: str) -> NoReturn:
    raise InvalidJsonError("NaN and Infinity are not JSON")

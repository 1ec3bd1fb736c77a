"""The arguments of a tool call: text to value, with the meaning of JavaScript's ``JSON.parse``.

The published definition of "invalid JSON" is that ``JSON.parse`` throws, which neither Python parser reproduces alone:
orjson refuses numbers beyond 64 bits and lone surrogates, ``json`` accepts NaN and Infinity and trips over long
integers. So orjson decides what it accepts, and a strict ``json`` decides the rest. Knows nothing of schemas.
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
"""RFC 8259, section 2. A no-break space is not whitespace to JSON."""

_LONGEST_INTEGER = 4_300
"""Python refuses to convert longer digit strings (``sys.int_info.default_max_str_digits``); as a double, which is all
that JavaScript has, every one of them is Infinity."""

# A string, closed or cut off by the end of the text. Possessive, so it never backtracks.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

_SURROGATES = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class InvalidJsonError(ValueError):
    """``JSON.parse`` would throw on this text."""


class Arguments(NamedTuple):
    """Parsed arguments and their text, whose size bounds what checking them costs. (A tuple: one for every call.)"""

    value: object
    text: str

    def is_deeper_than(self, depth: int) -> bool:
        """Whether objects and arrays are nested more than ``depth`` levels deep; cheap for flat arguments."""
        return is_deeper_than(self.text, depth)


def is_deeper_than(text: str, depth: int) -> bool:
    """Whether a JSON text is nested deeper; looks closer only when it is long and has enough brackets at all."""
    return len(text) > depth and text.count("{") + text.count("[") > depth and nesting(text) > depth


def nesting(text: str) -> int:
    """How deep objects and arrays are nested in a JSON text; 0 for a plain value. Text that is not JSON is no error."""
    brackets = _STRINGS.sub(b"", text.encode(errors="surrogatepass")).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def parse_json(text: str) -> object:
    """The value of a JSON text.

    Raises:
        NotJson: ``JSON.parse`` would throw.
        Unscorable: it would not, but a number is beyond the range of doubles (``number_range``), or the text is
            nested deeper than Python parses (``depth``).
    """
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _parse_strictly(text)
    return value


def parse_arguments(arguments: object, *, max_chars: int, max_depth: int) -> Arguments:
    """Parse the arguments of a call, given as JSON text or, by surfaces that parse already, as an object.

    Raises:
        NotJson: not JSON text, or neither text nor an object.
        Unscorable: longer than ``max_chars`` (``too_large``), deeper than ``max_depth`` (``depth``), or out of range.
    """
    text = arguments if isinstance(arguments, str) else _text_of(arguments)
    if len(text) > max_chars:
        raise UnscorableError("too_large")
    if is_deeper_than(text, max_depth):
        raise UnscorableError("depth")
    return Arguments(parse_json(text), text)


def json_text(value: object) -> str:
    """A parsed value as JSON text again.

    Raises:
        NotJson: the value holds something that JSON has no word for.
        Unscorable: it is nested too deeply to write down (``depth``).
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # Beyond 64 bits, a lone surrogate, or deeper than orjson goes: the slow way accepts the first two.
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
    """The same value with U+FFFD for every surrogate without its other half.

    JavaScript's strings may hold such halves and Rust's may not; no schema can ask for one, so nothing is lost.
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

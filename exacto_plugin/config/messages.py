"""Formats validation errors: one line each with key, place and expected value.

A value is repeated only where an enum, a number or a boolean is expected, since any other value may be a secret.
Formats text only; validates nothing.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

_TRUNCATED_CHARACTERS = 80
"""Longest part of a client's bad value that the answer repeats."""

_SAFE_CHARACTERS = 40
"""Longest part of a configuration value that a message repeats.
More characters than any enum, number or boolean has."""

_KEY_CHARACTERS = 60
"""Longest part of a key that a message repeats.
More characters than any key of the plugin and most model names have."""

_SECRET = re.compile(r"\s*(sk-|bearer\s)|.*://", re.IGNORECASE | re.DOTALL)
"""API keys and addresses, which no message repeats."""

_SCALARS: Mapping[str, str] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
}
"""Pydantic's error types of numbers and booleans, in an operator's words."""

_OTHERS: Mapping[str, str] = {
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list with at least one entry",
    "invalid_key": "a text as key",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "missing": "a value",
}
"""The other error types except enums and bounds, in an operator's words."""

_ENUMS = ("enum", "literal_error")

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

_OF_A_PART = re.compile(r"(?P<key>\w+): expected (?P<expected>.*), got (?P<value>.*)")
"""The error message of a dataclass that names the field at fault."""


def format_validation_error(error: ValidationError, model: type[BaseModel], path: str) -> str:
    """Format one line per error: the key's path, the expectation, sometimes the value."""
    faults = error.errors(include_url=False)
    deeper = {fault["loc"][:length] for fault in faults for length in range(len(fault["loc"]))}
    # A list with only refused entries is also reported as too short; the lines of the entries suffice.
    return "\n".join(_line(fault, model, path) for fault in faults if fault["loc"] not in deeper)


def _line(fault: ErrorDetails, model: type[BaseModel], path: str) -> str:
    loc = [step for step in fault["loc"] if step != "[key]"]
    where = path + "".join(step_of(step) for step in loc)
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = keys_at(model, loc[:-1])
        return f"{where}: unknown key, expected one of {', '.join(known)}{nearest(loc[-1], known)}"
    inside = _OF_A_PART.fullmatch(str(fault.get("ctx", {}).get("error", "")))
    if inside:
        return f"{where}{step_of(inside['key'])}: got {inside['value']}, expected {inside['expected']}"
    return f"{where}: {_got(fault)}expected {expectation_with_example(fault)}"


def _got(fault: ErrorDetails) -> str:
    """Describe the given value; empty for a text in place of another text."""
    kind, given = fault["type"], fault["input"]
    if kind in _SCALARS or kind in _ENUMS or kind in _BOUNDS or (kind == "value_error" and isinstance(given, bool)):
        return f"got {safe_value(given)}, "
    another_text = isinstance(given, str) and (kind.startswith("string_") or kind not in _OTHERS)
    return "" if another_text or kind == "missing" else f"got {kind_of(given)}, "


_EXAMPLES: Mapping[str, str] = {
    "rescue": "{enabled: true}",
    "affinity": "{enabled: false}",
    "redis": "{url: redis://HOST}",
    "store": "{url: sqlite:///FILE}",
    "max_price": "{prompt: 1.0, completion: 4.0}",
    "exploration": "{share: 0.02}",
    "failover": "{max_attempts: 3}",
    "tiers": "{preset: adaptive}",
    "expose": "{providers: false}",
    "scoring": "{engine: auto}",
}
"""How a mapping is written that operators often write as a single value."""


def expectation_with_example(fault: ErrorDetails) -> str:
    """Describe the value that was expected, with an example where one helps."""
    return f"{expectation(fault)}{_remedy(fault)}"


def _remedy(fault: ErrorDetails) -> str:
    """Return how the value is written instead; empty without a better form."""
    kind, given, loc = fault["type"], fault["input"], fault["loc"]
    last = str(loc[-1]) if loc else ""
    expected = _OTHERS.get(kind)
    if expected == "a mapping" and last in _EXAMPLES:
        return f", e.g. {last}: {_EXAMPLES[last]}"
    if expected == "a list" and isinstance(given, str) and given and not is_secret(given):
        return ", written like [a, b]"
    if kind in _ENUMS and given is True:
        return " (YAML reads on and yes as true)"
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", given) if isinstance(given, str) else None
    if kind in ("float_parsing", "float_type") and share:
        return f", e.g. {float(share[1]) / 100:g}"
    time = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)", given) if isinstance(given, str) else None
    if kind in ("float_parsing", "float_type") and time:
        return f" of seconds, e.g. {float(time[1]) * _SECONDS[time[2]]:g}"
    is_share = kind == "less_than_equal" and fault.get("ctx", {}).get("le") == 1.0
    if is_share and isinstance(given, int | float) and 1 < given <= 100:
        return f", e.g. {given / 100:g} for {given:g} %"
    return ""


_SECONDS: Mapping[str, float] = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def expectation(fault: ErrorDetails) -> str:
    """Describe the value that was expected."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in _ENUMS:
        names = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"one of {', '.join(names)}{nearest(fault['input'], names)}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]}"
    if kind == "value_error":
        return str(context["error"]).removeprefix("expected ")
    if kind == "string_pattern_mismatch":
        return f"a text of the form {context['pattern']}"
    return _SCALARS.get(kind) or _OTHERS.get(kind, fault["msg"])


def step_of(step: int | str) -> str:
    """Format one step of a path, to be appended to the others."""
    if isinstance(step, int):
        return f"[{step}]"
    name = safe_key(step)
    return f".{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) else f'["{name}"]'


def is_secret(text: str) -> bool:
    """Check that a text looks like an API key or an address.

    An address may contain a password.
    """
    return _SECRET.match(text) is not None


def safe_key(key: object) -> str:
    """Return a key as a message may repeat it: shortened, or ``***`` for a secret."""
    text = str(key)
    return "***" if is_secret(text) else _cut(text, _KEY_CHARACTERS)


def safe_value(value: object) -> str:
    """Return a value as a message may repeat it.

    Only for a place where an enum, a number or a boolean is expected.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return kind_of(value) if is_secret(value) else _cut(repr(value), _SAFE_CHARACTERS)
    # Python does not format integers of thousands of digits.
    written = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**_SAFE_CHARACTERS)
    return repr(value) if written else kind_of(value)


def kind_of(value: object) -> str:
    """Return the kind of a value, in an operator's words."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "null"),
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a text"),
        ((list, tuple, set, frozenset), "a list"),
        (Mapping, "a mapping"),
        (date, "a date"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "a value of another kind")


def check_kind(name: str, value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Refuse a program's value of another kind.

    Args:
        name: of the call and its argument, for the message.
        value: as it was given.
        kinds: that it may have.
        expected: the kinds in words.

    Raises:
        ExactoError: it has none of these kinds.
    """
    if not isinstance(value, kinds):
        raise ExactoError(f"{name}: got {kind_of(value)}, expected {expected}")


def truncated(value: object) -> str:
    """Return a client's value as the answer to that client may repeat it."""
    return safe_value(value) if value is None or isinstance(value, bool) else _cut(repr(value), _TRUNCATED_CHARACTERS)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}..."


def nearest(given: object, known: Sequence[str]) -> str:
    """Return the suggestion "(did you mean X?)" if a known name is similar."""
    text = given.lower() if isinstance(given, str) else ""
    close = get_close_matches(text[:_KEY_CHARACTERS], known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def keys_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the known keys at a path through models and mapping values."""
    annotation: Any = model
    for step in loc:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(step)].annotation
        else:
            annotation = [part for part in get_args(annotation) if part is not ...][-1]
    annotation = _bare(annotation)
    if is_dataclass(annotation):
        return [field.name for field in fields(annotation)]
    inherited = [name for name in annotation.model_fields if name not in annotation.__annotations__]
    return [name for name in annotation.model_fields if name not in inherited] + inherited


def _bare(annotation: Any) -> Any:
    """Return an annotation without ``Annotated`` and without ``| None``."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) in (Union, types.UnionType):
        return _bare(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation

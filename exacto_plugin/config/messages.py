"""Tells what is wrong with a configuration: pydantic's errors become lines that name key, place and expectation.

A value is told only where an enum, a number or a boolean belongs, since any other may be a secret. Only words; nothing
is validated here.
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

_SHOWN_CHARACTERS = 80
"""Longest piece of a client's bad value that the answer to it repeats."""

_TOLD_CHARACTERS = 40
"""The same for a value of the configuration: more than any enum, number or boolean has."""

_KEY_CHARACTERS = 60
"""Longest piece of a key that a message repeats: more than any key of ours and most models' names have."""

_SECRET = re.compile(r"\s*(sk-|bearer\s)|.*://", re.IGNORECASE | re.DOTALL)
"""API keys and addresses; never told, wherever they stand."""

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
"""Pydantic's error types of numbers and booleans in an operator's words."""

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
"""The same of everything else but enums and bounds."""

_ENUMS = ("enum", "literal_error")

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

_OF_A_PART = re.compile(r"(?P<key>\w+): expected (?P<expected>.*), got (?P<value>.*)")
"""How a record that checks its own fields tells which of them is wrong."""


def format_validation_error(error: ValidationError, model: type[BaseModel], path: str) -> str:
    """One line for each fault, each naming the key's path and what was expected, some also the value."""
    faults = error.errors(include_url=False)
    deeper = {fault["loc"][:length] for fault in faults for length in range(len(fault["loc"]))}
    # A list whose entries were all refused is reported as too short as well; the entries say it better.
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
    return f"{where}: {_got(fault)}expected {expectation(fault)}"


def _got(fault: ErrorDetails) -> str:
    """What was written instead; of a text in place of another text nothing."""
    kind, given = fault["type"], fault["input"]
    if kind in _SCALARS or kind in _ENUMS or kind in _BOUNDS or (kind == "value_error" and isinstance(given, bool)):
        return f"got {safe_value(given)}, "
    another_text = isinstance(given, str) and (kind.startswith("string_") or kind not in _OTHERS)
    return "" if another_text or kind == "missing" else f"got {kind_of(given)}, "


def expectation(fault: ErrorDetails) -> str:
    """What was expected where a value was refused."""
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
    """One step of a path, as it is put behind the others."""
    if isinstance(step, int):
        return f"[{step}]"
    name = safe_key(step)
    return f".{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) else f'["{name}"]'


def is_secret(text: str) -> bool:
    """Whether a text looks like an API key, or like an address, which may have a password in it."""
    return _SECRET.match(text) is not None


def safe_key(key: object) -> str:
    """A key as a message repeats it: cut where it is long, and nothing of one that looks like a secret."""
    text = str(key)
    return "***" if is_secret(text) else _cut(text, _KEY_CHARACTERS)


def safe_value(value: object) -> str:
    """What a message repeats of a value that stands where an enum, a number or a boolean belongs."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return kind_of(value) if is_secret(value) else _cut(repr(value), _TOLD_CHARACTERS)
    # Python writes no integer of thousands of digits.
    written = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**_TOLD_CHARACTERS)
    return repr(value) if written else kind_of(value)


def kind_of(value: object) -> str:
    """What kind of value it is, in an operator's words."""
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


def shown(value: object) -> str:
    """What the answer to a client repeats of a value that it sent."""
    return safe_value(value) if value is None or isinstance(value, bool) else _cut(repr(value), _SHOWN_CHARACTERS)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}..."


def nearest(given: object, known: Sequence[str]) -> str:
    """The suggestion ", did you mean X?", when something known is near."""
    words = given.lower() if isinstance(given, str) else ""
    close = get_close_matches(words[:_KEY_CHARACTERS], known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def keys_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that are known at a path: walks models and the values of mappings."""
    annotation: Any = model
    for step in loc:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(step)].annotation
        else:
            annotation = get_args(annotation)[-1]
    annotation = _bare(annotation)
    if is_dataclass(annotation):
        return [field.name for field in fields(annotation)]
    inherited = [name for name in annotation.model_fields if name not in annotation.__annotations__]
    return [name for name in annotation.model_fields if name not in inherited] + inherited


def _bare(annotation: Any) -> Any:
    """An annotation without ``Annotated`` and without ``| None``."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) in (Union, types.UnionType):
        return _bare(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation

"""Tells what is wrong with a configuration: pydantic's errors become lines that name key, value and expectation.

Only words; nothing is validated here.
"""

from __future__ import annotations

import re
import types
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

_SHOWN_CHARACTERS = 80
"""Longest piece of a bad value that a message repeats."""

_EXPECTED: Mapping[str, str] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
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
}
"""Pydantic's error types in an operator's words."""

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

_OF_A_PART = re.compile(r"(?P<key>\w+): expected (?P<expected>.*), got (?P<value>.*)")
"""How a record that checks its own fields tells which of them is wrong."""


def explain(error: ValidationError, model: type[BaseModel], path: str) -> str:
    """One line for each fault, each naming the key's path, the value and what was expected."""
    faults = error.errors(include_url=False)
    deeper = {fault["loc"][:length] for fault in faults for length in range(len(fault["loc"]))}
    # A list whose entries were all refused is reported as too short as well; the entries say it better.
    return "\n".join(_line(fault, model, path) for fault in faults if fault["loc"] not in deeper)


def _line(fault: ErrorDetails, model: type[BaseModel], path: str) -> str:
    loc = [step for step in fault["loc"] if step != "[key]"]
    where = path + "".join(_step(step) for step in loc)
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = keys_at(model, loc[:-1])
        return f"{where}: unknown key, expected one of {', '.join(known)}{_nearest(loc[-1], known)}"
    inside = _OF_A_PART.fullmatch(str(fault.get("ctx", {}).get("error", "")))
    if inside:
        return f"{where}.{inside['key']}: got {inside['value']}, expected {inside['expected']}"
    expected = expectation(fault)
    return f"{where}: got {shown(fault['input'])}, expected {expected}"


def expectation(fault: ErrorDetails) -> str:
    """What was expected where a value was refused."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in ("enum", "literal_error"):
        names = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"one of {', '.join(names)}{_nearest(fault['input'], names)}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]}"
    if kind == "value_error":
        return str(context["error"]).removeprefix("expected ")
    return _EXPECTED.get(kind, fault["msg"])


def _step(step: int | str) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", step) else f'["{step}"]'


def shown(value: object) -> str:
    """A value as a message repeats it, cut where it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _nearest(given: object, known: Sequence[str]) -> str:
    """The suggestion ", did you mean X?", when something known is near."""
    close = get_close_matches(str(given).lower(), known, n=1, cutoff=0.6)
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

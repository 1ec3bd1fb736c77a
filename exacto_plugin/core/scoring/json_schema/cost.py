"""Estimates the cost of checking a keyword's value, in units of a plain node.

A plain schema node takes an engine some 20 ns to 60 ns. A few keywords cost a hundred times as much, because
jsonschema-rs compares fractions and large numbers as big decimals, compares the values of an ``enum`` one by one
unless they can be hashed, and compares the items of short arrays in pairs. The numbers below are chosen so that
arguments crafted to be slow take about 0.1 s to 0.2 s at ``ScoringLimits.evaluations`` with any of them. Reads values
only, no subschemas.
"""

from __future__ import annotations

from typing import Final

from exacto_plugin.core.scoring.json_schema.formats import OVERRIDES

_BOUNDS: Final = frozenset({"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"})

_LARGEST_PLAIN_INTEGER: Final = 2**53
"""Beyond it a double is not exact, and comparisons need big-number arithmetic."""

_FRACTION: Final = 50
"""Measured: 0.8 µs to 4 µs for ``minimum: 3.5`` or ``const: 1.5``.
``minimum: 3`` takes 0.02 µs."""

_INTEGER: Final = 10
"""Measured: 0.4 µs for ``minimum: 3`` against a number such as 1e22."""

_INTEGER_IN_ENUM: Final = 4
"""Measured: hashed for integers, 0.4 µs for each against a fraction."""

_CONTAINER: Final = 10
"""Measured: 0.2 µs to 0.4 µs for each small object or array.
A larger one costs more only against larger arguments."""

_UNIQUE_ITEMS: Final = 200
"""Measured: 170 µs for 14 fractions in 60 characters."""

_FORMAT_IN_PYTHON: Final = 50
"""Measured: 1 µs to 3 µs, most of it the call from the engine back into Python."""

_FORMAT: Final = 5
"""Measured: 0.25 µs for ``email``, the slowest that jsonschema-rs checks itself."""


def value_cost(keyword: str, value: object) -> int:
    """Return the additional cost of a keyword without subschemas; 0 for most."""
    if keyword in _BOUNDS:
        return _number_cost(value, _INTEGER)
    if keyword == "const":
        return _compared_cost(value, _INTEGER)
    if keyword == "enum" and isinstance(value, list):
        return sum(_compared_cost(each, _INTEGER_IN_ENUM) for each in value)
    if keyword == "uniqueItems" and value is True:
        return _UNIQUE_ITEMS
    if keyword == "format":
        return _FORMAT_IN_PYTHON if value in OVERRIDES else _FORMAT
    return 0


def containers_in(values: list[object]) -> int:
    """Count the objects and arrays in a list of values; they take most of its memory."""
    found = -1
    stack: list[object] = [values]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            found += 1
            stack.extend(each.values())
        elif isinstance(each, list):
            found += 1
            stack.extend(each)
    return found


def _number_cost(number: object, integer: int) -> int:
    if isinstance(number, float):
        return _FRACTION
    return integer if isinstance(number, int) and abs(number) <= _LARGEST_PLAIN_INTEGER else _FRACTION


def _compared_cost(value: object, integer: int) -> int:
    """Return the cost of comparing an instance with a value; 0 for strings."""
    if isinstance(value, dict | list):
        return _FRACTION if _has_slow_number(value) else _CONTAINER
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number_cost(value, integer)
    return 0


def _has_slow_number(container: object) -> bool:
    stack = [container]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, int | float) and _number_cost(value, 0):
            return True
    return False

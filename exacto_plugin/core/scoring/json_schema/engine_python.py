"""The Python engine: jsonschema with a step limit, where jsonschema-rs is missing.

Python's regular expressions backtrack and cannot be interrupted, so a caller's pattern is never run: ``pattern``
passes, and a schema whose meaning depends on patterns does not compile. Work is counted in steps, since a time-out
cannot stop it. The only module that imports jsonschema and referencing. Takes prepared schemas only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NoReturn

import referencing
from jsonschema import Draft7Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from exacto_plugin.core.scoring.json_schema.error_path import Violation
from exacto_plugin.core.scoring.json_schema.formats import ALL, FormatCheck
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, NotCompilableError, ScoringLimits, UnscorableError

if TYPE_CHECKING:
    from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema

_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]

_ENTRIES_PER_STEP: Final = 16
"""Entries of a keyword's value (``properties``, ``enum``, ...) per step.
Each costs about 1 µs or less, one keyword evaluation about 18 µs."""

_ITEMS_PER_STEP: Final = 1_024
"""Items or characters of an instance per step: errors quote strings in full."""


class _Object(dict[str, object]):
    """An object that error messages abbreviate."""

    def __repr__(self) -> str:
        return "{…}"


class _Array(list[object]):
    """An array that error messages abbreviate."""

    def __repr__(self) -> str:
        return "[…]"


def _quiet(value: object) -> object:
    """Return the same value with containers that are cheap to format.

    jsonschema quotes the instance in every error, also in those that a passing ``anyOf`` discards: 38 branches on 250
    kB of arguments would spend a second on text that is never read.
    """
    if isinstance(value, dict):
        return _Object((key, _quiet(item)) for key, item in value.items())
    if isinstance(value, list):
        return _Array(_quiet(item) for item in value)
    return value


class _StepBudget(threading.local):
    """Steps left for the validation in this thread.

    The keyword functions have no other way to share the number.
    """

    left = 0


_budget = _StepBudget()


class PythonEngine:
    """Compiles prepared schemas with an extended ``jsonschema.Draft7Validator``."""

    name: Final = "jsonschema"
    runs_patterns: Final = False

    def __init__(self, limits: ScoringLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self.recursive_depth = limits.lite_recursive_depth
        self._registry: referencing.Registry[Any] = referencing.Registry(retrieve=_deny)  # type: ignore[call-arg]

    def compile(self, prepared: PreparedSchema) -> PythonValidator:
        """Compile a prepared schema.

        Raises:
            NotCompilableError: the schema is not draft 7, or its meaning depends on patterns.
        """
        if not prepared.traits.separable:
            raise NotCompilableError("patterns_needed")
        # No format checker here: the usual one compiles every pattern.
        metaschema = _CountingValidator(_METASCHEMA, registry=self._registry)
        try:
            if (
                PythonValidator(metaschema, self._limits.lite_compile_steps).first_violation(prepared.schema)
                is not None
            ):
                raise NotCompilableError("not_draft7")
        except UnscorableError as declined:
            raise NotCompilableError("compile_steps", limit=True) from declined
        return PythonValidator(counting_validator(prepared.schema, self._registry), self._limits.lite_steps)


def counting_validator(schema: Any, registry: referencing.Registry[Any]) -> Draft7Validator:
    """Return a validator that spends the step budget and checks formats leniently."""
    validator: Draft7Validator = _CountingValidator(schema, registry=registry, format_checker=_FORMATS)
    return validator


class PythonValidator:
    """One compiled schema."""

    __slots__ = ("_steps", "_validator")

    def __init__(self, validator: Draft7Validator, steps: int) -> None:
        self._validator = validator
        self._steps = steps

    def is_valid(self, instance: object) -> bool:
        """Check an instance against the schema.

        Raises:
            UnscorableError: it would take too many steps (``steps``).
        """
        return self._first_error(instance) is None

    def first_violation(self, instance: object) -> Violation | None:
        """Return the first violation, or None."""
        error = self._first_error(instance)
        if error is None:
            return None
        keyword = str(error.validator or "false")
        missing = None
        if keyword == "required" and isinstance(error.validator_value, list) and isinstance(error.instance, dict):
            missing = next((name for name in error.validator_value if name not in error.instance), None)
        return Violation(tuple(error.absolute_path), keyword, missing)

    def _first_error(self, instance: object) -> ValidationError | None:
        _budget.left = self._steps
        return next(self._validator.iter_errors(_quiet(instance)), None)


def _spend(steps: int) -> None:
    _budget.left -= steps
    if _budget.left < 0:
        raise UnscorableError("steps")


def _counted(keyword: _Keyword) -> _Keyword:
    def counting(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        steps = 1
        if isinstance(value, list | dict):
            steps += len(value) // _ENTRIES_PER_STEP
        if isinstance(instance, list | dict | str):
            steps += len(instance) // _ITEMS_PER_STEP
        _spend(steps)
        yield from keyword(validator, value, instance, schema) or ()

    return counting


def _enum(validator: Any, values: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Check ``enum`` as jsonschema does; a container costs a step per compared value."""
    if isinstance(instance, list | dict):
        _spend(len(values))
    yield from Draft7Validator.VALIDATORS["enum"](validator, values, instance, schema) or ()


def _multiple_of(validator: Any, divisor: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Check ``multipleOf`` exactly, in decimals.

    With floats 19.99 is no multiple of 0.01, and huge integers raise OverflowError.
    """
    if validator.is_type(instance, "number") and Fraction(repr(instance)) % Fraction(repr(divisor)):
        yield ValidationError("not a multiple")


def _unique_items(validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Check ``uniqueItems`` by hashing.

    jsonschema compares every pair, 3.8 s for 2,000 objects.
    """
    if wanted and validator.is_type(instance, "array") and len({_frozen(item) for item in instance}) < len(instance):
        yield ValidationError("not unique")


def _frozen(value: object) -> object:
    """Return a hashable key, equal where JSON values are equal: 1 is 1.0, not true.

    Numbers become text, since numbers can be chosen so that Python's hashes of them collide.
    """
    if isinstance(value, dict):
        return ("object", frozenset((key, _frozen(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(_frozen(item) for item in value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ("number", str(int(value)) if value == int(value) else repr(value))
    return (type(value).__name__, str(value))


def _pass(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> None:
    """Accept any instance: ``pattern`` is never run by this engine."""


def _deny(_uri: str) -> NoReturn:
    raise LookupError("schemas are not fetched")


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, check in ALL.items():
        checker.checks(name)(_strings_only(check))
    return checker


def _strings_only(check: FormatCheck) -> Callable[[object], bool]:
    return lambda instance: not isinstance(instance, str) or check(instance)


_FORMATS: Final = _format_checker()

# With these two keywords jsonschema would continue with its own class, which counts no steps.
_METASCHEMA: Final = {
    word: value for word, value in Draft7Validator.META_SCHEMA.items() if word not in ("$schema", "$id")
}

_CountingValidator: Final = extend(  # type: ignore[no-untyped-call]  # its stub has no annotations
    Draft7Validator,
    {
        word: _counted(keyword)
        for word, keyword in {
            **Draft7Validator.VALIDATORS,
            "enum": _enum,
            "multipleOf": _multiple_of,
            "uniqueItems": _unique_items,
            "pattern": _pass,
        }.items()
    },
)

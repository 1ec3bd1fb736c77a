"""The fast engine: jsonschema-rs, without fetching and without backtracking.

The only module that imports jsonschema_rs; importing it fails where there is no wheel. Takes prepared schemas only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import jsonschema_rs

from exacto_plugin.core.scoring.json_schema.error_path import Violation
from exacto_plugin.core.scoring.json_schema.formats import OVERRIDES
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, NotCompilableError, ScoringLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema


class RustEngine:
    """Compiles prepared schemas with ``jsonschema_rs.Draft7Validator``."""

    name: Final = "jsonschema_rs"
    runs_patterns: Final = True
    recursive_depth: Final = None

    def __init__(self, limits: ScoringLimits = DEFAULT_LIMITS) -> None:
        self._options = options(limits)

    def compile(self, prepared: PreparedSchema) -> RustValidator:
        """Compile a prepared schema.

        Raises:
            NotCompilableError: the schema is not draft 7, or a pattern is not a regular expression or too large.
        """
        try:
            return RustValidator(jsonschema_rs.Draft7Validator(prepared.schema, **self._options))
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise NotCompilableError("not_draft7") from error


class RustValidator:
    """One compiled schema."""

    __slots__ = ("_validator", "is_valid")

    def __init__(self, validator: jsonschema_rs.Draft7Validator) -> None:
        self._validator = validator
        self.is_valid = validator.is_valid

    def first_violation(self, instance: object) -> Violation | None:
        """Return the first violation, or None."""
        error = next(iter(self._validator.iter_errors(instance)), None)
        if error is None:
            return None
        missing = error.kind.property if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required) else None
        return Violation(tuple(error.instance_path), error.kind.name, missing)


def options(limits: ScoringLimits = DEFAULT_LIMITS) -> Mapping[str, Any]:
    """Return the keyword arguments of every ``Draft7Validator`` of this package.

    The default retriever fetches any URL or file that a schema names, at compile time. The default regex engine
    backtracks, and at its limit it reports a matching text as a mismatch; ``RegexOptions`` selects the linear one.
    """
    return {
        "retriever": _deny,
        "validate_formats": True,
        "ignore_unknown_formats": True,
        "formats": dict(OVERRIDES),
        "pattern_options": jsonschema_rs.RegexOptions(
            size_limit=limits.pattern_program_bytes, dfa_size_limit=limits.pattern_program_bytes
        ),
    }


def _deny(_uri: str) -> NoReturn:
    raise ValueError("schemas are not fetched")

"""The interface of a validation engine, and the choice of one. Holds no schema."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, ScoringLimits

if TYPE_CHECKING:
    from exacto_plugin.core.scoring.json_schema.error_path import Violation
    from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema


class Validator(Protocol):
    """One compiled schema."""

    def is_valid(self, instance: object, /) -> bool:
        """Check an instance against the schema.

        Raises:
            UnscorableError: validation would cost too much.
        """
        ...

    def first_violation(self, instance: object, /) -> Violation | None:
        """Return the first violation, or None."""
        ...


class ValidationEngine(Protocol):
    """An engine that compiles prepared schemas."""

    @property
    def name(self) -> str:
        """The value of ``scoring.engine`` that selects it."""
        ...

    @property
    def runs_patterns(self) -> bool:
        """False if the engine never evaluates ``pattern``.

        Schemas whose meaning depends on it then do not compile.
        """
        ...

    @property
    def recursive_depth(self) -> int | None:
        """Nesting of arguments that a recursive schema may be applied to.

        None if only the general limit holds.
        """
        ...

    def compile(self, prepared: PreparedSchema, /) -> Validator:
        """Compile a prepared schema.

        Raises:
            NotCompilableError: the engine does not accept the schema.
        """
        ...


class EngineSetting(StrEnum):
    """The setting ``scoring.engine``."""

    AUTO = "auto"
    """jsonschema-rs where it can be imported, else jsonschema."""
    JSONSCHEMA_RS = "jsonschema_rs"
    JSONSCHEMA = "jsonschema"


def make_engine(choice: str = EngineSetting.AUTO, limits: ScoringLimits = DEFAULT_LIMITS) -> ValidationEngine:
    """Return the engine of a setting.

    Raises:
        ValueError: no engine has that name.
        ImportError: the engine's package is not installed (never with ``auto``).
    """
    wanted = EngineSetting(choice)
    # Imported here because either package may be missing, and jsonschema alone takes 0.3 s to import.
    if wanted is not EngineSetting.JSONSCHEMA:
        try:
            from exacto_plugin.core.scoring.json_schema.engine_rust import RustEngine
        except ImportError:
            if wanted is EngineSetting.JSONSCHEMA_RS:
                raise
        else:
            return RustEngine(limits)
    from exacto_plugin.core.scoring.json_schema.engine_python import PythonEngine

    return PythonEngine(limits)

"""What a validation engine is to the rest of the core, and which one is used. Holds no schema."""

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
        """Whether the instance satisfies the schema; raises Unscorable where that would cost too much."""
        ...

    def first_violation(self, instance: object, /) -> Violation | None:
        """Where it does not, or None."""
        ...


class ValidationEngine(Protocol):
    """Something that compiles prepared schemas."""

    @property
    def name(self) -> str:
        """The value of ``scoring.engine`` that selects it."""
        ...

    @property
    def runs_patterns(self) -> bool:
        """False when ``pattern`` is never looked at, so that schemas whose meaning turns on it do not compile."""
        ...

    @property
    def recursive_depth(self) -> int | None:
        """Nesting of arguments that a recursive schema may be applied to; None when only the general limit holds."""
        ...

    def compile(self, prepared: PreparedSchema, /) -> Validator:
        """A validator for a prepared schema; raises NotCompilable."""
        ...


class EngineSetting(StrEnum):
    """The setting ``scoring.engine``."""

    AUTO = "auto"
    """jsonschema-rs where it can be imported, else jsonschema."""
    JSONSCHEMA_RS = "jsonschema_rs"
    JSONSCHEMA = "jsonschema"


def make_engine(choice: str = EngineSetting.AUTO, limits: ScoringLimits = DEFAULT_LIMITS) -> ValidationEngine:
    """The engine of that name.

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

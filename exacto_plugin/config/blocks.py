"""Base class and types of values of all parts of ``exacto_settings:``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def no_bool(value: object) -> object:
    """Refuse booleans, so that ``yes``/``no`` are not read as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def no_bools(block: object) -> object:
    """Refuse booleans for the numbers of a part.

    A key that is no identifier is left to the check for unknown keys.
    """
    if isinstance(block, Mapping):
        for key, value in block.items():
            if isinstance(value, bool) and str(key).isidentifier():
                raise ValueError(f"{key}: expected a number, got {str(value).lower()}")
    return block


Share = Annotated[float, BeforeValidator(no_bool), Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, allow_inf_nan=False)]
Days = Annotated[float, BeforeValidator(no_bool), Field(gt=0.0, le=36_500.0)]
Count = Annotated[int, BeforeValidator(no_bool), Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]


def _is_part(annotation: object) -> bool:
    """Check that a field is written as a mapping."""
    if isinstance(annotation, type):
        return issubclass(annotation, SettingsBlock) or is_dataclass(annotation)
    return getattr(annotation, "__origin__", None) is Mapping


class SettingsBlock(BaseModel):
    """A part of the configuration: immutable, without unknown keys.

    The docstrings of its fields are its documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_parts(cls, block: Any) -> Any:
        """Replace an empty part (YAML: null) by its defaults."""
        if not isinstance(block, Mapping):
            return block
        parts = {name for name, field in cls.model_fields.items() if _is_part(field.annotation)}
        return {key: {} if value is None and key in parts else value for key, value in block.items()}

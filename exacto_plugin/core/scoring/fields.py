"""Reads a field of a mapping, or of an object such as LiteLLM's own messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get_field(item: Any, name: str) -> Any:
    """Return a field by its name; None if the item has none."""
    if isinstance(item, dict):
        return item.get(name)
    undeclared = getattr(item, "__pydantic_extra__", None)  # reading it as an attribute takes ten times as long
    if undeclared and name in undeclared:
        return undeclared[name]
    found = getattr(item, name, None)
    return item.get(name) if found is None and isinstance(item, Mapping) else found


def get_list(item: Any, name: str) -> list[Any]:
    """Return a field that is a list; an empty list for anything else."""
    found = get_field(item, name)
    return found if isinstance(found, list) else []


def get_text(item: Any, name: str) -> str:
    """Return a field that is text; an empty string for anything else."""
    found = get_field(item, name)
    return found if isinstance(found, str) else ""

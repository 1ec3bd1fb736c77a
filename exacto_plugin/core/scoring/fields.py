"""Reads a field of a mapping, or of an object such as LiteLLM's own messages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAPPINGS: Final = (dict, Mapping)
"""For ``isinstance``, in this order: an abstract class takes ten times as long to check."""

_CLASSES: Final = 256
"""Classes whose attributes are remembered."""
_PYDANTIC: Final = "pydantic.main"


def get_field(item: Any, name: str) -> Any:
    """Return a field by its name; None if the item has none."""
    if isinstance(item, dict):
        return item.get(name)
    if item is None:
        return None
    undeclared = getattr(item, "__pydantic_extra__", None)  # where LiteLLM has most fields of a stream
    if undeclared:
        if name in undeclared:
            return undeclared[name]
    elif undeclared is not None and (declared := item.__dict__.get(name)) is not None:
        return declared  # a look-up fewer than below
    found = get_attribute(item, name)
    if found is None and _is_mapping(type(item)):  # type: ignore[arg-type]  # mypy takes classes for unhashable
        return item.get(name)
    return found


def get_attribute(item: Any, name: str) -> Any:
    """Return an attribute by its name; None if the item has none.

    Of a pydantic object it is looked up where such objects have it: a missing attribute takes 2 us to look up with
    ``getattr``, six times as long, and most of those that scoring asks for are missing.
    """
    try:
        own = item.__dict__
    except AttributeError:
        return getattr(item, name, None)
    if name in own:
        return own[name]
    undeclared = getattr(item, "__pydantic_extra__", None)
    if undeclared and name in undeclared:
        return undeclared[name]
    shared = _attributes_of(type(item))  # type: ignore[arg-type]  # mypy takes classes for unhashable
    return getattr(item, name, None) if shared is None or name in shared else None


def has_any(item: Any, names: Iterable[str]) -> bool:
    """Return whether one of some fields is neither missing nor empty."""
    for name in names:  # noqa: SIM110 -- a generator takes twice as long
        if get_field(item, name):
            return True
    return False


@lru_cache(_CLASSES)
def _attributes_of(kind: Any) -> frozenset[str] | None:
    """Return a class's attributes; None where it has a look-up of its own."""
    lookup = getattr(kind, "__getattr__", None)
    if kind.__getattribute__ is not object.__getattribute__:
        return None
    if lookup is not None and getattr(lookup, "__module__", "") != _PYDANTIC:
        return None
    return frozenset(dir(kind)) | frozenset(getattr(kind, "__private_attributes__", ()))


@lru_cache(_CLASSES)
def _is_mapping(kind: Any) -> bool:
    return issubclass(kind, Mapping)


def get_list(item: Any, name: str) -> list[Any]:
    """Return a field that is a list; an empty list for anything else."""
    found = get_field(item, name)
    return found if isinstance(found, list) else []


def get_text(item: Any, name: str) -> str:
    """Return a field that is text; an empty string for anything else."""
    found = get_field(item, name)
    return found if isinstance(found, str) else ""

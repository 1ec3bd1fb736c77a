"""Wire names: stable names of attributes in stored and sent data.

A class whose attributes become columns, keys or fields declares the name of each with ``@wire``. Renaming an attribute
then cannot change stored data: the declaration no longer matches the attributes, and importing the module raises an
error. After a rename from ``word`` to ``action``, the attribute is declared as ``action="word"``. Columns and fields
are in the order of the attributes.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_DECLARED: dict[type[Any], Mapping[str, str]] = {}


def wire(same: str, **renamed: str) -> Callable[[type[T]], type[T]]:
    """Declare the wire names of the attributes of a class.

    The class is a dataclass, a named tuple or a class of annotated attributes.

    Args:
        same: attributes whose wire name equals their name, separated by spaces.
        renamed: the others, each with its wire name.

    Raises:
        TypeError: an attribute has no wire name, a name is no attribute's, or two share one.
    """
    names = {name: name for name in same.split()} | renamed

    def declare(kind: type[T]) -> type[T]:
        attributes = [field.name for field in fields(kind)] if is_dataclass(kind) else list(kind.__annotations__)
        if odd := sorted(set(attributes) ^ names.keys()):
            raise TypeError(f"{kind.__name__}: attributes and wire names do not fit together: {', '.join(odd)}")
        if len(set(names.values())) < len(names):
            raise TypeError(f"{kind.__name__}: two attributes have one wire name")
        _DECLARED[kind] = MappingProxyType({attribute: names[attribute] for attribute in attributes})
        return kind

    return declare


def wire_names(kind: type[Any]) -> Mapping[str, str]:
    """Map each attribute to its wire name, in the order of the attributes.

    Raises:
        TypeError: the class itself has not declared any; those of a base are not its own.
    """
    found = _DECLARED.get(kind)
    if found is None:
        raise TypeError(f"{kind.__name__} has no wire names")
    return found


def to_wire(record: object) -> dict[str, Any]:
    """Return the attributes' values, as they are, under their wire names."""
    return {name: getattr(record, attribute) for attribute, name in wire_names(type(record)).items()}


def from_wire(kind: type[T], given: Mapping[str, Any]) -> T:
    """Restore the record that ``to_wire`` was given.

    Unknown names are left out; missing ones have their default.
    """
    return kind(**{attribute: given[name] for attribute, name in wire_names(kind).items() if name in given})

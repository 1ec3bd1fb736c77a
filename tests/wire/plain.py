"""What plain data looks like: the path of every value with the types that occur there."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_RANDOM = re.compile(r"[0-9a-f]{8}|[0-9a-f]{16}")
"""Names of workers and the like."""


def shape(value: Any, names: Collection[str] = ()) -> dict[str, str]:
    """Paths and types, in the order of the paths.

    Args:
        value: mappings, lists, text, numbers, booleans and None.
        names: keys that are data (model groups, deployments); they and names of workers stand as ``*`` in paths.
    """
    found: dict[str, set[str]] = {}
    for path, kind in _walk(value, "", frozenset(names)):
        found.setdefault(path, set()).add(kind)
    return {path: "|".join(sorted(kinds)) for path, kinds in sorted(found.items())}


def _walk(value: Any, path: str, names: frozenset[str]) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            named = "*" if key in names or _RANDOM.fullmatch(key) else key
            yield from _walk(inner, f"{path}.{named}".lstrip("."), names)
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            yield from _walk(inner, f"{path}[]", names)
    else:
        yield path, _kind(value)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "number", float: "number", str: "text", dict: "{}", list: "[]", tuple: "[]"}
    return kinds[type(value)]


def inflated(data: bytes) -> Any:
    """The JSON behind a leading byte and zlib."""
    return json.loads(zlib.decompress(data[1:]))

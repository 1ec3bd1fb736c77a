"""What is different between two settings, and what may be told of them: no passwords, no keys.

Pure. Must not know where settings come from or who is told.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from exacto_plugin.config.messages import is_secret, safe_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from exacto_plugin.config.settings import Settings

HIDDEN = "***"
"""In place of what nobody may read."""

AT_THE_START = frozenset(
    {"store.url", "store.outcomes", "store.outcomes_mb", "redis.enabled", "redis.url", "redis.namespace"}
)
"""The settings that are read once, as a process starts, since what they name is opened then; all others are live."""


def redacted(settings: Settings) -> dict[str, Any]:
    """Every setting under its dotted path, as it may be shown and written down."""
    return {_dotted(path): _plain(value) for path, value in _flatten(settings.model_dump())}


def digest(settings: Settings) -> str:
    """A short name of settings that say the same, but for what nobody may read."""
    return hashlib.blake2b(json.dumps(redacted(settings), sort_keys=True).encode(), digest_size=8).hexdigest()


def diff(before: Settings, after: Settings) -> dict[str, tuple[Any, Any]]:
    """What was and what is, as it may be shown, under the path of each setting that differs."""
    return {_dotted(path): (_plain(old), _plain(new)) for path, (old, new) in _different(before, after).items()}


def sentence(before: Settings, after: Settings) -> str:
    """The same for a log: values of enums, numbers and booleans; of any other setting that it changed."""
    parts = []
    for path, (old, new) in _different(before, after).items():
        how = f"{_plain(old)!r} -> {_plain(new)!r}" if _scalar(old) and _scalar(new) else "changed"
        parts.append(f"{_dotted(map(safe_key, path))} {how}")
    return ", ".join(parts)


_Path = tuple[str, ...]


def _different(before: Settings, after: Settings) -> dict[_Path, tuple[Any, Any]]:
    old, new = dict(_flatten(before.model_dump())), dict(_flatten(after.model_dump()))
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    return {path: (old.get(path), new.get(path)) for path in paths}


def _dotted(path: Iterable[str]) -> str:
    return ".".join(path)


def _scalar(value: object) -> bool:
    """Whether it is an enum, a number or a boolean, a list of them, or not set."""
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_scalar, value))
    return value is None or isinstance(value, Enum | bool | int | float)


def _flatten(block: Mapping[str, Any], above: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    for name, value in block.items():
        path = (*above, str(name))
        if isinstance(value, dict):
            yield from _flatten(value, path)
        else:
            yield path, value


def _plain(value: object) -> Any:
    """A value as JSON can write it, without what is secret in it."""
    if isinstance(value, SecretStr):
        return _redact_text(value.get_secret_value())
    if isinstance(value, str):
        return _redact_text(str(value)) if is_secret(value) else str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return (
        value if value is None or isinstance(value, bool | int | float) else json.loads(json.dumps(value, default=str))
    )


def _redact_text(text: str) -> str:
    """The scheme, host and path of a URL; of any other secret nothing."""
    if "://" not in text:
        return HIDDEN
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # the end of a password with a /, ? or # in it
        return f"{parts.scheme}://{HIDDEN}"
    known = f"{HIDDEN}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{known}{host}{port}{parts.path}" + (f"?{HIDDEN}" if parts.query else "")

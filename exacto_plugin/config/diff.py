"""Compares two settings and formats them without passwords and keys.

Pure. Independent of the settings' sources and of the recipients of the output.
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
"""Replaces a secret value."""

AT_THE_START = frozenset(
    {"store.url", "store.outcomes", "store.outcomes_mb", "redis.enabled", "redis.url", "redis.namespace"}
)
"""Settings that are read once, at the start of a process.
What they name is opened then; all other settings are live."""


def redacted(settings: Settings) -> dict[str, Any]:
    """Return every setting under its dotted path, without secrets."""
    return {_dotted(path): _plain(value) for path, value in _flatten(settings.model_dump())}


def digest(settings: Settings) -> str:
    """Return a short hash of the settings; secrets do not affect it."""
    return hashlib.blake2b(json.dumps(redacted(settings), sort_keys=True).encode(), digest_size=8).hexdigest()


def diff(before: Settings, after: Settings) -> dict[str, tuple[Any, Any]]:
    """Return the old and new value of each changed setting by path, without secrets."""
    return {_dotted(path): (_plain(old), _plain(new)) for path, (old, new) in _different(before, after).items()}


def sentence(before: Settings, after: Settings) -> str:
    """Format the changes for a log.

    Values are included for enums, numbers and booleans; of any other setting only the change.
    """
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
    """Check for an enum, number, boolean or None, or a list of these."""
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
    """Convert a value to JSON types, without secrets."""
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
    """Return scheme, host and path of a URL; ``HIDDEN`` for any other secret."""
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
    user = f"{HIDDEN}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{user}{host}{port}{parts.path}" + (f"?{HIDDEN}" if parts.query else "")

"""What is different between two settings, and what may be told of them: no passwords, no keys.

Pure. Must not know where settings come from or who is told.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exacto_plugin.settings import Settings

HIDDEN = "***"
"""In place of what nobody may read."""

AT_THE_START = frozenset(
    {"store.url", "store.outcomes", "store.outcomes_mb", "redis.enabled", "redis.url", "redis.namespace"}
)
"""The settings that are read once, as a process starts, since what they name is opened then; all others are live."""


def told(settings: Settings) -> dict[str, Any]:
    """Every setting under its dotted path, as it may be shown and written down."""
    return {path: _plain(value) for path, value in _flat(settings.model_dump())}


def digest(settings: Settings) -> str:
    """A short name of settings that say the same, but for what nobody may read."""
    return hashlib.blake2b(json.dumps(told(settings), sort_keys=True).encode(), digest_size=8).hexdigest()


def changes(before: Settings, after: Settings) -> dict[str, tuple[Any, Any]]:
    """What was and what is, as it may be shown, under the path of each setting that differs."""
    old, new = dict(_flat(before.model_dump())), dict(_flat(after.model_dump()))
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    return {path: (_plain(old.get(path)), _plain(new.get(path))) for path in paths}


def _flat(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in block.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: object) -> Any:
    """A value as JSON can write it, without what is secret in it."""
    if isinstance(value, SecretStr):
        return _redacted(value.get_secret_value())
    if isinstance(value, str):
        return _redacted(str(value)) if "://" in value else str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return (
        value if value is None or isinstance(value, bool | int | float) else json.loads(json.dumps(value, default=str))
    )


def _redacted(text: str) -> str:
    """The scheme, host and path of a URL; of any other secret nothing."""
    if "://" not in text:
        return HIDDEN
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    known = f"{HIDDEN}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{known}{host}{port}{parts.path}" + (f"?{HIDDEN}" if parts.query else "")

"""The location of a store: the settings' URL, else a SQLite file, else memory.

The file is in a state directory. Opens no database.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from exacto_plugin.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_POSTGRESQL = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_DRIVERS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """The location of one store."""

    url: URL
    name: str
    """For display: without a password."""
    file: Path | None = None
    """The file of SQLite; None for servers and memory."""
    is_persistent: bool = True
    """False for memory, which ends with the process."""

    @property
    def is_sqlite(self) -> bool:
        """True for a SQLite file or memory, False for a server."""
        return self.url.get_backend_name() == "sqlite"


def location_of_url(url: str, name: str = "exacto_settings.store.url") -> StoreLocation:
    """Return the location that a setting or an option gives.

    Args:
        url: as SQLAlchemy reads it; ``sqlite://`` alone is memory.
        name: of the setting or option, for messages.

    Raises:
        SettingsError: it is no URL, or the URL of another kind of database.
    """
    made = _parsed(url)
    if made is None:
        file = f"; for that file write sqlite:///{url}" if _is_file_name(url) else ""
        raise SettingsError(f"{name}: got no URL, expected {_DRIVERS}{file}")
    if made.drivername in _POSTGRESQL:
        if "@" in f"{made.host}{made.database}":  # part of a password, which would be shown as the host
            raise SettingsError(f"{name}: expected a password whose @, : and / are written as %40, %3A and %2F")
        if find_spec("psycopg") is None:
            raise SettingsError(f"{name}: PostgreSQL needs psycopg: pip install 'psycopg[binary]'")
        made = made.set(drivername="postgresql+psycopg")
        display = made.set(drivername="postgresql", query={})
        return StoreLocation(made, display.render_as_string(hide_password=True))
    if made.drivername != "sqlite":
        raise SettingsError(f"{name}: got another kind of address, expected {_DRIVERS}")
    if made.database in (None, "", ":memory:"):
        return memory_location()
    path = Path(str(made.database)).expanduser()
    if path.is_dir():
        raise SettingsError(f"{name}: {path} is a directory, expected a file in it, e.g. {path / 'exacto.sqlite'}")
    return _file(path)


def _is_file_name(text: str) -> bool:
    """Return whether a text looks like a database file, and holds no secret."""
    return bool(re.fullmatch(r"[\w./~-]+\.(sqlite3?|db)", text))


def _parsed(url: str) -> URL | None:
    """Parse a URL with SQLAlchemy; None when it is none.

    SQLAlchemy's error is dropped, because it may quote the URL.
    """
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def memory_location() -> StoreLocation:
    """Return a location in memory, shared by all connections of the process."""
    name = f"file:exacto-{secrets.token_hex(8)}"
    url = URL.create("sqlite", database=name, query={"mode": "memory", "cache": "shared", "uri": "true"})
    return StoreLocation(url, "memory", is_persistent=False)


def default_location(config: str | None, environment: Mapping[str, str]) -> StoreLocation:
    """Return a file in the first writable state directory, else memory.

    Each configuration has a file of its own.

    Args:
        config: path of the proxy's configuration; proxies with different ones do not share.
        environment: ``os.environ``.
    """
    for directory in _directories(environment):
        if _writable(directory):
            return _file(directory / f"{_name(config)}.sqlite")
    return memory_location()


def _file(path: Path) -> StoreLocation:
    path = path.absolute()
    return StoreLocation(URL.create("sqlite", database=str(path)), str(path), path)


def _directories(environment: Mapping[str, str]) -> list[Path]:
    """Return the state directories of the XDG specification, then Linux' for services."""
    found = []
    if state := environment.get("XDG_STATE_HOME"):
        found.append(Path(state))
    if home := environment.get("HOME"):
        found.append(Path(home) / ".local" / "state")
    found.append(Path("/var/lib"))
    return [directory / "exacto_plugin" for directory in found if directory.is_absolute()]


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = directory / f".{os.getpid()}-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def _name(config: str | None) -> str:
    if not config:
        return "proxy"
    path = Path(os.path.normpath(Path(config).absolute()))
    # Links are not followed: Kubernetes' for mounted files point elsewhere after each change.
    digest = hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()
    return f"{path.stem}-{digest}"

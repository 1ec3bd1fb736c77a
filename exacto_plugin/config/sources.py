"""Reads the settings from LiteLLM's configuration or a YAML file.

The environment may name the file. The block itself is read by :mod:`exacto_plugin.config.settings`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from exacto_plugin.config.messages import kind_of, step_of
from exacto_plugin.config.settings import BLOCK, Settings, load_settings
from exacto_plugin.config.yaml_text import parse_yaml
from exacto_plugin.errors import SettingsError

CONFIG_VARIABLE = "EXACTO_CONFIG"
"""Environment variable with the path of a YAML file that has the block.
It takes precedence over the block in the proxy's configuration."""

_ENVIRONMENT_PREFIX = "os.environ/"
"""LiteLLM's prefix for the value of an environment variable in a configuration."""

_NAME = re.compile(r"[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{1,20}){0,5}")
"""Names of environment variables that a message repeats: in capitals, as is usual; anything else may be a secret."""

_NO_NAME = "the name of an environment variable that is set"


def find_settings(proxy_config: Mapping[str, object] | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings of this process.

    They come from the file that ``EXACTO_CONFIG`` names, else from the proxy's block, else they are the defaults.

    Args:
        proxy_config: ``config.yaml`` as LiteLLM parsed it or as it was written; None outside a proxy.
        environment: ``os.environ``.

    Raises:
        SettingsError: the file cannot be read or has no block, or the block has unknown keys or bad values.
    """
    named = environment.get(CONFIG_VARIABLE)
    if named:
        return settings_of_file(Path(named), environment)
    return settings_of_block((proxy_config or {}).get(BLOCK), environment)


_SETTLED_S = 0.5
"""Seconds since the last change of a file before it is read.
A program may still be writing it."""


class FileWatcher:
    """Reports each change of some files once.

    Args:
        paths: the files to watch; a later list takes effect at the next check.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._seen = self._stamps()

    def changed(self) -> bool:
        """Check for a file that changed, appeared or vanished since the last report."""
        stamps = self._stamps()
        young = any(stamp is not None and 0 <= time.time() - stamp[0] / 1e9 < _SETTLED_S for stamp in stamps.values())
        if young or stamps == self._seen:
            return False
        self._seen = stamps
        return True

    def _stamps(self) -> dict[Path, tuple[int, int] | None]:
        return {path: _stamp(path) for path in self.paths}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def settings_watcher(environment: Mapping[str, str]) -> Callable[[], Settings | None]:
    """Return a function that rereads the ``EXACTO_CONFIG`` file after each change.

    It returns the settings, or None if the file is unchanged. It raises SettingsError for a file that cannot be used;
    the settings in force then stay.
    """
    named = environment.get(CONFIG_VARIABLE)
    if not named:
        return lambda: None
    path = Path(named)
    files = FileWatcher([path])
    return lambda: settings_of_file(path, environment) if files.changed() else None


def settings_of_file(path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings in a YAML file.

    The block ``exacto_settings:`` is at the top level; other keys are ignored.

    Raises:
        SettingsError: the file cannot be read or has no block, or the block has unknown keys or bad values.
    """
    config = read_config(path)
    if BLOCK not in config:
        raise SettingsError(f"{path}: no {BLOCK}: block at the top level")
    return settings_of_block(config[BLOCK], environment, f"{path}: {BLOCK}")


def settings_of_block(block: object, environment: Mapping[str, str], where: str = BLOCK) -> Settings:
    """Return the settings of a block that is written as in a file.

    Args:
        block: the value of ``exacto_settings:``; None means defaults.
        environment: the source of values written as ``os.environ/NAME``.
        where: the name of the block in messages.

    Raises:
        SettingsError: it is no mapping, or has unknown keys or bad values.
    """
    found = _mapping(block, where)
    return load_settings(None if found is None else _resolve(found, environment, where), where)


def read_config(path: Path) -> Mapping[str, object]:
    """Read the top level of a YAML file.

    Raises:
        SettingsError: the file cannot be read, is not valid YAML, or is no mapping.
    """
    config = read_yaml(path)
    if not isinstance(config, Mapping):
        raise SettingsError(f"{path}: got {kind_of(config)} at the top level, expected a mapping")
    return config


def read_yaml(path: Path) -> object:
    """Read a YAML file.

    Raises:
        SettingsError: the file cannot be read or is not valid YAML.
    """
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        fault = error.strerror or type(error).__name__
    except UnicodeDecodeError as error:
        fault = f"not UTF-8 at byte {error.start}"
    raise SettingsError(f"{path}: cannot be read: {fault}")


def _mapping(block: object, path: str) -> Mapping[str, object] | None:
    if block is None:
        return None
    if not isinstance(block, Mapping):
        raise SettingsError(f"{path}: got {kind_of(block)}, expected a mapping")
    return block


_LEVELS = 20
"""Largest nesting of a block, which no valid block reaches.
A block that contains itself is endless."""


def _resolve(
    block: Mapping[str, object], environment: Mapping[str, str], path: str, levels: int = _LEVELS
) -> Mapping[str, object]:
    """Replace values written as ``os.environ/NAME``, as LiteLLM does in its own file."""
    return {key: _value(value, environment, f"{path}{step_of(str(key))}", levels) for key, value in block.items()}


def _value(value: object, environment: Mapping[str, str], path: str, levels: int) -> object:
    if isinstance(value, Mapping | list) and not levels:
        raise SettingsError(f"{path}: nested too deeply, or contains itself")
    if isinstance(value, Mapping):
        return _resolve(value, environment, path, levels - 1)
    if isinstance(value, list):
        return [_value(entry, environment, f"{path}[{at}]", levels - 1) for at, entry in enumerate(value)]
    if isinstance(value, str) and value.startswith(_ENVIRONMENT_PREFIX):
        name = value.removeprefix(_ENVIRONMENT_PREFIX)
        if name not in environment:
            named = f"the environment variable {name} to be set" if _NAME.fullmatch(name) else _NO_NAME
            raise SettingsError(f"{path}: expected {named}")
        return environment[name]
    return value

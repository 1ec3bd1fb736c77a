"""Where the settings come from: LiteLLM's parsed configuration, or a YAML file named by the environment.

Reads files and the environment; what a block means is :mod:`exacto_plugin.config.settings`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from exacto_plugin.config.messages import kind_of, step_of
from exacto_plugin.config.settings import BLOCK, Settings, load_settings
from exacto_plugin.config.yaml_text import parse_yaml
from exacto_plugin.errors import SettingsError

CONFIG_VARIABLE = "EXACTO_CONFIG"
"""Environment variable that names a YAML file with the block; it wins over the block in the proxy's configuration."""

_ENVIRONMENT_PREFIX = "os.environ/"
"""LiteLLM's way to write "the value of this environment variable" in a configuration."""


def find_settings(proxy_config: Mapping[str, object] | None, environment: Mapping[str, str]) -> Settings:
    """The settings of this process: the file that ``EXACTO_CONFIG`` names, else the proxy's block, else defaults.

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
"""How long a file must have been left alone before it is read: a program may still be writing it."""


class FileWatcher:
    """Tells once of each change of some files.

    Args:
        paths: the files as of now; a later list counts from the next question on.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._seen = self._stamps()

    def changed(self) -> bool:
        """Whether a file changed, came or went since the last change that was told."""
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
    """A function that gives the settings of the ``EXACTO_CONFIG`` file whenever the file changed, else None.

    Raises (the function): SettingsError for a file that cannot be used; the settings in force then stay.
    """
    named = environment.get(CONFIG_VARIABLE)
    if not named:
        return lambda: None
    path = Path(named)
    files = FileWatcher([path])
    return lambda: settings_of_file(path, environment) if files.changed() else None


def settings_of_file(path: Path, environment: Mapping[str, str]) -> Settings:
    """The settings in a YAML file with an ``exacto_settings:`` block at its top level; other keys are left alone.

    Raises:
        SettingsError: the file cannot be read or has no block, or the block has unknown keys or bad values.
    """
    config = read_config(path)
    if BLOCK not in config:
        raise SettingsError(f"{path}: no {BLOCK}: block at the top level")
    return settings_of_block(config[BLOCK], environment, f"{path}: {BLOCK}")


def settings_of_block(block: object, environment: Mapping[str, str], where: str = BLOCK) -> Settings:
    """The settings that stand under ``exacto_settings:``, written as in a file.

    Args:
        block: what stands there; None means defaults.
        environment: where values written as ``os.environ/NAME`` are looked up.
        where: how the block is called in messages.

    Raises:
        SettingsError: it is no mapping, or has unknown keys or bad values.
    """
    found = _mapping(block, where)
    return load_settings(None if found is None else _resolve(found, environment, where), where)


def read_config(path: Path) -> Mapping[str, object]:
    """The top level of a YAML file.

    Raises:
        SettingsError: the file cannot be read, is not valid YAML, or is no mapping.
    """
    config = read_yaml(path)
    if not isinstance(config, Mapping):
        raise SettingsError(f"{path}: got {kind_of(config)} at the top level, expected a mapping")
    return config


def read_yaml(path: Path) -> object:
    """What a YAML file says.

    Raises:
        SettingsError: the file cannot be read or is not valid YAML.
    """
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """What a file says.

    Raises:
        SettingsError: it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        fault = error.strerror or type(error).__name__
    except UnicodeDecodeError as error:
        fault = f"no UTF-8 at byte {error.start}"
    raise SettingsError(f"{path}: cannot be read: {fault}")


def _mapping(block: object, path: str) -> Mapping[str, object] | None:
    if block is None:
        return None
    if not isinstance(block, Mapping):
        raise SettingsError(f"{path}: got {kind_of(block)}, expected a mapping")
    return block


_LEVELS = 20
"""More than any setting is deep; a block that contains itself has no end."""


def _resolve(
    block: Mapping[str, object], environment: Mapping[str, str], path: str, levels: int = _LEVELS
) -> Mapping[str, object]:
    """Values written as ``os.environ/NAME`` replaced as LiteLLM does it in its own file."""
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
            raise SettingsError(f"{path}: expected the name of an environment variable that is set")
        return environment[name]
    return value

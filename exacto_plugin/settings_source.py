"""Where the settings come from: LiteLLM's parsed configuration, or a YAML file named by the environment.

Reads files and the environment; what a block means is :mod:`exacto_plugin.settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from exacto_plugin.errors import SettingsError
from exacto_plugin.settings import BLOCK, Settings, load_settings

CONFIG_VARIABLE = "EXACTO_CONFIG"
"""Environment variable that names a YAML file with the block; it wins over the block in the proxy's configuration."""

_ENVIRONMENT_PREFIX = "os.environ/"
"""LiteLLM's way to write "the value of this environment variable" in a configuration."""


def find_settings(proxy_config: Mapping[str, object] | None, environment: Mapping[str, str]) -> Settings:
    """The settings of this process: the file that ``EXACTO_CONFIG`` names, else the proxy's block, else defaults.

    Args:
        proxy_config: LiteLLM's parsed ``config.yaml``; None outside a proxy.
        environment: ``os.environ``.

    Raises:
        SettingsError: the file cannot be read or has no block, or the block has unknown keys or bad values.
    """
    named = environment.get(CONFIG_VARIABLE)
    if named:
        return settings_of_file(Path(named), environment)
    return load_settings(_mapping((proxy_config or {}).get(BLOCK), BLOCK))


def settings_watcher(environment: Mapping[str, str]) -> Callable[[], Settings | None]:
    """A function that gives the settings of the ``EXACTO_CONFIG`` file whenever the file changed, else None.

    Raises (the function): SettingsError for a file that cannot be used; the settings in force then stay.
    """
    named = environment.get(CONFIG_VARIABLE)
    if not named:
        return lambda: None
    path = Path(named)
    seen = path.stat().st_mtime_ns

    def changed() -> Settings | None:
        nonlocal seen
        stamp = path.stat().st_mtime_ns
        if stamp == seen:
            return None
        seen = stamp
        return settings_of_file(path, environment)

    return changed


def settings_of_file(path: Path, environment: Mapping[str, str]) -> Settings:
    """The settings in a YAML file with an ``exacto_settings:`` block at its top level; other keys are left alone.

    Raises:
        SettingsError: the file cannot be read or has no block, or the block has unknown keys or bad values.
    """
    config = read_config(path)
    if BLOCK not in config:
        raise SettingsError(f"{path}: no {BLOCK}: block at the top level")
    where = f"{path}: {BLOCK}"
    block = _mapping(config[BLOCK], where)
    return load_settings(None if block is None else _resolved(block, environment, where), where)


def read_config(path: Path) -> Mapping[str, object]:
    """The top level of a YAML file.

    Raises:
        SettingsError: the file cannot be read, is no YAML, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from None
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is no YAML: {error}") from None
    if not isinstance(config, Mapping):
        raise SettingsError(f"{path}: got {type(config).__name__} at the top level, expected a mapping")
    return config


def _mapping(block: object, path: str) -> Mapping[str, object] | None:
    if block is None:
        return None
    if not isinstance(block, Mapping):
        raise SettingsError(f"{path}: got {block!r}, expected a mapping")
    return block


def _resolved(block: Mapping[str, object], environment: Mapping[str, str], path: str) -> Mapping[str, object]:
    """Values written as ``os.environ/NAME`` replaced as LiteLLM does it in its own file."""
    return {key: _value(value, environment, f"{path}.{key}") for key, value in block.items()}


def _value(value: object, environment: Mapping[str, str], path: str) -> object:
    if isinstance(value, Mapping):
        return _resolved(value, environment, path)
    if isinstance(value, list):
        return [_value(entry, environment, path) for entry in value]
    if isinstance(value, str) and value.startswith(_ENVIRONMENT_PREFIX):
        name = value.removeprefix(_ENVIRONMENT_PREFIX)
        if name not in environment:
            raise SettingsError(f"{path}: got {value!r}, expected an environment variable that is set")
        return environment[name]
    return value

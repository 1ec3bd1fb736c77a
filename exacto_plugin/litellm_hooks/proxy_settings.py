"""The ``exacto_settings:`` block of a running proxy, and changes of it.

LiteLLM reads its ``config.yaml`` at its start, and again, in the worker that serves the request, for some of its
administration endpoints, of which each applies its own part only. Its database stores four sections of the
configuration, and no others. Therefore the file itself is watched. A configuration in a bucket is taken from LiteLLM
each time LiteLLM has read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin.config.settings import BLOCK
from exacto_plugin.config.sources import (
    CONFIG_VARIABLE,
    FileWatcher,
    read_config,
    read_yaml,
    settings_of_block,
    settings_watcher,
)
from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.routing.sync_selection import run_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from exacto_plugin.config.settings import Settings

_BUCKET = "LITELLM_CONFIG_BUCKET_NAME"
_FILE = "CONFIG_FILE_PATH"


def proxy_settings(server: ModuleType | None, environment: Mapping[str, str]) -> Callable[[], Settings | None]:
    """Return a function that returns the settings if they changed since its last call.

    The function returns None otherwise, and raises SettingsError when the new settings are invalid.

    Args:
        server: LiteLLM's proxy; None outside of one.
        environment: ``os.environ``.
    """
    if environment.get(CONFIG_VARIABLE) or server is None:
        return settings_watcher(environment)
    if environment.get(_BUCKET):
        return _FromLiteLLM(server, environment).changed
    path = server.user_config_file_path or environment.get(_FILE)
    return _FromFile(server, Path(path), environment).changed if path else settings_watcher(environment)


class _FromLiteLLM:
    """The configuration that LiteLLM read last, from any source."""

    def __init__(self, server: ModuleType, environment: Mapping[str, str]) -> None:
        self._config: Any = server.proxy_config
        self._environment = environment
        self._seen = self._config.config

    def changed(self) -> Settings | None:
        if self._config.config is self._seen:  # replaced as a whole each time it is read
            return None
        self._seen = self._config.config
        return settings_of_block(self._config.get_config_state().get(BLOCK), self._environment)


class _FromFile:
    """The file that LiteLLM was started with, and the files that it includes."""

    def __init__(self, server: ModuleType, path: Path, environment: Mapping[str, str]) -> None:
        self._server = server
        self._path = path
        self._environment = environment
        self._files = FileWatcher(self._named())

    def changed(self) -> Settings | None:
        if not self._files.changed():
            return None
        config = read_config(self._path)
        if "include" in config:
            config = self._included()
        paths = self._named()
        if paths != self._files.paths:
            self._files = FileWatcher(paths)
        return settings_of_block(config.get(BLOCK), self._environment, f"{self._path}: {BLOCK}")

    def _included(self) -> Mapping[str, object]:
        """Return the configuration with its included parts, merged by LiteLLM itself."""
        for part in self._named()[1:]:
            read_yaml(part)  # its errors quote nothing of the file; LiteLLM's do
        try:
            found: Mapping[str, object] = run_sync(self._server.proxy_config._get_config_from_file())
        except (OSError, ValueError, TypeError) as error:
            fault = type(error).__name__
        else:
            return found
        raise SettingsError(f"{self._path}: a file that it includes cannot be used ({fault})")

    def _named(self) -> list[Path]:
        try:
            parts = read_config(self._path).get("include")
        except SettingsError:
            parts = None
        return [self._path, *(self._path.parent / str(part) for part in (parts if isinstance(parts, list) else ()))]

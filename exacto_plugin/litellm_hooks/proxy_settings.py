"""The ``exacto_settings:`` block of a running proxy: where LiteLLM has it from, and when it changes there.

LiteLLM reads its ``config.yaml`` when it starts, and again, in the worker that is asked, for some of its administration
endpoints; of what it then finds it takes up what those are about. Its database holds four sections of the
configuration, and no others. So the file itself is looked at. A configuration in a bucket is taken from LiteLLM
whenever it reads it.
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
    """A function that gives the settings whenever they changed since it was last asked, else None.

    The function raises SettingsError when the new ones cannot be used.

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
    """What LiteLLM read last, from wherever."""

    def __init__(self, server: ModuleType, environment: Mapping[str, str]) -> None:
        self._config: Any = server.proxy_config
        self._environment = environment
        self._seen = self._config.config

    def changed(self) -> Settings | None:
        if self._config.config is self._seen:  # replaced as a whole whenever it is read
            return None
        self._seen = self._config.config
        return settings_of_block(self._config.get_config_state().get(BLOCK), self._environment)


class _FromFile:
    """The file that LiteLLM was started with, and those that it includes."""

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
        """The configuration with its parts, put together by LiteLLM itself."""
        for part in self._named()[1:]:
            read_yaml(part)  # whose faults quote nothing of it, as LiteLLM's do
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

"""A proxy's start: problems as warnings, unusable settings as one line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from exacto_plugin.litellm_hooks.checks.config_file import start_problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.errors import SettingsError
    from exacto_plugin.litellm_hooks.faults import FaultReporter

logger = logging.getLogger("exacto_plugin")

_SERVERS: Final = ("uvicorn.error", "_granian", "gunicorn.error")
"""Loggers that write the traceback of a start that failed."""


def warn_of_problems(config: Mapping[str, object] | None, settings: Settings, faults: FaultReporter) -> None:
    """Log what cripples this proxy, one warning each."""
    nothing: list[str] = []
    for problem in faults.guard("settings", lambda: start_problems(config or {}, settings), nothing):
        logger.warning("exacto_plugin: %s", problem)


class _OneLine(logging.Filter):
    """Replaces the traceback of one error by its message."""

    def __init__(self, name: str, line: str) -> None:
        super().__init__()
        self._name = name
        self._line = line

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record if it is about the error; all records pass."""
        told = record.getMessage()
        about = record.exc_info is not None and record.exc_info[0] is not None and record.exc_info[0].__name__
        if self._name == about or (f"{self._name}: " in told and "Traceback" in told):
            record.msg, record.args, record.exc_info, record.exc_text = self._line, (), None, None
        return True


def shorten_traceback(error: SettingsError) -> None:
    """Let the server log a settings error as one line instead of a traceback.

    The server writes the whole traceback of a start that failed, with the message at its end.
    """
    line = f"exacto_plugin cannot start: {error}"
    for name in _SERVERS:
        logging.getLogger(name).addFilter(_OneLine(type(error).__name__, line))

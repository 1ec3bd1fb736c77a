"""Settings that change while a process runs: applied as a whole, logged, recorded.

Parsing and locating the block belong to the settings modules. Is not on a request's path.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.config.diff import AT_THE_START, diff, digest, sentence
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.errors import ExactoError, SettingsError
from exacto_plugin.records import SettingsRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.records import Record

logger = logging.getLogger("exacto_plugin")


_WAIT_S: Final = 2.0
"""Seconds for which a recompute waits for a file; one that is read more slowly is applied later."""

_POLL_S: Final = 0.005
"""Seconds between two looks at a read, which usually ends before the second one."""

_CHECK_S: Final = 60.0
"""Seconds between two looks for names that fit to nothing: model groups and deployments come and go."""

_SILENT_S: Final = 10.0
"""Seconds after which a file that is still being read is reported."""


class SettingsFileSilentError(ExactoError):
    """A settings file has not been read to its end for a long time."""


class SettingsReload:
    """The settings of one process over time.

    Args:
        context: has the settings in force.
        engine: gets their rule.
        reload: returns new settings if there are any since its last call.
        write: stores a record.
        worker: name of this process in the records.
    """

    def __init__(
        self,
        context: Context,
        engine: Engine,
        reload: Callable[[], Settings | None],
        write: Callable[[Record], None],
        worker: str,
    ) -> None:
        self._context = context
        self._engine = engine
        self._reload = reload
        self._write = write
        self._worker = worker
        self.check: Callable[[], list[str]] = list
        """Returns what in the settings in force fits to no model group or deployment."""
        self._checked_at = -_CHECK_S
        self.warnings: list[str] = []
        """Names in the settings in force that fit to nothing, as of the last look."""
        self._lock = threading.Lock()
        self.since = context.clock()
        """The time when the settings in force were applied."""
        self.problem: str | None = None
        """The reason why the newest settings are not in force; None when they are."""
        self._reading: _Reading | None = None

    async def take_changes(self) -> None:
        """Apply settings that changed while the process runs; never waits long.

        A file on a file system that does not answer, or a pipe, can be read for ever. One thread at a time reads, and
        applies what it has read whenever that is; until then the settings in force stay.
        """
        reading = self._reading
        if reading is None or reading.ended.is_set():
            reading = self._reading = _Reading(
                partial(self._context.faults.guard, "settings", self.apply_changes, None)
            )
        while not reading.ended.is_set() and time.monotonic() - reading.started < _WAIT_S:  # noqa: ASYNC110 (a thread's)
            await asyncio.sleep(_POLL_S)
        if not reading.ended.is_set() and not reading.is_reported and time.monotonic() - reading.started > _SILENT_S:
            reading.is_reported = True
            self._context.faults.report("settings", SettingsFileSilentError(self._silence()))

    def _silence(self) -> str | None:
        """Return the problem of a file that is still being read; None without one."""
        reading = self._reading
        silent_s = 0.0 if reading is None or reading.ended.is_set() else time.monotonic() - reading.started
        if silent_s <= _SILENT_S:
            return None
        return f"the configuration has not been read for {silent_s:.0f} s: its file does not answer"

    def apply_changes(self) -> None:
        """Apply changed settings; invalid ones are logged, and those in force stay.

        Thread-safe, since reading a large configuration takes seconds and is done in a thread.
        """
        with self._lock:
            self._apply_changes()
            if abs(self._context.clock() - self._checked_at) >= _CHECK_S:
                self._look()

    def _apply_changes(self) -> None:
        try:
            changed = self._reload()
        except SettingsError as error:
            self.problem = str(error)
            logger.error("exacto_plugin keeps its settings, because the new ones are invalid: %s", error)
            return
        except Exception as error:
            self.problem = f"the configuration cannot be read ({type(error).__name__})"
            raise
        if changed is None:
            return
        context, before = self._context, self._context.settings
        self.problem = None
        different = diff(before, changed)
        if not different:
            return
        if (changed.scoring.engine, changed.empty_arguments) != (before.scoring.engine, before.empty_arguments):
            context.evaluator = Evaluator(changed.scoring.engine, changed.empty_arguments)
        context.settings = changed
        if changed.rule() != before.rule():
            self._engine.rule = changed.rule()
        self.since = context.clock()
        self._log_changes(before, different)
        self._put_on_record("change", different)
        self._look()
        for warning in self.warnings:
            logger.warning("exacto_plugin: %s", warning)

    def _look(self) -> None:
        """Look for names in the settings in force that fit to nothing."""
        self._checked_at = self._context.clock()
        self.warnings = self._context.faults.guard("settings", self.check, [])

    def begin(self) -> None:
        """Record the settings at the start, once there is a store."""
        self._put_on_record("start", diff(Settings(), self._context.settings))

    def view(self) -> dict[str, Any]:
        """Return the API's view of the settings."""
        return {
            "digest": digest(self._context.settings),
            "since": self.since,
            "problem": self._silence() or self.problem,
            "warnings": list(self.warnings),
        }

    def _put_on_record(self, source: str, different: Mapping[str, tuple[Any, Any]]) -> None:
        name = digest(self._context.settings)
        self._write(SettingsRecord(self.since, self._worker, source, name, different))

    def _log_changes(self, before: Settings, different: Mapping[str, tuple[Any, Any]]) -> None:
        waiting = [path for path in different if path in AT_THE_START]
        later = f"; after a restart only: {', '.join(waiting)}" if waiting else ""
        told = sentence(before, self._context.settings)
        logger.warning("exacto_plugin applied changed settings: %s%s", told, later)


class _Reading:
    """One read in a daemon thread, which does not keep the process from ending."""

    def __init__(self, read: Callable[[], None]) -> None:
        self.started = time.monotonic()
        self.is_reported = False
        self.ended = threading.Event()
        self._read = read
        threading.Thread(target=self._run, name="exacto-settings", daemon=True).start()

    def _run(self) -> None:
        try:
            self._read()
        finally:
            self.ended.set()

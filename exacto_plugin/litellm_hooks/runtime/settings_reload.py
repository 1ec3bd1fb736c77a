"""Settings that change while a process runs: applied as a whole, logged, recorded.

Parsing and locating the block belong to the settings modules. Is not on a request's path.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from exacto_plugin.config.diff import AT_THE_START, diff, digest, sentence
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.errors import SettingsError
from exacto_plugin.records import SettingsRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.records import Record

logger = logging.getLogger("exacto_plugin")


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
        self._lock = threading.Lock()
        self.since = context.clock()
        """The time when the settings in force were applied."""
        self.problem: str | None = None
        """The reason why the newest settings are not in force; None when they are."""

    async def take_changes(self) -> None:
        """Apply settings that changed while the process runs; reads files in a thread."""
        await asyncio.to_thread(self._context.faults.guard, "settings", lambda: self.apply_changes(), None)

    def apply_changes(self) -> None:
        """Apply changed settings; invalid ones are logged, and those in force stay.

        Thread-safe, since reading a large configuration takes seconds and is done in a thread.
        """
        with self._lock:
            self._apply_changes()

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

    def begin(self) -> None:
        """Record the settings at the start, once there is a store."""
        self._put_on_record("start", diff(Settings(), self._context.settings))

    def view(self) -> dict[str, Any]:
        """Return the API's view of the settings."""
        return {"digest": digest(self._context.settings), "since": self.since, "problem": self.problem}

    def _put_on_record(self, source: str, different: Mapping[str, tuple[Any, Any]]) -> None:
        name = digest(self._context.settings)
        self._write(SettingsRecord(self.since, self._worker, source, name, different))

    def _log_changes(self, before: Settings, different: Mapping[str, tuple[Any, Any]]) -> None:
        waiting = [path for path in different if path in AT_THE_START]
        later = f"; after a restart only: {', '.join(waiting)}" if waiting else ""
        told = sentence(before, self._context.settings)
        logger.warning("exacto_plugin applied changed settings: %s%s", told, later)

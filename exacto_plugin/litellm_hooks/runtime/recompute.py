"""A recompute of this process's engine: new settings first, its changes told last.

Other modules decide on its time.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Reason, Snapshot
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder
    from exacto_plugin.litellm_hooks.runtime.roster_sync import RosterSync
    from exacto_plugin.litellm_hooks.runtime.settings_reload import SettingsReload

logger = logging.getLogger("exacto_plugin")


class Recomputer:
    """Recomputes of one process.

    Args:
        context: of this process.
        engine: this process's own.
        settings_reload: brings new settings into force.
        roster_sync: recomputes an engine for the current deployments.
        recorder: records a recompute's result.
    """

    def __init__(
        self,
        context: Context,
        engine: Engine,
        settings_reload: SettingsReload,
        roster_sync: RosterSync,
        recorder: Recorder,
    ) -> None:
        self._context = context
        self._engine = engine
        self._settings_reload = settings_reload
        self._roster_sync = roster_sync
        self._recorder = recorder
        self._common_causes: Mapping[str, Reason] = {}
        """Common causes by model group at the last recompute."""

    async def recompute_timed(self, recompute: Callable[[], Awaitable[bool]] | None = None) -> bool:
        """Run a recompute, by default of own samples; failures are counted, not raised."""
        context, started = self._context, time.perf_counter()
        error: Exception | None = None
        done = False
        try:
            done = await (recompute or self.recompute)()
        except Exception as caught:  # the timer must survive any error of a recompute
            error = caught
            context.faults.report("recompute", caught)
        took_s = time.perf_counter() - started
        context.faults.guard("telemetry", lambda: context.telemetry.recomputed(took_s, error), None)
        return done

    async def recompute(self) -> bool:
        """Recompute from this process's samples, in slices that never block the loop long."""
        await self._settings_reload.take_changes()
        done = await self._roster_sync.recompute(self._engine)
        if done:
            self.announce(self._engine)
        return done

    def announce(self, engine: Engine) -> None:
        """Log and count the changes of an engine's last recompute."""
        for transition in engine.transitions:
            logger.info(
                "%s: %s is now %s (was %s)",
                transition.model_group,
                transition.deployment,
                transition.tier,
                transition.previous,
            )
            self._context.telemetry.transition(transition)
        self._log_common_causes(engine.measured)
        self._context.faults.guard("record", lambda: self._recorder.record_recompute(engine), None)

    def _log_common_causes(self, snapshot: Snapshot) -> None:
        """Log each common cause once when it begins, and once when it ends."""
        groups = snapshot.groups.values()
        latest = {group.model_group: group.common_cause for group in groups if group.common_cause is not None}
        for model_group, cause in latest.items():
            before = self._common_causes.get(model_group)
            known = before is not None and before.begin == cause.begin
            if known if cause.end is None else not known or (before is not None and before.end is not None):
                continue
            begin, end = _clock_time(cause.begin), None if cause.end is None else _clock_time(cause.end)
            logger.warning(
                "%s: the failure rate of all %d deployments with enough calls rose by about %.0f points %s: a common "
                "cause, which is held against none of them",
                model_group,
                cause.peers,
                100 * (cause.value or 0.0),
                f"since {begin}" if end is None else f"between {begin} and {end}",
            )
        self._common_causes = latest


def _clock_time(at: float | None) -> str:
    return datetime.fromtimestamp(at or 0.0, UTC).strftime("%H:%M UTC")

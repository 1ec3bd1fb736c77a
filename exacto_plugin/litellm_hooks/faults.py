"""Our own faults: counted, logged once a minute per cause, never shown to a client.

This is the one place of the LiteLLM seam that catches everything. What a fault says is never written down, because it
may quote a prompt or an argument; its type and where it happened are.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cachetools import TTLCache

from exacto_plugin.errors import ExactoError
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("exacto_plugin")

_LOG_EVERY_S = 60.0
_CAUSES = 256
"""Causes that are remembered; with more of them within a minute the oldest may be said again."""


class FaultReporter:
    """Counts and logs faults by stage. May be used from any thread.

    Args:
        count: called with the stage of every fault; may fail itself.
        clock: monotonic seconds.
    """

    def __init__(self, count: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self.counts: Counter[str] = Counter()
        """Faults by stage since the start."""
        self._logged_at: TTLCache[tuple[str, type[BaseException]], bool] = TTLCache(_CAUSES, _LOG_EVERY_S, timer=clock)
        # Protects both: metrics are read in threads of their own, and their faults are reported there.
        self._lock = threading.Lock()

    def report(self, stage: str, error: BaseException) -> None:
        """Count ``error`` and say it at most once a minute per cause; never raises."""
        self._note(stage, error)
        try:
            self._count(stage)
        except Exception as broken:  # a fault must not make another one
            self._note("telemetry", broken)

    def _note(self, stage: str, error: BaseException) -> None:
        cause = (stage, type(error))
        with self._lock:
            self.counts[stage] += 1
            said = cause in self._logged_at
            if not said:
                self._logged_at[cause] = True
        if not said:
            logger.warning("exacto_plugin left out a step: %s failed with %s", stage, describe(error))

    def guard(self, stage: str, action: Callable[[], R], otherwise: R) -> R:
        """``action()``, or ``otherwise`` when it fails; a refusal passes, because it is meant for the client."""
        try:
            return action()
        except ExactoRefusedError:
            raise
        except Exception as error:  # the boundary to the host: nothing of ours may break a request
            self.report(stage, error)
            return otherwise


def describe(error: BaseException) -> str:
    """What may be written of an error: its type and where it happened, for our own kinds also their message."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 3:
        said = f": {cause}" if isinstance(cause, ExactoError) else ""
        where = "".join(traceback.format_tb(cause.__traceback__)).rstrip()
        parts.append(f"{type(cause).__name__}{said}" + (f"\n{where}" if where else ""))
        cause = cause.__cause__
    return "\ncaused by ".join(parts)


def fail_open(
    stage: str, otherwise: Callable[..., Any] = lambda *_a, **_k: None
) -> Callable[[Callable[P, Coroutine[Any, Any, Any]]], Callable[P, Coroutine[Any, Any, Any]]]:
    """Make an async hook method return ``otherwise(...)`` instead of raising; only a refusal passes.

    The method's object must have ``faults: Faults``.
    """

    def decorate(hook: Callable[P, Coroutine[Any, Any, Any]]) -> Callable[P, Coroutine[Any, Any, Any]]:
        @functools.wraps(hook)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            faults: FaultReporter = args[0].faults  # type: ignore[attr-defined]
            try:
                return await hook(*args, **kwargs)
            except ExactoRefusedError:
                raise
            except Exception as error:  # the boundary to the host: nothing of ours may break a request
                faults.report(stage, error)
                return faults.guard(stage, lambda: otherwise(*args, **kwargs), None)

        return guarded

    return decorate

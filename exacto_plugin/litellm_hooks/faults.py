"""The plugin's own faults: counted, logged, never shown to a client.

Each cause is logged at most once a minute. This is the one module of the LiteLLM adapter that catches every exception.
The message of a foreign exception is never logged, because it may quote a prompt or an argument; its type and location
are.
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
"""Causes that are remembered; beyond it the oldest may be logged again early."""


class FaultReporter:
    """The counter and log of faults by stage. Thread-safe.

    Args:
        count: called with the stage of every fault; may fail itself, and may be replaced.
        clock: monotonic seconds.
    """

    def __init__(
        self, count: Callable[[str], None] = lambda _stage: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.count = count
        self.counts: Counter[str] = Counter()
        """Faults by stage since the start."""
        self._logged_at: TTLCache[tuple[str, type[BaseException]], bool] = TTLCache(_CAUSES, _LOG_EVERY_S, timer=clock)
        # Protects both: metrics are read in threads of their own, and their faults are reported there.
        self._lock = threading.Lock()

    def report(self, stage: str, error: BaseException) -> None:
        """Count ``error`` and log it at most once a minute per cause; never raises."""
        self._note(stage, error)
        try:
            self.count(stage)
        except Exception as broken:  # a fault while reporting must not raise
            self._note("telemetry", broken)

    def _note(self, stage: str, error: BaseException) -> None:
        cause = (stage, type(error))
        with self._lock:
            self.counts[stage] += 1
            said = cause in self._logged_at
            if not said:
                self._logged_at[cause] = True
        if not said:
            logger.warning("exacto_plugin skipped a step: %s failed with %s", stage, describe(error))

    def guard(self, stage: str, action: Callable[[], R], otherwise: R) -> R:
        """Return ``action()``, or ``otherwise`` when it fails.

        A refusal is raised, because it is meant for the client.
        """
        try:
            return action()
        except ExactoRefusedError:
            raise
        except Exception as error:  # the boundary to LiteLLM: no fault of the plugin may break a request
            self.report(stage, error)
            return otherwise


def describe(error: BaseException) -> str:
    """Return the loggable part of an error: its type and location.

    The plugin's own exceptions are described with their message too.
    """
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 3:
        said = f": {cause}" if isinstance(cause, ExactoError) else ""
        where = "".join(traceback.format_tb(cause.__traceback__)).rstrip()
        parts.append(f"{type(cause).__name__}{said}" + (f"\n{where}" if where else ""))
        cause = cause.__cause__
    return "\ncaused by ".join(parts)


def fail_open(
    stage: str,
    otherwise: Callable[..., Any] = lambda *_a, **_k: None,
    passes: Callable[[Exception], bool] = lambda _error: False,
) -> Callable[[Callable[P, Coroutine[Any, Any, Any]]], Callable[P, Coroutine[Any, Any, Any]]]:
    """Make an async hook method return ``otherwise(...)`` instead of raising.

    Only a refusal is raised, and an error that ``passes`` knows as LiteLLM's own. The method's object must have
    ``faults: FaultReporter``.
    """

    def decorate(hook: Callable[P, Coroutine[Any, Any, Any]]) -> Callable[P, Coroutine[Any, Any, Any]]:
        @functools.wraps(hook)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            faults: FaultReporter = args[0].faults  # type: ignore[attr-defined]
            try:
                return await hook(*args, **kwargs)
            except ExactoRefusedError:
                raise
            except Exception as error:  # the boundary to LiteLLM: no fault of the plugin may break a request
                if passes(error):
                    raise
                faults.report(stage, error)
                return faults.guard(stage, lambda: otherwise(*args, **kwargs), None)

        return guarded

    return decorate

"""Runs inside a proxy under test: the plugin's clock goes ahead as a test says, so that its minutes need no waiting.

Loaded by ``LITELLM_WORKER_STARTUP_HOOKS=tests.support.proxy.moved_clock:install``, before LiteLLM reads its
configuration. Only the clock that dates samples and verdicts is moved, and the timer's look at whether a recompute is
due, which follows within a tenth of a second.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "MOVED_CLOCK_FILE"


class MovedClock:
    """The clock of one proxy, as its test sets it.

    Args:
        directory: where the file with the seconds is kept.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ahead_s"
        self._ahead_s = 0.0
        self.environment: Mapping[str, str] = {
            FILE: str(self._file),
            "LITELLM_WORKER_STARTUP_HOOKS": "tests.support.proxy.moved_clock:install",
        }

    def advance(self, seconds: float) -> float:
        """Set the clock ahead; return the proxy's time, UTC seconds."""
        self._ahead_s += seconds
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(self._ahead_s))
        fresh.replace(self._file)
        return time.time() + self._ahead_s


def _ahead_s() -> float:
    file = Path(os.environ[FILE])
    return float(file.read_text()) if file.exists() else 0.0


def install() -> None:
    """Move the clock of the runtime that is built afterwards."""
    from exacto_plugin.litellm_hooks.runtime import replication, runtime

    defaults = runtime.Runtime.__init__.__defaults__ or ()
    assert defaults[0] is time.time
    runtime.Runtime.__init__.__defaults__ = (lambda: time.time() + _ahead_s(), *defaults[1:])
    moved = SimpleNamespace(monotonic=lambda: time.monotonic() + _ahead_s())
    vars(replication).update(time=moved, pause_s=lambda settings: 0.1)

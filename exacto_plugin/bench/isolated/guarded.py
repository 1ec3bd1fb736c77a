"""Child processes that end with the process that started them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")
_PATIENCE_S = 10.0
"""Longer than the guard's own patience with the command."""


class GuardedProcess:
    """A command below a guard, which ends it when this process ends.

    However this process ends, by ``kill -9`` too.

    Args:
        command: program and arguments.
        environment: of the command.
        directory: its working directory.
        output: file object for stdout and stderr.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: Path, output: Any) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,  # Ctrl-C reaches this process only, which then ends the command
        )

    @property
    def pid(self) -> int:
        """The process id of the guard."""
        return self._guard.pid

    def poll(self) -> int | None:
        """Return the command's status; None while it runs."""
        return self._guard.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the command, and return its status.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        status = self._guard.wait(timeout)
        self._let_go()
        return status

    def stop(self) -> None:
        """End the command and its descendants; may be called again."""
        self._let_go()
        try:
            self._guard.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def _let_go(self) -> None:
        """Close the pipe whose end the guard waits for."""
        if self._guard.stdin is not None:
            with suppress(OSError):
                self._guard.stdin.close()

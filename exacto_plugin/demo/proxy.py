"""A LiteLLM proxy as a child process, stopped with all its descendants."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import BinaryIO

START_TIMEOUT_S = 180.0


def free_port() -> int:
    """Return a port on loopback that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DemoProxy:
    """``litellm --config FILE`` of an interpreter's environment; a context manager.

    Args:
        config: LiteLLM's config.yaml; the log is written beside it.
        environment: the child's environment.
        port: 0 takes a free one.
        options: more arguments of ``litellm``.
        interpreter: the Python of the environment with ``litellm``; None: this one.

    Raises:
        RuntimeError: the proxy died or did not become ready; the message has the end of its log.
    """

    def __init__(
        self,
        config: Path,
        environment: Mapping[str, str],
        port: int = 0,
        options: Sequence[str] = (),
        interpreter: Path | None = None,
    ) -> None:
        self._config = config
        self._interpreter = interpreter or Path(sys.executable)
        # State beside the configuration: a trial leaves nothing in the user's home.
        own = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "XDG_STATE_HOME": str(config.parent / "state"),
        }
        self._environment = {**own, **environment}
        self._options = list(options)
        self.port = port or free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = config.with_name("proxy.log")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line."""
        program = [str(self._interpreter.with_name("litellm")), "--config", str(self._config)]
        return [*program, "--host", "127.0.0.1", "--port", str(self.port), *self._options]

    def launch(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """Start the process, in a session of its own."""
        return subprocess.Popen(
            self.command(),
            stdout=log,
            stderr=log,
            env=self._environment,
            cwd=self._config.parent,
            start_new_session=True,
        )

    def __enter__(self) -> DemoProxy:
        with self.log.open("wb") as log:
            self._process = self.launch(log)
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _await_ready(self) -> None:
        ends = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(timeout=5.0, trust_env=False) as client:
            while time.monotonic() < ends:
                if self._process is None or self._process.poll() is not None:
                    raise RuntimeError(f"the proxy died while starting:\n{self.log_tail()}")
                try:
                    if client.get(f"{self.base_url}/health/liveliness").status_code == 200:
                        return
                except httpx.TransportError:
                    time.sleep(0.2)
        raise RuntimeError(f"the proxy was not ready after {START_TIMEOUT_S:g} s:\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the proxy's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self) -> None:
        """Block until the proxy ends."""
        if self._process is not None:
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """The process id of ``litellm``; None when it is not running."""
        child = self._process
        return None if child is None or child.poll() is not None else child.pid

    def stop(self) -> None:
        """End the proxy and all its workers; may be called again."""
        child, self._process = self._process, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=10.0)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # descendants that outlived the parent
        child.wait()

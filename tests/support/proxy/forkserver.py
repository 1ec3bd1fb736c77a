"""Starts LiteLLM's proxies quickly: a process that has imported LiteLLM already, and is copied for each of them.

Nearly all of a proxy's start are imports (measured: 7 s of processor time of 8 are LiteLLM's, one is the plugin's), the
same each time. What comes after, reading the configuration, making the plugin's callback and serving, happens in the
copy as it does behind the ``litellm`` command. uvicorn's workers are copies too; each makes a callback by itself.
Proxies that need more than that, other servers and variables that LiteLLM reads while it is imported, start by the
command.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from exacto_plugin.demo.proxy import DemoProxy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

_READY = "ready\n"
_MODULES = ("exacto_plugin.litellm_hooks.proxy", "exacto_plugin.web.api")
"""What the plugin's callback imports, before and while it is made; importing them patches nothing yet."""
_COLLECT_S = 1.0
_COLLECT_ALL = 30
"""One in so many collections looks at what is old too."""


class ForkedProxy(DemoProxy):
    """A proxy that is copied from the process that has LiteLLM already.

    Args:
        config: as for :class:`DemoProxy`.
        environment: all of it; what LiteLLM reads of it while it is imported is that of ``base``.
        base: the environment that all proxies have in common.
        options: more arguments of ``litellm``.
        workers: worker processes.
    """

    def __init__(
        self,
        config: Path,
        environment: Mapping[str, str],
        base: Mapping[str, str],
        options: tuple[str, ...],
        workers: int = 1,
    ) -> None:
        super().__init__(config, environment, options=(*options, "--num_workers", str(workers)))
        self._base = base
        self._workers = workers

    def launch(self, log: BinaryIO) -> Any:
        """Copy the process."""
        spec = {"argv": self.command(), "env": self._environment, "cwd": str(self._config.parent), "log": log.name}
        return _zygote(json.dumps(dict(self._base))).fork({**spec, "workers": self._workers > 1})


def understands(environment: Mapping[str, str]) -> bool:
    """Whether nothing of a proxy's own variables is read by LiteLLM while it is imported."""
    early = {name for name in environment if name.startswith(("LITELLM_", "SERVER_", "PYTHON"))}
    late = {name for name in early if name.startswith("LITELLM_OTEL_")}
    return early - late <= {"LITELLM_WORKER_STARTUP_HOOKS"}


class ForkedProcess:
    """A copy, as far as it is looked at and waited for; it is not this process's child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        ends = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while self.poll() is None:
            if time.monotonic() > ends:
                raise subprocess.TimeoutExpired("litellm", timeout or 0.0)
            time.sleep(0.01)
        return 0


class _Zygote:
    """The process that is copied; one line of JSON goes in for each copy, and its number comes out."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            text=True,
        )
        atexit.register(self.stop)
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("LiteLLM cannot be imported")
        return line

    def fork(self, spec: Mapping[str, Any]) -> ForkedProcess:
        """Turn a copy into a proxy; ``argv`` is ``litellm`` with arguments."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(spec) + "\n")
        self._process.stdin.flush()
        return ForkedProcess(int(self._answer()))

    def stop(self) -> None:
        """End it; copies are ended by whoever asked for them."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


@cache
def _zygote(environment: str) -> _Zygote:
    return _Zygote(json.loads(environment))


def _serve() -> None:
    """What runs inside the process that is copied."""
    from litellm.proxy.proxy_server import app

    for module in _MODULES:
        importlib.import_module(module)
    # FastAPI prepares every route for the first request, which takes a second.
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})
    faulthandler.enable()  # whoever dies of a signal says in its own log what it was doing
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that copies leave nothing behind when they end
    gc.collect()
    gc.freeze()  # what has been imported stays, so no copy needs to look at it again
    sys.stdout.write(_READY)
    sys.stdout.flush()
    while line := sys.stdin.readline():
        spec = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(spec)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _collect_apart(*, workers: bool) -> None:
    """Collect garbage in a thread of its own, as no finalizer may run in the midst of something before Python 3.12.

    There the collector runs within allocations. LiteLLM's streams set context variables when they are collected, and
    when that happens while one is being set, the process can die (CPython's issue 148891). From 3.12 on it runs between
    instructions. A process that is copied for workers has no further thread: a copy would find its locks held.
    """

    def begin() -> None:
        threading.Thread(target=collect, name="collector", daemon=True).start()

    def collect() -> None:
        for number in itertools.count(1):
            time.sleep(_COLLECT_S)
            gc.collect(1 if number % _COLLECT_ALL else 2)

    gc.disable()
    if workers:
        os.register_at_fork(after_in_child=begin)
    else:
        begin()


def _copy_workers() -> None:
    """Let uvicorn copy this process for each of its workers, where it would start Python anew.

    LiteLLM's thread that looks for orphaned Prisma engines, of which there are none here, is left out: it begins when
    the copies are made, and one of them that found the lock of its first import held never started.
    """
    import litellm.proxy.proxy_cli
    import uvicorn._subprocess

    vars(litellm.proxy.proxy_cli)["start_query_engine_reaper"] = lambda: None
    uvicorn._subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]


def _become(spec: Mapping[str, Any]) -> None:
    """Turn this copy into a proxy; never returns."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _copy_workers()
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(spec["log"], os.O_WRONLY | os.O_APPEND)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(spec["env"])
        os.chdir(spec["cwd"])
        sys.argv = spec["argv"]
        if sys.version_info < (3, 12):
            _collect_apart(workers=spec["workers"])
        from litellm import run_server

        run_server()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()

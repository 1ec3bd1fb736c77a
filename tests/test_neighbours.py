"""A worker of an earlier version beside one of this version, on one Redis and on one database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

import exacto_plugin
from tests.previous import neighbour
from tests.previous.files import DATA, PACKAGE
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.support.postgresql_server import Cluster


ROOT = Path(__file__).parents[1]
SAFETY_S = 60.0
"""Ends a wait for what never comes about."""


class Process:
    """One worker; the package is that in ``path``."""

    def __init__(self, name: str, path: Path, place: tuple[str, str], directory: Path) -> None:
        self.name, self.path = name, path
        environment = {**os.environ, "PYTHONPATH": str(path)}
        command = [sys.executable, neighbour.__file__, name, *place]
        self._errors = (directory / f"{name}.log").open("w+")
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def ask(self, *question: Any) -> Any:
        """The worker's answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        self._errors.seek(0)
        assert line, self._errors.read()
        return json.loads(line)

    def kill(self) -> None:
        """End it without a word to the others."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            stream.close()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the earlier version can be imported from."""
    path = tmp_path_factory.mktemp("earlier")
    with zipfile.ZipFile(DATA / PACKAGE) as archive:
        archive.extractall(path)
    return path


@pytest.fixture(params=["redis", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An empty exchange."""
    if request.param == "sqlite":
        yield "store", f"sqlite:///{tmp_path}/records.sqlite"
        return
    if request.param == "postgresql":
        running: Cluster = request.getfixturevalue("postgresql")
        yield "store", running.fresh()
        return
    with RedisServer(tmp_path) as server:
        yield "redis", str(server.port)


def eventually(expected: dict[str, Any], *workers: Process) -> None:
    """Wait until every worker says this."""
    seen: list[Any] = []
    deadline = time.monotonic() + SAFETY_S
    while time.monotonic() < deadline:
        seen = [{key: found[key] for key in expected} for found in (one.ask("status") for one in workers)]
        if all(one == expected for one in seen):
            return
        time.sleep(0.05)
    assert seen == [expected] * len(workers)


@pytest.mark.parametrize("leads", ["earlier", "present"])
def test_two_versions_share_everything(leads: str, earlier: Path, place: tuple[str, str], tmp_path: Path) -> None:
    """Batches, results, the lease, the saved state, overrides and records, whichever version leads."""
    paths = (earlier, ROOT) if leads == "earlier" else (ROOT, earlier)
    with Process("first", paths[0], place, tmp_path) as first:
        eventually({"role": "leader", "package": str(paths[0] / "exacto_plugin" / "__init__.py")}, first)
        with Process("second", paths[1], place, tmp_path) as second:
            first.ask("answer", "a", 100)
            second.ask("answer", "b", 70)
            both = {"leader": "first", "samples": {"a": 100, "b": 70}, "workers": ["first", "second"]}
            eventually(both, first, second)
            first.ask("override", "a", "by first")
            second.ask("override", "b", "by second")
            changes = [f"{name} {{'mode': ['apply', 'observe']}}" for name in ("first", "second")]
            records = ["by first", "by second", *changes] if place[0] == "store" else []
            eventually({"overrides": ["by first", "by second"], "records": records, "faults": []}, first, second)
            first.kill()
            eventually({"leader": "second", "role": "leader"}, second)
            with Process("third", paths[0], place, tmp_path) as third:
                third.ask("answer", "a", 50)
                taken = {"leader": "second", "samples": {"a": 150, "b": 70}, "workers": ["second", "third"]}
                eventually(taken, second, third)
                eventually({"overrides": ["by first", "by second"], "records": records, "faults": []}, second, third)


def test_the_versions_differ(earlier: Path) -> None:
    """The earlier package is no copy of this one."""
    kept = (earlier / "exacto_plugin" / "sharing" / "replica.py").read_text()
    assert kept != (Path(exacto_plugin.__file__).parent / "sharing" / "replica.py").read_text()

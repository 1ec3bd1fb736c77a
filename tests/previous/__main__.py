"""Writes data as this revision's product writes it, and what this revision reads from it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.overrides import OverrideAction
from exacto_plugin.core.tiers.replay import preset_as_plain
from exacto_plugin.records import ENGINE_VERSION
from exacto_plugin.simulate.presets import preset_named
from exacto_plugin.simulate.replay import Rates, Replay, read_log
from tests.previous import facts, files
from tests.support.redis_server import RedisServer
from tests.support.served_proxy import GROUPS, ServedProxy, repeatable

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS, CHANGED_AT = 66, 54
"""Recomputes in all, and until the preset changes."""


def failing(step: int) -> Mapping[str, float]:
    """Shares of bad calls: ``cedar`` breaks after an hour and is repaired after two, ``fir`` is never quite right."""
    return {"cedar": 0.3 if 12 <= step < 24 else 0.0, "fir": 0.05, "dahlia": 0.35 if step >= 58 else 0.0}


async def _serve(proxy: ServedProxy, block: dict[str, Any]) -> None:
    """Five and a half hours, the last one under the published preset."""
    await proxy.turn()
    for step in range(STEPS):
        proxy.answers(20, failing(step))
        for group in GROUPS:
            proxy.request(group, failing(step), fails_first=step % 16 == 3)
        proxy.runtime.engine.watch("qwen3", proxy.now)
        if step == 16:
            await proxy.say(OverrideAction.GOOD, "cedar", 2400.0, "vendor fixed it")
        if step == 40:
            await proxy.say(OverrideAction.DERANKED, "fir", 7200.0, "it answers nonsense")
        if step == 50:
            await proxy.say(OverrideAction.RESET, "fir", 0.0, "")
        if step == CHANGED_AT:
            proxy.configure({**block, "tiers": facts.PUBLISHED})
        await proxy.turn()
    proxy.answers(3, {})
    await proxy.end()


def write_store(directory: Path, out: Path) -> None:
    """A store, and the log of outcomes beside it."""
    block = {"store": {"decision_share": 0.25, "outcomes": "outcomes"}}
    with repeatable(), contextlib.chdir(directory):
        asyncio.run(_serve(ServedProxy(block, "sqlite:///served.sqlite"), block))
    compact = directory / "records.sqlite"
    with contextlib.closing(sqlite3.connect(directory / "served.sqlite")) as connection:
        connection.execute("VACUUM INTO ?", [str(compact)])
    (log,) = (directory / "outcomes").iterdir()
    (out / files.STORE).write_bytes(files.packed(compact.read_bytes()))
    (out / files.OUTCOMES).write_bytes(files.packed(log.read_bytes()))


def write_engines(log: Path, out: Path) -> None:
    """The states of engines that saw what the log tells, under both presets."""
    states = {}
    for name in ("adaptive", "openrouter,tool_call_requests=50"):
        preset = preset_named(name)
        assert preset.rule is not None
        replay = Replay(preset, Rates(read_log(log)))
        replay.go(read_log(log))
        assert replay.engine is not None
        states[name] = facts.state_of(replay.engine, replay.engine.measured.at, preset_as_plain(preset.rule))
    (out / files.ENGINES).write_bytes(files.packed(json.dumps(states).encode()))


async def _share(proxy: ServedProxy) -> None:
    """Two hours of a worker that leads, with a batch that is not part of the saved state yet."""
    runtime = proxy.runtime
    while runtime.replication.status()["role"] != "leader":
        await proxy.turn()
        await asyncio.sleep(0.2)
    for step in range(24):
        proxy.answers(20, failing(step + 8))
        runtime.engine.watch("qwen3", proxy.now)
        await proxy.turn()
    await proxy.say(OverrideAction.DERANKED, "fir", 7200.0, "it answers nonsense")
    talks = runtime.replication.conversations
    assert talks is not None
    for name, talk in facts.TALKS.items():
        talks.enqueue(talk, "aster", probed=name == "begun by a probe")
    await talks.publish()
    proxy.answers(3, {}, 10.0)
    await proxy.turn()


def write_redis(directory: Path, out: Path) -> float:
    """What a worker leaves in Redis when it is killed; returns when, by its clock."""
    with RedisServer(directory) as server, repeatable():
        proxy = ServedProxy({"redis": {"url": server.url}})

        async def serve() -> None:
            await _share(proxy)
            with server.client() as client:
                content = json.dumps(files.dumped(client), indent=0).encode()
            (out / files.REDIS).write_bytes(files.packed(content))
            await proxy.end()

        asyncio.run(serve())
        return proxy.now


def expected(directory: Path, redis_at: float) -> Any:
    """What this revision reads."""
    store, log = files.unpacked(files.STORE, directory), files.unpacked(files.OUTCOMES, directory)
    with RedisServer(directory) as server:
        with server.client() as client:
            files.loaded(client, files.opened(files.REDIS))
        redis = asyncio.run(facts.of_redis(server.url, redis_at))
    return {
        "written": {"by": ENGINE_VERSION, "arithmetic": facts.arithmetic(), "redis_at": redis_at},
        "store": facts.of_store(store),
        "engines": {name: facts.of_engine(state) for name, state in files.opened(files.ENGINES).items()},
        "redis": redis,
        "log": facts.of_log(log),
    }


def main() -> int:
    """Write everything into a directory; the tests read it from there."""
    parser = argparse.ArgumentParser(prog="python -m tests.previous", description=__doc__)
    parser.add_argument("--write", action="store_true", required=True, help=f"replace what lies in {files.DATA.name}")
    parser.parse_args()
    files.DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        write_store(Path(directory), files.DATA)
    with tempfile.TemporaryDirectory() as directory:
        write_engines(files.unpacked(files.OUTCOMES, Path(directory)), files.DATA)
    with tempfile.TemporaryDirectory() as directory:
        at = write_redis(Path(directory), files.DATA)
    with tempfile.TemporaryDirectory() as directory:
        found = expected(Path(directory), at)
    (files.DATA / files.EXPECTED).write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

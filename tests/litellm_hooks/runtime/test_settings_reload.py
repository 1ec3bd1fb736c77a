"""A settings file that cannot be read to its end: a pipe that nobody writes to stands for a file system that hangs."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import litellm
import pytest
import yaml

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.routing.overrides import OverrideAction
from exacto_plugin.litellm_hooks.checks.live import live_problems
from exacto_plugin.litellm_hooks.proxy_settings import proxy_settings
from exacto_plugin.litellm_hooks.runtime import settings_reload
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = 1_800_000_000.0
CONFIG = yaml.safe_dump({"exacto_settings": {"mode": "observe"}})
SAFETY_S = 60.0
"""Ends a test of code that waits for ever."""

Hang = tuple[Runtime, list[float], "Callable[[], None]"]


def _age(path: Path) -> None:
    """A file that was written a while ago, and is not the one that was there before."""
    at = time.time() - 10 - threading.active_count()
    os.utime(path, (at, at))


@pytest.fixture(params=["named", "config", "included"])
def hang(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    """A runtime whose settings file has just become a pipe, its clock, and what gives the pipe its text."""
    monkeypatch.setattr(settings_reload, "_WAIT_S", 0.05)
    monkeypatch.setattr(settings_reload, "_SILENT_S", 0.1)
    path, main = tmp_path / "exacto.yaml", tmp_path / "config.yaml"
    path.write_text("exacto_settings: {}")
    main.write_text("include: [exacto.yaml]\n" if request.param == "included" else "exacto_settings: {}")
    server = SimpleNamespace(user_config_file_path=str(main), proxy_config=SimpleNamespace())
    server.proxy_config._get_config_from_file = _merged
    broken = main if request.param == "config" else path
    environment = {"EXACTO_CONFIG": str(path)} if request.param == "named" else {}
    now = [NOW]
    reload = proxy_settings(server, environment)  # type: ignore[arg-type]
    runtime = Runtime(Settings(), lambda: now[0], reload_settings=reload)
    entry = {"model_name": "g", "litellm_params": {"model": "openai/m", "api_key": "x"}, "model_info": {"id": "a"}}
    router = litellm.Router(model_list=[entry])
    runtime.routers.set_source(lambda: router)
    broken.unlink()
    os.mkfifo(broken)
    _age(broken)

    def release() -> None:
        """Write the text, and put a file in place of the pipe."""
        with broken.open("w") as pipe:
            broken.unlink()
            broken.write_text(CONFIG)
            _age(broken)
            pipe.write(CONFIG)

    yield runtime, now, release
    _free(broken)


def _free(broken: Path) -> None:
    """End a read that still waits, so that no thread outlives the test."""
    if broken.is_fifo():
        os.close(os.open(broken, os.O_RDWR | os.O_NONBLOCK))


async def _merged() -> dict[str, object]:
    """What LiteLLM makes of a file with another one in it."""
    return {"exacto_settings": {"mode": "observe"}}


async def _until_silent(runtime: Runtime) -> None:
    """Recompute until the file has been silent for long enough."""
    for _ in range(1000):
        assert await asyncio.wait_for(runtime.recomputer.recompute(), SAFETY_S)
        if runtime.settings_reload.view()["problem"]:
            return
        await asyncio.sleep(0.02)


async def test_recomputes_go_on(hang: Hang, caplog: pytest.LogCaptureFixture) -> None:
    """With the settings in force; the file is told once, and read as soon as it can be."""
    runtime, _now, release = hang
    await _until_silent(runtime)
    for _ in range(3):
        before = runtime.engine.snapshot.id
        await asyncio.wait_for(runtime.replication.recompute(runtime.engine, NOW), SAFETY_S)
        assert runtime.engine.snapshot.id != before
    assert "its file does not answer" in runtime.settings_reload.view()["problem"]
    assert runtime.context.settings == Settings()
    assert runtime.context.faults.counts["settings"] == 1
    assert len([line for line in caplog.messages if "does not answer" in line]) == 1
    assert [thread.name for thread in threading.enumerate()].count("exacto-settings") == 1
    await asyncio.to_thread(release)
    for _ in range(1000):
        await runtime.settings_reload.take_changes()
        if runtime.context.settings.mode == "observe" and runtime.settings_reload.view()["problem"] is None:
            break
        await asyncio.sleep(0.02)  # for the thread that reads
    assert (runtime.context.settings.mode, runtime.settings_reload.view()["problem"]) == ("observe", None)


async def test_overrides_end(hang: Hang) -> None:
    """Whatever the periodic jobs wait for, an override is in force no longer than it was meant to be."""
    runtime, now, _release = hang
    await runtime.overrides.apply_override(OverrideAction.DERANKED, "a", 60.0, "because", "me")
    for seconds in (0, 30, 31):
        now[0] += seconds
        for step in runtime.periodic_jobs.steps:
            await asyncio.wait_for(step(), SAFETY_S)
        assert bool(runtime.engine.overrides.in_force) is (now[0] < NOW + 60)


def test_names_that_fit_to_nothing_are_told_after_a_change(caplog: pytest.LogCaptureFixture) -> None:
    """In the log at the change, and in the status until they are mended."""
    params = {"model": "openai/m", "api_key": "x"}
    entry = {"model_name": "kimi", "litellm_params": params, "model_info": {"id": "cedar"}}
    router = litellm.Router(model_list=[entry])
    following: list[Settings] = []
    runtime = Runtime(Settings(), lambda: NOW, reload_settings=lambda: following.pop() if following else None)
    runtime.routers.set_source(lambda: router)
    runtime.settings_reload.check = partial(live_problems, runtime.context, runtime.routers)
    told = "exacto_settings.curated.kimi[0]: matches no deployment; providers there: openai (did you mean cedar?)"
    for curated, expected in (("ceder", [told]), ("cedar", [])):
        caplog.clear()
        following.append(Settings(curated={"kimi": (curated,)}))
        runtime.settings_reload.apply_changes()
        assert runtime.settings_reload.view()["warnings"] == expected
        assert [one.getMessage() for one in caplog.records if "matches" in one.getMessage()] == [
            f"exacto_plugin: {line}" for line in expected
        ]

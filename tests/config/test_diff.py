"""Settings at run time: what changed is told without secrets, taken up from the file, or refused and told."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from exacto_plugin.config.diff import AT_THE_START, HIDDEN, _plain, diff, digest, redacted
from exacto_plugin.config.settings import Settings
from exacto_plugin.config.sources import CONFIG_VARIABLE, settings_watcher
from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.proxy_settings import proxy_settings
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000.0


def written(path: Path, text: str) -> Path:
    """The file with this text, left alone for a while already; each writing has a time of its own."""
    path.write_text(text, encoding="utf-8")
    at = time.time() - 3600 + len(text)
    os.utime(path, (at, at))
    return path


def server(path: Path | None) -> Any:
    """LiteLLM's proxy module as far as settings go."""

    class ProxyConfig:
        def __init__(self) -> None:
            self.config: dict[str, Any] = {}

        def get_config_state(self) -> dict[str, Any]:
            return self.config

        async def _get_config_from_file(self) -> dict[str, Any]:
            return {"exacto_settings": {"mode": "off"}}

    return SimpleNamespace(user_config_file_path=path and str(path), proxy_config=ProxyConfig())


def test_what_changed() -> None:
    """Each setting that differs under its path, what it was and what it is."""
    before = Settings.model_validate({"curated": {"a/b": ["x"]}})
    after = Settings.model_validate({"mode": "observe", "tiers": {"adaptive": {"peer_cap": 0.03}}})
    assert diff(before, after) == {
        "mode": ("apply", "observe"),
        "curated.a/b": (["x"], None),
        "tiers.adaptive.peer_cap": (0.05, 0.03),
    }
    assert diff(after, after) == {}


def test_the_digest() -> None:
    """It says whether two settings say the same."""
    assert digest(Settings()) == digest(Settings.model_validate({"mode": "apply"}))
    assert digest(Settings()) != digest(Settings.model_validate({"mode": "off"}))
    assert json.loads(json.dumps(redacted(Settings())))["tiers.preset"] == "adaptive"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://me:secret@db:5432/x?password=secret", "postgresql://***@db:5432/x?***"),
        (SecretStr("redis://:secret@cache/0"), "redis://***@cache/0"),
        (SecretStr("secret"), HIDDEN),
        ("https://[secret", HIDDEN),
        (["redis://u:secret@h", 3], ["redis://***@h", 3]),
        ("plain", "plain"),
    ],
)
def test_secrets_are_not_told(value: object, shown: object) -> None:
    """Of an address the scheme, the host and the path, and of any other secret nothing."""
    assert _plain(value) == shown


def test_the_file_that_is_named(tmp_path: Path) -> None:
    """A change is given once; a broken file, and one that is gone, is refused once."""
    file = written(tmp_path / "exacto.yaml", "exacto_settings: {mode: apply}")
    changed = settings_watcher({CONFIG_VARIABLE: str(file)})
    assert changed() is None
    written(file, "exacto_settings: {mode: observe}")
    found = changed()
    assert found is not None
    assert (found.mode, changed()) == ("observe", None)
    written(file, "exacto_settings: {mode: better, and: more}")
    with pytest.raises(SettingsError, match="better"):
        changed()
    assert changed() is None
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        changed()
    assert changed() is None


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """What was written this moment may be the first half."""
    file = written(tmp_path / "exacto.yaml", "exacto_settings: {mode: apply}")
    changed = settings_watcher({CONFIG_VARIABLE: str(file)})
    file.write_text("exacto_settings: {mode: observe}", encoding="utf-8")
    assert changed() is None
    os.utime(file, (time.time() - 60, time.time() - 60))
    assert changed() is not None


def test_the_proxys_own_file(tmp_path: Path) -> None:
    """An edit of config.yaml is taken up; a block that is taken out means defaults; other parts do not matter."""
    file = written(tmp_path / "config.yaml", "exacto_settings: {mode: observe}")
    changed = proxy_settings(server(file), {"MODE": "off"})
    assert changed() is None
    written(file, "exacto_settings: {mode: os.environ/MODE} # changed")
    found = changed()
    assert found is not None
    assert found.mode == "off"
    written(file, "model_list: []")
    assert changed() == Settings()
    written(file, "exacto_settings: {mod: off}")
    with pytest.raises(SettingsError, match=r"config\.yaml: exacto_settings\.mod"):
        changed()


def test_a_file_that_is_included(tmp_path: Path) -> None:
    """LiteLLM puts the parts together; a change of a part counts too."""
    part = written(tmp_path / "part.yaml", "exacto_settings: {mode: apply}")
    changed = proxy_settings(server(written(tmp_path / "config.yaml", "include: [part.yaml]")), {})
    assert changed() is None
    written(part, "exacto_settings: {mode: off}")
    found = changed()
    assert found is not None
    assert found.mode == "off"


def test_a_configuration_in_a_bucket() -> None:
    """What LiteLLM reads anew is taken up when it does."""
    proxy = server(None)
    changed = proxy_settings(proxy, {"LITELLM_CONFIG_BUCKET_NAME": "b"})
    assert changed() is None
    proxy.proxy_config.config = {"exacto_settings": {"mode": "observe"}}
    found = changed()
    assert found is not None
    assert (found.mode, changed()) == ("observe", None)


async def test_taken_up_told_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    """What changed is logged once, what needs a restart is said; settings that say the same change nothing."""
    given: list[Settings | SettingsError] = [
        SettingsError("config.yaml: mode: got 'x'"),
        Settings.model_validate({"mode": "observe", "exploration": {"share": 0}}),
        Settings.model_validate({"mode": "observe", "exploration": {"share": 0}}),
    ]

    def reload() -> Settings | None:
        if not given:
            return None
        one = given.pop(0)
        if isinstance(one, SettingsError):
            raise one
        return one

    runtime = Runtime(Settings(), clock=lambda: NOW, reload_settings=reload)
    first = digest(runtime.context.settings)
    await runtime.settings_reload.take_changes()
    assert runtime.settings_reload.view() == {
        "digest": first,
        "since": NOW,
        "problem": "config.yaml: mode: got 'x'",
        "warnings": [],
    }
    await runtime.settings_reload.take_changes()
    assert runtime.settings_reload.view()["problem"] is None
    assert runtime.settings_reload.view()["digest"] != first
    judge = runtime.engine.rule
    taken = runtime.context.settings
    for _ in range(2):
        await runtime.settings_reload.take_changes()
    assert runtime.context.settings is taken
    assert runtime.engine.rule is judge
    assert [line for line in caplog.messages if "applied changed" in line] == [
        "exacto_plugin applied changed settings: mode 'apply' -> 'observe', exploration.share 0.02 -> 0.0"
    ]
    assert len([line for line in caplog.messages if "new ones are invalid" in line]) == 1


async def test_only_what_waits_for_a_restart_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    """How long records are kept, and which, holds at once; addresses do not."""
    store = {"retention_days": 7, "retention": {"hours": 90}, "decision_share": 1.0}
    given = [
        Settings.model_validate({"store": store, "affinity": {"enabled": False, "idle_s": 60}}),
        Settings.model_validate({"store": {"url": "sqlite://", "outcomes": "/o"}, "redis": {"namespace": "n"}}),
    ]
    runtime = Runtime(Settings(), clock=lambda: NOW, reload_settings=lambda: given.pop(0))
    for _ in range(2):
        await runtime.settings_reload.take_changes()
    lines = [line for line in caplog.messages if "applied changed" in line]
    assert "store.retention_days 30.0 -> 7.0" in lines[0]
    assert [line.partition("; after a restart only: ")[2] for line in lines] == [
        "",
        "store.url, store.outcomes, redis.namespace",
    ]


def test_what_waits_for_a_restart_exists() -> None:
    """Every one of them is a setting, and all of redis is among them."""
    paths = redacted(Settings())
    assert set(paths) >= AT_THE_START
    assert {path for path in paths if path.startswith("redis.")} <= AT_THE_START

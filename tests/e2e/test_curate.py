"""``exacto curate`` on a running proxy: what it prints is accepted, enforced, and checked again later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exacto_plugin.cli import command as cli
from tests.support.proxy.observation import api, eventually
from tests.support.proxy.openai_client import ask, asked, config
from tests.support.proxy.proxy import MASTER_KEY, deployment
from tests.support.proxy.tier_setup import BAD, CALLS, GOOD, QUICK, bring_about, names

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

GROUP = "kimi"
ONE, TWO, THREE = names(GROUP, *GOOD)
KEYS: dict[str, dict[str, Any]] = {f"sk-{number}": {} for number in range(10)}
MIN_CALLS = ("--min-calls", str(CALLS))


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``EXACTO_CONFIG`` names; the plugin takes up changes."""
    return tmp_path_factory.mktemp("settings") / "exacto.yaml"


@pytest.fixture(scope="module")
def entire(provider_server: SimulatedProviders) -> Any:
    """The proxy's configuration."""
    entries = [deployment(provider_server, name, GROUP, info={"provider": f"of-{name}"}) for name in names(GROUP)]
    return config(entries, router={"num_retries": 0, "disable_cooldowns": True}, tiers=QUICK)


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, settings_file: Path, entire: Any) -> Proxy:
    """A proxy with verdicts, one of whose good providers some callers avoid."""
    write(settings_file, {})
    started = start_proxy(
        {name: part for name, part in entire.items() if name != "exacto_settings"},
        keys=KEYS,
        environment={"EXACTO_CONFIG": str(settings_file)},
    )
    bring_about(started, provider_server, [GROUP])
    for number, key in enumerate(KEYS):
        wishes = {0: {"ignore": [f"of-{TWO}"]}, 1: {"only": [f"of-{ONE}"]}, 2: {"ignore": ["nobody"]}}.get(number)
        ask(started, GROUP, key=key, provider=wishes or {})
    ask(started, GROUP, key="sk-0", provider={"ignore": [f"of-{TWO}"]})
    ask(started, GROUP, key="sk-9", tools=False, provider={"ignore": [f"of-{THREE}"]})
    return started


def ignored_by(proxy: Proxy, name: str) -> int:
    """How many keys ignore a deployment's provider."""
    deployments = api(proxy, f"models/{GROUP}").json()["deployments"]
    return next(int(one["choices"]["ignored_by"]) for one in deployments if one["deployment"] == name)


def write(file: Path, curated: dict[str, Any]) -> None:
    """Put the settings where the running plugin finds them."""
    fresh = file.with_suffix(".new")
    fresh.write_text(yaml.safe_dump({"exacto_settings": {"tiers": QUICK, "curated": curated}}))
    fresh.replace(file)


def test_a_proposal_is_accepted_enforced_and_checked(
    proxy: Proxy,
    providers: SimulatedProviders,
    settings_file: Path,
    entire: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From measured traffic to a list, from the list to routing, and to the day when it no longer holds."""
    monkeypatch.setenv("EXACTO_API_KEY", MASTER_KEY)
    command = ["curate", "--url", proxy.base_url, *MIN_CALLS]

    # Counts of distinct keys: nobody is counted twice, nor for requests without tools, nor for providers made up.
    eventually(lambda: api(proxy, f"models/{GROUP}").json()["tool_keys"], len(KEYS))
    found = api(proxy, f"models/{GROUP}").json()
    choices = {one["deployment"]: tuple(one["choices"].values()) for one in found["deployments"]}
    assert choices == {ONE: (0, 1, 0), TWO: (1, 0, 1), **{n: (0, 0, 1) for n in choices if n not in (ONE, TWO)}}

    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    curated = yaml.safe_load(printed)["exacto_settings"]["curated"]
    assert curated == {GROUP: [f"of-{ONE}", f"of-{THREE}"]}
    assert f"ignored by 1 of {len(KEYS)} keys" in " ".join(printed.replace("#", " ").split())

    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**entire, "exacto_settings": {"curated": curated}}))
    assert cli.main(["check-config", str(file)]) == 0

    write(settings_file, curated)
    eventually(lambda: api(proxy, f"models/{GROUP}").json()["curated"], curated[GROUP])
    before = asked(providers, names(GROUP))
    for _ in range(12):
        assert ask(proxy, f"{GROUP}:exacto", key="sk-4").deployment in (ONE, THREE)
    after = asked(providers, names(GROUP))
    assert sum(after[name] - before[name] for name in (ONE, THREE)) == 12

    capsys.readouterr()
    assert cli.main([*command, "--check"]) == 0
    assert "the configured list holds" in capsys.readouterr().out

    ask(proxy, GROUP, key="sk-3", provider={"ignore": [f"of-{ONE}"]})
    eventually(lambda: ignored_by(proxy, ONE), 1)
    assert cli.main([*command, "--check", "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["model_groups"]
    assert told["broken"] == [f"of-{ONE} ({ONE}): ignored by 1 of {len(KEYS)} keys"]
    assert told["proposed"] == [f"of-{THREE}"]
    assert BAD not in str(told["proposed"])

"""The store behind a real proxy: killed and started again, and with everything that can be wrong with a file."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest

from exacto_plugin.records import TransitionRecord
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import find, reading
from tests.support.proxy.observation import api, eventually, judged
from tests.support.proxy.openai_client import ask, config
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.tier_setup import BAD, GOOD, QUICK, bring_about, expected_tiers, fleet, names, seen_tiers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

GROUP = "kimi"
LOSS_S = 5.0
"""Samples of this many seconds may be lost when a process is killed."""


def health(proxy: Proxy) -> dict[str, Any]:
    """What the proxy says about its store."""
    found: dict[str, Any] = api(proxy, "status").raise_for_status().json()["store"]
    return found


def snapshot(proxy: Proxy) -> str:
    """The id of the snapshot in force; empty before there is one."""
    found = str(api(proxy, "status").raise_for_status().json()["snapshot"])
    return "" if found.startswith("0-") else found


class Load:
    """Requests to single deployments from some threads, and when each was answered."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._ended = threading.Event()
        self.answers: list[tuple[float, str]] = []
        self._threads = [threading.Thread(target=self._go_on, args=(name,)) for name in names(GROUP, *GOOD)]

    def _go_on(self, name: str) -> None:
        while not self._ended.is_set():
            with suppress(openai.OpenAIError):  # the proxy is killed at some time
                ask(self._proxy, name)
                self.answers.append((time.monotonic(), name))

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Keep requests on their way."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join()


def test_a_killed_proxy_goes_on_where_it_was(tmp_path: Path, providers: SimulatedProviders) -> None:
    """kill -9 under load: tiers are in force again at once, records are there, and at most 5 s of samples are lost."""
    settings = config(fleet(providers, GROUP), tiers={**QUICK, "recompute_interval_s": 1.0})
    with Proxy(settings, tmp_path) as first:
        bring_about(first, providers, [GROUP])
        before = Counter({name: judged(first, GROUP, name)[0] for name in names(GROUP, *GOOD)})
        load = Load(first)
        with load.flowing():
            time.sleep(LOSS_S + 1.5)  # long enough that something of it must be there
            known = snapshot(first)
            killed_at = time.monotonic()
            assert first.pid is not None
            os.killpg(first.pid, signal.SIGKILL)
        first.stop()
    answered = before + Counter(name for at, name in load.answers if at <= killed_at)
    safe = before + Counter(name for at, name in load.answers if at <= killed_at - LOSS_S)
    with Proxy(settings, tmp_path) as second:
        eventually(lambda: bool(snapshot(second)), True)
        assert snapshot(second) >= known
        assert seen_tiers(second, GROUP) == expected_tiers(GROUP)
        # A verdict from the windows that were restored; the providers were not asked since.
        restored = snapshot(second)
        eventually(lambda: snapshot(second) == restored, False)
        assert seen_tiers(second, GROUP) == expected_tiers(GROUP)
        counted = Counter({name: judged(second, GROUP, name)[0] for name in names(GROUP, *GOOD)})
        place = location_of_url(f"sqlite:///{health(second)['place']}")
    assert safe.total() > before.total()
    assert not safe - counted, (safe, counted)
    assert not counted - answered - Counter(dict.fromkeys(names(GROUP, *GOOD), 1)), "counted twice"
    with reading(place) as connection:
        kept = {(one.deployment, one.tier) for one in find(connection, TransitionRecord)}
    assert (f"{GROUP}-{BAD}", "deranked") in kept


def test_a_stopped_proxy_loses_nothing(tmp_path: Path, providers: SimulatedProviders) -> None:
    """What was answered a moment before SIGTERM counts after the next start."""
    settings = config(fleet(providers, GROUP), tiers={**QUICK, "recompute_interval_s": 1.0})
    good = names(GROUP, *GOOD)
    with Proxy(settings, tmp_path) as first:
        bring_about(first, providers, [GROUP])
        before = {name: judged(first, GROUP, name)[0] for name in good}
        for _ in range(20):
            for name in good:
                ask(first, name)
        first.stop()
    with Proxy(settings, tmp_path) as second:
        for name in good:
            eventually(lambda name=name: judged(second, GROUP, name)[0] >= before[name] + 20, True)  # type: ignore[misc]


# --- what can be wrong with a file -----------------------------------------------------------------------------------


class Switch:
    """A directory that is another one at the next look: a symbolic link, so that faults come and go."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.link = directory / "state"
        self._mounts: list[Path] = []
        self.file = self.link / "r.sqlite"
        self.to(self.made("well"))

    def made(self, name: str) -> Path:
        """An empty directory."""
        made = self._directory / name
        made.mkdir()
        return made

    def to(self, directory: Path) -> None:
        """From now on it is this one."""
        fresh = self._directory / "fresh"
        fresh.symlink_to(directory)
        fresh.replace(self.link)

    def mount(self, directory: Path, *arguments: str) -> None:
        """Mount something; undone at the end."""
        subprocess.run(["mount", *arguments, str(directory)], check=True, capture_output=True)
        self._mounts.append(directory)

    def close(self) -> None:
        """Undo all mounts."""
        for directory in reversed(self._mounts):
            subprocess.run(["umount", "--lazy", str(directory)], check=False, capture_output=True)


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Where the proxy of this module keeps its records."""
    made = Switch(tmp_path_factory.mktemp("disks"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, switch: Switch) -> Proxy:
    """A proxy whose store is behind the switch."""
    entries = [deployment(provider_server, f"{GROUP}-{name}", GROUP) for name in ("a", "b")]
    return start_proxy(config(entries, tiers=QUICK, store={"url": f"sqlite:///{switch.file}"}))


def _full(switch: Switch) -> None:
    """A disk that has room for the tables and no more."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = switch.made("full")
    switch.mount(disk, "-t", "tmpfs", "-o", "size=640k", "tmpfs")
    switch.to(disk)


def _read_only(switch: Switch) -> None:
    disk = switch.made("read-only")
    disk.chmod(0o500)
    if os.geteuid() == 0:  # who may write everywhere
        switch.mount(disk, "--bind", str(disk))
        subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True, capture_output=True)
    switch.to(disk)


def _corrupt(switch: Switch) -> None:
    disk = switch.made("corrupt")
    (disk / switch.file.name).write_bytes(os.urandom(100_000))
    switch.to(disk)


def _newer(switch: Switch) -> None:
    disk = switch.made("newer")
    source = sqlite3.connect(switch.file)
    copy = sqlite3.connect(disk / switch.file.name)
    source.backup(copy)
    copy.execute("UPDATE meta SET value = '99' WHERE name IN ('schema', 'readable_from')")
    copy.commit()
    copy.close()
    source.close()
    switch.to(disk)


FAULTS = {
    "full": (_full, "no room to write to", "free space on its disk"),
    "read-only": (_read_only, "is not writable", "give the user of this process write permission"),
    "corrupt": (_corrupt, "is damaged", "move it away"),
    "newer": (_newer, "was written by a newer version", "upgrade this version"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_cannot_be_used_is_told_once_and_used_again(
    proxy: Proxy, providers: SimulatedProviders, switch: Switch, fault: str
) -> None:
    """Every request is answered, one line names file and remedy, the API says the same; then all is well again."""
    well = switch.link.resolve()
    eventually(lambda: health(proxy)["state"], "ok")
    log = len(proxy.log())
    bring, message, remedy = FAULTS[fault]
    bring(switch)
    asked = 0

    def state() -> str:
        nonlocal asked
        asked += 1
        ask(proxy, GROUP)
        return str(health(proxy)["state"])

    eventually(state, "degraded")
    found = health(proxy)
    assert found["message"].startswith(str(switch.file)) or str(switch.file) in found["message"]
    assert message in found["message"]
    assert remedy in found["remedy"]
    for _ in range(3):
        state()
    lines = [line for line in proxy.log()[log:].splitlines() if "exacto_plugin" in line]
    assert [line.partition("exacto_plugin's store: ")[2] for line in lines] == [
        f"{found['message']}; {found['remedy']}"
    ]
    if fault == "corrupt":
        # As the remedy says: moved away, and nothing else.
        shutil.move(switch.file, switch.file.with_name("away"))
    else:
        switch.to(well)
    eventually(state, "ok")
    assert asked > 4
    eventually(lambda: "is writable again" in proxy.log()[log:], True)
    written = health(proxy)["written"]
    ask(proxy, f"{GROUP}-a")
    assert health(proxy)["written"] >= written

"""The answer to ``why`` has one shape, of now and of then, from the API and from the command line."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.cli.command import main
from exacto_plugin.core.routing.overrides import OverrideAction
from tests.support.administrator import client_of
from tests.support.served_proxy import GROUPS, ServedProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

NAMES = [name for names in GROUPS.values() for name in names]
ONLY_OF_NOW = ("throughput", "latency_s", "flaws", "flaw_rates", "pairs", "benchmarks")
TIMES = ("at", "past", "measured_at")


class Told:
    """A proxy that has just put everything on record: one deployment is deranked, one overridden, one unknown."""

    def __init__(self, file: Path, block: dict[str, Any]) -> None:
        self.url = f"sqlite:///{file}"
        self.proxy = ServedProxy(block, self.url)
        asyncio.run(self._serve())
        assert self.proxy.runtime.store.flush()
        self.client: TestClient = client_of(self.proxy.runtime)

    async def _serve(self) -> None:
        await self.proxy.turn()
        self.proxy.answers(60, {"cedar": 0.5})
        await self.proxy.say(OverrideAction.GOOD, "birch", 3600.0, "vendor fixed it")
        await self.proxy.turn()

    def why(self, name: str, **parameters: float) -> dict[str, Any]:
        """What the API says of a deployment."""
        found = self.client.get("/exacto/api/why", params={"deployment": name, **parameters}).raise_for_status()
        (answer,) = found.json()["answers"]
        return dict(answer)


@pytest.fixture(params=["adaptive", "openrouter"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Told]:
    """The same under each preset."""
    numbers = {"tool_call_requests": 20, "throughput_requests": 20}
    made = Told(tmp_path / "records.sqlite", {"tiers": {"preset": request.param, "openrouter": numbers}})
    yield made
    asyncio.run(made.proxy.end())


def test_now_and_then_are_the_same(told: Told) -> None:
    """Right after everything was put on record, both say the same but for what no record has."""
    for name in NAMES:
        now, then = told.why(name), told.why(name, at=told.proxy.now)
        assert list(now) == list(then)
        beside = (*TIMES, *ONLY_OF_NOW)
        assert {key: one for key, one in now.items() if key not in beside} == {
            key: one for key, one in then.items() if key not in beside
        }
        assert now["at"] == then["at"] == then["measured_at"] == told.proxy.now
        assert (now["past"], now["measured_at"], then["past"]) == (False, None, True)
        assert [type(now[key]) for key in ONLY_OF_NOW] == [float, float, dict, list, list, dict]
        assert [then[key] for key in ONLY_OF_NOW] == [None] * 6


def test_signals_are_values_with_samples(told: Told) -> None:
    """Not pairs, whenever it is asked about."""
    for answer in (told.why("cedar"), told.why("cedar", at=told.proxy.now)):
        assert answer["signals"].keys() >= {"tool_call_success", "throughput"}
        for one in answer["signals"].values():
            assert one == {"value": pytest.approx(one["value"]), "samples": 60}
    assert told.why("birch")["override"]["word"] == "good"


def test_the_command_says_the_same(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """``exacto why --json`` of a store: then as the API, and now as what was last put on record."""
    at = "2025-06-15T16:05:00+00:00"
    for arguments in (["--at", at], []):
        assert main(["why", "cedar", *arguments, "--json", "--store", told.url]) == 0
        (printed,) = json.loads(capsys.readouterr().out)["answers"]
        api = told.why("cedar", at=told.proxy.now)
        different = {key for key in api if printed[key] != api[key]}
        assert (list(printed), different) == (list(api), set() if arguments else {"at", "past", "stale"})

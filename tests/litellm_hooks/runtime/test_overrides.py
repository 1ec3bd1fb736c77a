"""Operators' words at run time: over HTTP, by name or id, shared over boards, and gone when they have expired."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

from exacto_plugin.cli.arguments import duration_s
from exacto_plugin.cli.command import main
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import DeploymentKey, Tier
from exacto_plugin.core.routing.overrides import LONGEST_S, Override, OverrideAction
from exacto_plugin.errors import StoreError
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.web.api import api_router
from tests.test_telemetry import NOW, _router

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "/exacto/api/overrides"
SAID = {"deployment": "a", "word": "deranked", "for_s": 60.0, "reason": "maintenance"}


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Paper:
    """A board in memory, which may be out of order."""

    def __init__(self) -> None:
        self.words: dict[tuple[str, str], Override] = {}
        self.broken = False

    async def write(self, words: Sequence[Override]) -> None:
        """Hang up."""
        if self.broken:
            raise StoreError("out of order")
        self.words |= {(word.model_group, word.deployment): word for word in words}

    async def read(self) -> Sequence[Override]:
        """Read."""
        if self.broken:
            raise StoreError("out of order")
        return list(self.words.values())


def runtime_of(*groups: str, clock: Clock | None = None, board: Paper | None = None) -> Runtime:
    """A runtime whose proxy serves these groups, each by four deployments."""
    runtime = Runtime(Settings(), clock or Clock())
    router = _router(*groups)
    runtime.routers.set_source(lambda: router)
    if board is not None:
        runtime.overrides.add_backend(board)
    return runtime


def client_of(runtime: Runtime, role: LitellmUserRoles = LitellmUserRoles.PROXY_ADMIN) -> TestClient:
    """A client with a key of that role."""
    app = FastAPI()
    app.include_router(api_router(runtime))
    app.dependency_overrides[user_api_key_auth] = lambda: UserAPIKeyAuth(user_role=role, user_id="jane@example.com")
    return TestClient(app)


def tier(runtime: Runtime, group: str = "g", deployment: str = "a") -> Tier | None:
    """The tier that is in force."""
    verdict = runtime.engine.snapshot.verdict(group, DeploymentKey(deployment))
    return None if verdict is None else verdict.tier


def test_said_read_and_taken_back() -> None:
    """A word holds at once, is listed with its author's hash, and a reset ends it."""
    runtime = runtime_of("g")
    client = client_of(runtime)
    (said,) = client.post(PATH, json=SAID).json()["overrides"]
    assert (said["model_group"], said["expires"], said["measured_tier"]) == ("g", NOW + 60, "insufficient_data")
    assert "jane" not in str(said)
    assert tier(runtime) is Tier.DERANKED
    assert client.get(PATH).json()["overrides"] == [said]
    assert client.get("/exacto/api/status").json()["overrides"] == 1
    shown = client.get("/exacto/api/models/g").json()["deployments"][0]
    assert (shown["tier"], shown["override"]["reason"]) == ("deranked", "maintenance")
    assert shown["reasons"][0]["code"] == "override"
    runtime.context.clock.now += 1  # type: ignore[attr-defined]
    assert client.post(PATH, json={"deployment": "a", "word": "reset"}).status_code == 200
    assert client.get(PATH).json()["overrides"] == []
    assert tier(runtime) is None


def test_a_reset_of_nothing_is_not_put_on_record() -> None:
    """Neither before a word nor after its reset; a word that another process said is reset, though it was not read."""
    board = Paper()
    runtime = runtime_of("g", board=board)
    client = client_of(runtime)
    reset = {"deployment": "a", "word": "reset"}
    assert client.post(PATH, json=reset).json() == {"overrides": [], "kept": True}
    assert board.words == {}
    asyncio.run(runtime_of("g", board=board).overrides.apply_override(OverrideAction.GOOD, "a", 60.0, "fixed", "5a17"))
    runtime.context.clock.now += 1  # type: ignore[attr-defined]
    (ended,) = client.post(PATH, json=reset).json()["overrides"]
    assert ended["word"] == "reset"
    on_record = dict(board.words)
    runtime.context.clock.now += 1  # type: ignore[attr-defined]
    assert client.post(PATH, json=reset).json()["overrides"] == []
    assert board.words == on_record
    assert client.post(PATH, json={"deployment": "nothing", "word": "reset"}).status_code == 404


def test_only_administrators_say_words() -> None:
    """Who may look may read words, and say none; others may nothing."""
    runtime = runtime_of("g")
    viewer = client_of(runtime, LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY)
    assert viewer.get(PATH).status_code == 200
    assert viewer.post(PATH, json=SAID).status_code == 403
    assert client_of(runtime, LitellmUserRoles.INTERNAL_USER).post(PATH, json=SAID).status_code == 403
    assert runtime.engine.overrides.known == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"word": "better"},
        {"for_s": 0},
        {"for_s": None},
        {"for_s": LONGEST_S + 1},
        {"reason": "  "},
        {"reason": "x" * 201},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_not_understood(wrong: dict[str, Any]) -> None:
    """A malformed word is refused and changes nothing."""
    runtime = runtime_of("g")
    assert client_of(runtime).post(PATH, json={**SAID, **wrong}).status_code == 422
    assert runtime.engine.overrides.known == ()


def test_a_word_that_is_not_understood(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says in its own words what is too long, and asks no proxy."""
    said = ["override", "a", "good", "--url", "http://127.0.0.1:9", "--reason"]
    assert main([*said, "why", "--for", "31d"]) == 2
    assert "--for: at most 30d; what holds for longer belongs into the configuration" in capsys.readouterr().err
    assert main([*said, "x" * 201, "--for", "1d"]) == 2
    assert "--reason: at most 200 characters, got 201" in capsys.readouterr().err


def test_a_provider_means_its_deployment() -> None:
    """As for the command; one of several is asked for by name, and nothing is set."""
    runtime = runtime_of("g")
    client = client_of(runtime)
    known = runtime.overrides.known()["g"]
    runtime.overrides.known = lambda: {"g": (replace(known[0], provider="larch"), *known[1:])}  # type: ignore[method-assign]
    (done,) = client.post(PATH, json={**SAID, "deployment": "larch"}).json()["overrides"]
    assert done["deployment"] == known[0].key
    runtime.overrides.known = lambda: {"g": tuple(replace(one, provider="oak") for one in known)}  # type: ignore[method-assign]
    answer = client.post(PATH, json={**SAID, "deployment": "oak"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "'oak' means a, b, c, d; name one of them")


def test_a_deployment_that_there_is_not() -> None:
    """The error names those that there are, of the model group that was asked for."""
    client = client_of(runtime_of("g", "h"))
    answer = client.post(PATH, json={**SAID, "deployment": "nobody"})
    told = "there is no deployment 'nobody'; there are a, b, c, d"
    assert (answer.status_code, answer.json()) == (404, {"detail": told})
    told = "there is no deployment 'nobody' of h; there are a, b, c, d"
    answer = client.post(PATH, json={**SAID, "deployment": "nobody", "model_group": "h"})
    assert answer.json() == {"detail": told}
    answer = client.post(PATH, json={**SAID, "model_group": "nomodel"})
    assert answer.json() == {"detail": "there is no model group 'nomodel'; there are g, h"}


def test_everywhere_or_in_one_model_group() -> None:
    """A name that serves two model groups is meant in both, unless one is named."""
    runtime = runtime_of("g", "h")
    client = client_of(runtime)
    assert len(client.post(PATH, json={**SAID, "deployment": "b", "model_group": "h"}).json()["overrides"]) == 1
    assert (tier(runtime, "g", "b"), tier(runtime, "h", "b")) == (None, Tier.DERANKED)
    assert len(client.post(PATH, json=SAID).json()["overrides"]) == 2
    assert (tier(runtime, "g"), tier(runtime, "h")) == (Tier.DERANKED, Tier.DERANKED)


def test_a_word_reaches_others_and_survives_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    """Another worker, and the next process, read it off the board; each says so once."""
    board = Paper()
    first, second = runtime_of("g", board=board), runtime_of("g", board=board)
    asyncio.run(first.overrides.apply_override(OverrideAction.GOOD, "a", 60.0, "trusted", "me"))
    caplog.clear()
    for _ in range(3):
        asyncio.run(second.overrides.poll())
    assert tier(second) is Tier.VERIFIED_GOOD
    assert len([line for line in caplog.messages if "trusted" in line]) == 1
    restarted = runtime_of("g", board=board)
    asyncio.run(restarted.overrides.poll())
    assert tier(restarted) is Tier.VERIFIED_GOOD


def test_a_board_that_is_out_of_order_or_emptied() -> None:
    """The word holds here meanwhile, and hangs there again as soon as that is possible."""
    board = Paper()
    runtime = runtime_of("g", board=board)
    board.broken = True
    assert not asyncio.run(runtime.overrides.apply_override(OverrideAction.DERANKED, "a", 60.0, "broken", "me")).kept
    asyncio.run(runtime.overrides.poll())
    assert (tier(runtime), runtime.context.faults.counts["overrides"]) == (Tier.DERANKED, 0)
    board.broken = False
    asyncio.run(runtime.overrides.poll())
    assert len(board.words) == 1
    board.words.clear()
    asyncio.run(runtime.overrides.poll())
    assert len(board.words) == 1


def test_a_word_expires_without_a_recompute() -> None:
    """A look after it every two seconds is enough."""
    clock = Clock()
    runtime = runtime_of("g", clock=clock)
    asyncio.run(runtime.overrides.apply_override(OverrideAction.GOOD, "a", 60.0, "trusted", "me"))
    clock.now += 59
    asyncio.run(runtime.overrides.poll())
    assert tier(runtime) is Tier.VERIFIED_GOOD
    clock.now += 1
    asyncio.run(runtime.overrides.poll())
    assert tier(runtime) is None


async def test_the_timer_looks_after_words() -> None:
    """With the recompute timer begins the upkeep, and with it the polling of boards."""
    board = Paper()
    board.words["g", "a"] = Override("g", DeploymentKey("a"), OverrideAction.GOOD, "trusted", "me", NOW, NOW + 60)
    runtime = runtime_of("g", board=board)
    polled = asyncio.Event()

    async def told() -> None:
        polled.set()

    runtime.periodic_jobs.steps.append(told)
    runtime.timer.ensure_started()
    async with asyncio.timeout(10):
        await polled.wait()
    assert tier(runtime) is Tier.VERIFIED_GOOD
    await runtime.timer.aclose()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_durations(text: str, seconds: float) -> None:
    """As people write them."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-2h", "0h", "2w"])
def test_no_durations(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused before anybody is asked."""
    with pytest.raises(SystemExit):
        main(["override", "a", "good", f"--for={text}", "--reason", "why", "--url", "http://127.0.0.1:9"])
    assert "30m, 2h or 1d" in capsys.readouterr().err


def test_what_the_command_needs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A word without a reason is none; a proxy that is not there is told in one line."""
    monkeypatch.setenv("EXACTO_API_KEY", "sk-x")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(["override", "a", "good", "--for", "2h", "--url", "http://127.0.0.1:9"]) == 2
    assert "--reason is needed for good" in capsys.readouterr().err
    assert main(["override", "a", "deranked", "--url", "http://127.0.0.1:9"]) == 2
    assert "--for and --reason are needed for deranked" in capsys.readouterr().err
    assert main(["override", "a", "reset", "--url", "http://127.0.0.1:9"]) == 2
    assert "nothing listens at http://127.0.0.1:9" in capsys.readouterr().err

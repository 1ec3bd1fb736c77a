"""Raw answers of real providers, with the quirks that their users report: each is judged as what its client gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy.observation import PATIENCE_S, api, eventually
from tests.support.proxy.proxy import CALLBACK
from tests.support.proxy.raw_upstream import RawUpstream, stored_answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

ANSWERS = stored_answers()
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
CASES = [(answer, mode) for answer in ANSWERS for mode in ("whole", "stream") if mode in answer]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the proxy's log of samples."""
    return tmp_path_factory.mktemp("outcomes")


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    """The upstream that gives the stored answers."""
    with RawUpstream(ANSWERS) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(start_proxy: StartProxy, upstream: RawUpstream, log: Path) -> Proxy:
    """A model group of one deployment for each answer; every request is asked once, before the first test."""
    config = {
        "model_list": [upstream.deployment(answer) for answer in ANSWERS],
        "litellm_settings": {"callbacks": [CALLBACK], "drop_params": True, "num_retries": 0},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "exacto_settings": {"store": {"url": "sqlite://", "outcomes": str(log)}},
    }
    started = start_proxy(config)
    for answer, mode in CASES:
        body = {**answer["request"], "model": answer["name"], **({"stream": True} if mode == "stream" else {})}
        started.request("POST", PATHS[answer["surface"]], json=body)
    return started


def _samples(log: Path, name: str, mode: str) -> list[dict[str, Any]]:
    lines = [line for file in log.glob("*.jsonl") for line in file.read_text().splitlines()]
    entries = [json.loads(line) for line in lines if name in line]
    return [
        entry
        for entry in entries
        if entry.get("type") == "sample"
        and entry["model_group"] == name
        and bool(entry.get("streamed")) == (mode == "stream")
    ]


@pytest.mark.parametrize(("answer", "mode"), CASES, ids=[f"{answer['name']}-{mode}" for answer, mode in CASES])
def test_an_answer_is_judged_as_what_its_client_gets(
    proxy: Proxy, log: Path, answer: dict[str, Any], mode: str
) -> None:
    """Outcome, flaws, loss and blame, as far as each answer allows one reading only."""
    expected = answer["expected"].get(mode, answer["expected"])
    wanted = {key: expected[key] for key in ("outcome", "flaws", "lost", "blame") if key in expected}
    absent: dict[str, Any] = {"outcome": None, "flaws": [], "lost": False, "blame": None}
    eventually(lambda: bool(_samples(log, answer["name"], mode)), True, PATIENCE_S)
    # LiteLLM itself may fail on an answer that was recorded, and then the attempt counts once more.
    samples = _samples(log, answer["name"], mode)
    assert wanted in [{key: sample.get(key, absent[key]) for key in wanted} for sample in samples]


def test_no_answer_makes_the_plugin_fail(proxy: Proxy) -> None:
    """Errors of the plugin would be counted."""
    assert api(proxy, "status").json()["faults"] == {}

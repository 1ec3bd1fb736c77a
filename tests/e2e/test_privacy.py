"""What people write and hold secret appears in nothing that the plugin says: not in its log, metrics or API."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import Probe, api, eventually
from tests.support.proxy.proxy import CALLBACK, Proxy, deployment
from tests.support.proxy.questions import ask

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

CANARIES = {
    "prompt": "canary-prompt-1f",
    "system": "canary-system-2e",
    "tool name": "canary_tool_3d",
    "tool description": "canary-description-4c",
    "property": "canary_property_5b",
    "argument": "canary-argument-6a",
    "tool result": "canary-result-79",
    "answer": "canary-answer-88",
    "client key": "sk-canary-key-97",
    "upstream key": "sk-canary-upstream-a6",
    "header": "canary-header-b5",
    "user": "canary-user-c4",
    "session": "canary-session-d3",
}
TOOL = {
    "type": "function",
    "function": {
        "name": CANARIES["tool name"],
        "description": CANARIES["tool description"],
        "parameters": {
            "type": "object",
            "properties": {CANARIES["property"]: {"type": "integer"}},
            "required": [CANARIES["property"]],
        },
    },
}
CALL = {"name": CANARIES["tool name"], "arguments": json.dumps({CANARIES["property"]: CANARIES["argument"]})}
MESSAGES: list[Any] = [
    {"role": "system", "content": CANARIES["system"]},
    {"role": "user", "content": CANARIES["prompt"]},
    {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": CALL}]},
    {"role": "tool", "tool_call_id": "call_1", "content": CANARIES["tool result"]},
]
STEPS = (
    "exacto_plugin.litellm_hooks.http.middleware:ExactoMiddleware._rewrite",
    "exacto_plugin.litellm_hooks.routing.router:Routing.filter",
    "exacto_plugin.litellm_hooks.routing.router:Routing.select_pool",
    "exacto_plugin.litellm_hooks.routing.router:Routing.record_attempt",
    "exacto_plugin.litellm_hooks.scoring.scorer:ResponseScorer.record_answer",
    "exacto_plugin.litellm_hooks.runtime.roster_sync:RosterSync.recompute",
)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The probe inside the proxy of this module."""
    return Probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the proxy of this module keeps its records in."""
    return tmp_path_factory.mktemp("store") / "records.sqlite"


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, probe: Probe, store: Path) -> Proxy:
    """Four deployments of one model group, so that verdicts change, one behind a wildcard, and a key for the client."""
    key = CANARIES["upstream key"]
    wild = deployment(provider_server, "wild", "wild/*")
    wild["litellm_params"]["model"] = "openai/*"
    config = {
        "model_list": [
            *({**deployment(provider_server, name), **_keyed(provider_server, name, key)} for name in "abcd"),
            wild,
        ],
        "litellm_settings": {"callbacks": [CALLBACK]},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "exacto_settings": {
            "store": {"url": f"sqlite:///{store}", "decision_share": 1.0},
            "curated": {"kimi": ["a", "b"], "wild/none": ["nobody"]},
            "tiers": {
                "preset": "openrouter",
                "recompute_interval_s": 0.2,
                "openrouter": {"min_peers": 2, "tool_call_requests": 2},
            },
        },
    }
    return start_proxy(config, keys={CANARIES["client key"]: {}}, environment=probe.environment)


def _keyed(providers: SimulatedProviders, name: str, key: str) -> dict[str, Any]:
    params = {"model": "openai/kimi", "api_base": providers.api_base(name), "api_key": key}
    return {"litellm_params": params}


def _ask(proxy: Proxy, model: str, **more: Any) -> None:
    """One request full of canaries; how it ends does not matter here."""
    body = {"messages": MESSAGES, "tools": False, "user": CANARIES["user"], **more}
    extra = {"tools": [TOOL], "session_id": CANARIES["session"], **body.pop("extra_body", {})}
    headers = {"x-canary": CANARIES["header"]}
    with suppress(openai.APIError):
        ask(proxy.client(CANARIES["client key"]), model, extra_body=extra, extra_headers=headers, **body)


ACTS = (Act.VALID, Act.INVALID_JSON, Act.UNKNOWN_NAME, Act.SCHEMA_MISMATCH, Act.TEXT, 500, Act.DROP)


def _traffic(proxy: Proxy, providers: SimulatedProviders, *acts: Act | int) -> None:
    """Good and bad answers, failures, refusals and malformed wishes, whole and streamed."""
    for act in acts:
        for name in "abcd":
            providers.control.behave(name, always=act if name != "d" else Act.INVALID_JSON, content=CANARIES["answer"])
        for stream in (False, True):
            for name in "abcd":
                _ask(proxy, name, stream=stream)
            for model in ("kimi", "kimi:exacto", "kimi:floor", "wild/some", "wild/none:exacto", "unknown:exacto"):
                _ask(proxy, model, stream=stream)
    _ask(proxy, "kimi", extra_body={"provider": {CANARIES["prompt"]: 1}})
    _ask(proxy, "kimi", extra_body={"provider": {"sort": CANARIES["prompt"]}})
    _ask(proxy, "kimi", extra_body={"models": [CANARIES["prompt"], "kimi:nitro"]})
    httpx.post(f"{proxy.base_url}/v1/chat/completions", content=CANARIES["prompt"].encode(), trust_env=False)


def _found(where: str, text: str) -> list[str]:
    return [f"{what} in {where}" for what, canary in CANARIES.items() if canary in text]


def test_nothing_of_it_is_told(proxy: Proxy, providers: SimulatedProviders, probe: Probe, store: Path) -> None:
    """After all kinds of traffic, and with faults whose errors quote everything, no output holds a canary."""
    _traffic(proxy, providers, *ACTS)
    everything = " ".join(CANARIES.values())
    probe.fail(dict.fromkeys(STEPS, everything))
    _traffic(proxy, providers, Act.VALID, 500)
    eventually(lambda: {"body", "filter", "recompute"} <= api(proxy, "status").json()["faults"].keys(), True)
    probe.fail({})
    _traffic(proxy, providers, Act.VALID)
    eventually(lambda: "was insufficient_data" in probe.log(), True)

    assert "failed with InjectedError" in probe.log()
    told = {"the log": probe.log(), "metrics": probe.scrape()}
    for path in ("status", "models", "models/kimi", "models/wild/some", f"models/{CANARIES['prompt']}"):
        told[path] = api(proxy, path).text
    for path in ("audit", "why?deployment=a", "report", "audit?kinds=decision&kinds=deployment&limit=10000"):
        told[path] = api(proxy, path).raise_for_status().text
    eventually(lambda: _decisions(store) > 50, True)
    told |= {file.name: file.read_bytes().decode("latin-1") for file in store.parent.iterdir()}
    assert "kimi" in told[store.name] + told[f"{store.name}-wal"]
    assert '"tier"' in told["models"]
    assert "exacto_tool_call_evaluations_total" in told["metrics"]
    found = [one for where, text in told.items() for one in _found(where, text)]
    assert found == [f"prompt in models/{CANARIES['prompt']}"], "the only place: the path that was asked for, told back"


def _decisions(store: Path) -> int:
    """How many requests are on record."""
    with sqlite3.connect(store) as connection:
        return int(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])


def test_the_canaries_were_there(proxy: Proxy, providers: SimulatedProviders) -> None:
    """What was looked for did reach the provider, as far as LiteLLM passes it on: finding nothing means something."""
    providers.control.reset()
    for name in "abcd":
        providers.control.behave(name, content=CANARIES["answer"], always=Act.TEXT)
    _ask(proxy, "a")
    (seen,) = providers.control.seen("a")
    sent = json.dumps(seen)
    missing = {what for what, canary in CANARIES.items() if canary not in sent}
    assert missing <= {"answer", "client key", "header", "user"}

"""What the other end-to-end tests stand on: a stock LiteLLM proxy without the plugin, over simulated providers."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import openai
import pytest
from jsonschema import Draft7Validator

from tests.support.proxy.observation import eventually, seen_in
from tests.support.proxy.proxy import Proxy, ProxyDiedError, deployment
from tests.support.proxy.questions import MESSAGES, PARAMETERS, TOOLS

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

KEYS: dict[str, dict[str, Any]] = {
    "sk-kimi": {"models": ["kimi"], "team_id": "team-1", "metadata": {"tags": ["paid"]}},
    "sk-glm": {"models": ["glm"]},
    "sk-capped": {"model_max_budget": {"kimi": {"budget_limit": 0.000001, "time_period": "1d"}}},
}


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """Two deployments of one model group, one of another, and three restricted keys."""
    prices: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    model_list = [
        deployment(provider_server, "alpha", **prices),
        deployment(provider_server, "beta", **prices),
        deployment(provider_server, "gamma", "glm"),
    ]
    return start_proxy({"model_list": model_list, "router_settings": {"num_retries": 0}}, keys=KEYS)


def _arguments(client: openai.OpenAI, model: str = "kimi", *, stream: bool = False) -> str:
    """The arguments of the one call in an answer."""
    asked: Any = {"model": model, "messages": MESSAGES, "tools": TOOLS}
    if not stream:
        (call,) = client.chat.completions.create(**asked).choices[0].message.tool_calls or []
        return str(call.function.arguments)
    deltas = [
        call.function.arguments or ""
        for chunk in client.chat.completions.create(**asked, stream=True)
        for call in (chunk.choices[0].delta.tool_calls or () if chunk.choices else ())
    ]
    return "".join(deltas)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_tool_request_is_answered(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """Whole and streamed tool requests reach both deployments and come back with valid calls."""
    made = 0

    def answered_by() -> str:
        nonlocal made
        made += 1
        before = providers.control.requests("alpha")
        assert Draft7Validator(PARAMETERS).is_valid(json.loads(_arguments(proxy.client(), stream=stream)))
        return "alpha" if providers.control.requests("alpha") > before else "beta"

    assert seen_in(answered_by, {"alpha", "beta"}) == {"alpha", "beta"}
    assert sum(providers.control.requests(name) for name in ("alpha", "beta")) == made
    seen = providers.control.seen("alpha")[0]
    assert seen["headers"]["authorization"] == "Bearer sk-upstream-alpha"
    assert seen["body"]["tools"] == TOOLS


def test_behaviours_change_at_once(proxy: Proxy, providers: SimulatedProviders) -> None:
    """What a provider is told to do reaches the client of the running proxy."""
    providers.control.behave("gamma", next=["invalid_json", 500, "valid"])
    with pytest.raises(ValueError, match=r"."):
        json.loads(_arguments(proxy.client(), "glm"))
    with pytest.raises(openai.InternalServerError):
        _arguments(proxy.client(), "glm")
    assert json.loads(_arguments(proxy.client(), "glm"))


def test_restricted_keys_are_restricted(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A key may call its models and no other; an unknown key may call nothing."""
    assert _arguments(proxy.client("sk-kimi"))
    for key, error in (("sk-glm", openai.PermissionDeniedError), ("sk-nobody", openai.AuthenticationError)):
        with pytest.raises(error):
            _arguments(proxy.client(key))


def test_keys_change_at_once(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A key that is added while the proxy runs works with the next request."""
    proxy.set_keys({**KEYS, "sk-late": {"models": ["glm"]}})
    try:
        assert _arguments(proxy.client("sk-late"), "glm")
    finally:
        proxy.set_keys(KEYS)


def test_the_log_is_at_hand(proxy: Proxy, providers: SimulatedProviders) -> None:
    """What LiteLLM writes can be read; it neither looks for prices on the network nor complains."""
    assert "Proxy initialized with Config" in proxy.log()
    assert "cost map fetch" not in proxy.log()


def test_a_proxy_that_cannot_start_is_told(tmp_path: Path) -> None:
    """A proxy that ends while starting fails the test with the end of its log, not with a time-out."""
    broken = Proxy({"model_list": []}, tmp_path, options=["--no_such_option"])
    with pytest.raises(RuntimeError, match="no_such_option"), broken:
        pass


def test_a_proxy_that_dies_is_told(proxy: Proxy) -> None:
    """A proxy that ends during a test is noticed, with the end of its log. The last test: nothing is left to ask."""
    assert proxy.pid is not None
    os.killpg(proxy.pid, signal.SIGKILL)
    eventually(lambda: proxy.pid, None)
    with pytest.raises(ProxyDiedError, match=r"the proxy died:\n.+"):
        proxy.check_alive()
    proxy.stop()
    proxy.check_alive()

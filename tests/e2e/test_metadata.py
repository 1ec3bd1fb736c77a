"""``X-Exacto-Metadata`` and listed variants through a real proxy and the real clients, on every surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import api
from tests.support.proxy.openai_client import asked, config, post, prices
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.questions import MESSAGES, PARAMETERS, TOOLS

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

HEADER = {"X-Exacto-Metadata": "enabled"}
KIMI = ("cheap", "dear")
FAILED = [("cheap", "server_error")]
FLAT: Any = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": False}]
ANTHROPIC: Any = [{"name": "get_weather", "input_schema": PARAMETERS}]


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """Two deployments with prices; client headers are forwarded upstream, as far as anybody lets them."""
    entries = [
        deployment(provider_server, "cheap", **prices(1, 1)),
        deployment(provider_server, "dear", **prices(2, 2)),
        deployment(provider_server, "wild", "wild/*", model="openai/*"),
    ]
    settings = config(entries, router={"num_retries": 1, "disable_cooldowns": True}, expose={"variants": True})
    return start_proxy({**settings, "general_settings": {"forward_client_headers_to_llm_api": True}})


def ask(proxy: Proxy, surface: str, *, stream: bool, headers: Any = HEADER) -> Any:
    """One request for ``kimi:floor`` through the surface's own client; the last object that came of it."""
    given: dict[str, Any] = {"model": "kimi:floor", "extra_headers": headers, "stream": stream}
    if surface == "messages":
        with proxy.anthropic() as client:
            answer: Any = client.messages.create(**given, max_tokens=99, messages=MESSAGES, tools=ANTHROPIC)
            return list(answer)[-1] if stream else answer
    if surface == "responses":
        answer = proxy.client().responses.create(**given, input="Weather in Lisbon?", tools=FLAT)
    elif surface == "text":
        answer = proxy.client().completions.create(**given, prompt="Say hello")
    else:
        usage: Any = {"stream_options": {"include_usage": True}} if surface == "usage" and stream else {}
        answer = proxy.client().chat.completions.create(**given, **usage, messages=MESSAGES, tools=TOOLS)
    return list(answer)[-1] if stream else answer


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("surface", ["chat", "usage", "text", "responses", "messages"])
def test_metadata(proxy: Proxy, providers: SimulatedProviders, surface: str, stream: bool) -> None:
    """The real clients give the object out; it tells of the failed attempt and of the one that answered."""
    # LiteLLM opens streams of text completions when they are read, and tries nobody else then.
    failing = surface != "text"
    providers.control.behave("cheap", always=500 if failing else None)
    told = ask(proxy, surface, stream=stream).exacto_metadata
    assert (told["model_group"], told["suffixes"], told["policy"]) == ("kimi", ["floor"], "price")
    answered = [("dear" if failing else "cheap", "answered")]
    assert [(one["deployment"], one["status"]) for one in told["attempts"]] == FAILED[: int(failing)] + answered
    assert {one["deployment"] for one in told["candidates"]} == set(KIMI)
    assert {one["tier"] for one in told["candidates"]} == {"insufficient_data"}
    for seen in [*providers.control.seen("cheap"), *providers.control.seen("dear")]:
        assert "x-exacto-metadata" not in {name.lower() for name in seen["headers"]}
        assert "exacto_metadata" not in seen["body"]


@pytest.mark.parametrize("headers", [{}, {"X-Exacto-Metadata": "no"}], ids=["without", "other"])
def test_only_who_asks_is_told(proxy: Proxy, providers: SimulatedProviders, headers: dict[str, str]) -> None:
    """Without the header, or with another value, answers are as they always were."""
    for stream in (False, True):
        assert not hasattr(ask(proxy, "chat", stream=stream, headers=headers), "exacto_metadata")


def test_errors_have_it(proxy: Proxy, providers: SimulatedProviders) -> None:
    """An error tells who was tried."""
    for name in KIMI:
        providers.control.behave(name, always=500)
    with pytest.raises(openai.InternalServerError) as raised:
        ask(proxy, "chat", stream=False)
    told = raised.value.response.json()["exacto_metadata"]
    assert [one["status"] for one in told["attempts"]] == ["server_error"] * 2
    providers.control.behave("cheap", always=Act.VALID)


def test_variants_are_listed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The catalogue has the names that may be asked, and each of them can be."""
    listed = [model.id for model in proxy.client().models.list()]
    assert [name for name in listed if name.startswith("kimi")] == ["kimi", "kimi:exacto", "kimi:floor", "kimi:nitro"]
    short = proxy.request("GET", "/models").json()
    assert "kimi:nitro" in [one["id"] for one in short["data"]]
    for name in ("kimi:exacto", "kimi:nitro"):
        assert post(proxy, "/v1/chat/completions", {"model": name, "messages": MESSAGES}).json()["model"] == name
    assert sum(asked(providers, KIMI).values()) == 2


def test_nothing_failed_on_the_way(proxy: Proxy) -> None:
    """After all of the above not one fault of our own was counted. The last test of this module."""
    assert api(proxy, "status").json()["faults"] == {}

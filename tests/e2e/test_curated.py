"""Curated lists through a real proxy: ``:exacto`` is a filter where one is configured, and says why it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from tests.support.proxy.observation import eventually, seen_in
from tests.support.proxy.openai_client import ask, asked, config, error_of, prices
from tests.support.proxy.proxy import deployment
from tests.support.proxy.questions import MESSAGES

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

KIMI = ("k-fire", "k-moon", "k-other")
COOLDOWN_S = 30


def _model_list(server: SimulatedProviders) -> list[dict[str, Any]]:
    def entry(name: str, group: str, provider: str, **params: Any) -> dict[str, Any]:
        return deployment(server, name, group, info={"provider": provider}, **params)

    return [
        # By provider: a base slug means all of its endpoints.
        entry("k-fire", "kimi", "fireworks_ai/turbo", **prices(3, 3)),
        entry("k-moon", "kimi", "Moonshot AI", **prices(2, 2)),
        entry("k-other", "kimi", "other", **prices(1, 1)),
        # By deployment id.
        entry("g-one", "glm", "zhipu"),
        entry("g-two", "glm", "zhipu"),
        # Nothing that is configured is on the list; the first has a configured fallback.
        entry("q-one", "qwen", "alibaba"),
        entry("e-one", "empty", "baidu"),
        # No list at all.
        entry("p-one", "plain", "somebody"),
        # Two that can cool down.
        entry("c-one", "cool", "vetted"),
        entry("c-two", "cool", "vetted"),
        entry("c-other", "cool", "other"),
    ]


NOBODY = ["nobody", "no-such-id"]
CURATED = {"kimi": ["Fireworks", "moonshot"], "glm": ["g-two"], "qwen": NOBODY, "empty": NOBODY, "cool": ["vetted"]}


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """Groups with a list by provider, by deployment id, with a list nobody is on, and without one."""
    router = {
        "num_retries": 2,
        "cooldown_time": COOLDOWN_S,
        "fallbacks": [{"qwen": ["glm"]}],
        "model_group_alias": {"k2": "kimi"},
    }
    return start_proxy(config(_model_list(provider_server), router=router, curated=CURATED))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("tools", [True, False], ids=["tools", "no-tools"])
def test_lists_by_provider(proxy: Proxy, providers: SimulatedProviders, tools: bool, stream: bool) -> None:
    """Only listed providers are asked, whatever LiteLLM would have picked, with tools and without."""
    for slug in ("kimi:exacto", "k2:exacto") * 12:  # so that chance leaves one of two out once in 8 million runs
        reply = ask(proxy, slug, tools=tools, stream=stream)
        assert (reply.policy, reply.model) == ("exacto", slug)
        assert reply.deployment in {"k-fire", "k-moon"}
        assert reply.headers["x-exacto-provider"] in {"fireworks_ai/turbo", "Moonshot AI"}
    counts = asked(providers, KIMI)
    assert counts["k-other"] == 0
    assert min(counts["k-fire"], counts["k-moon"]) > 0  # inside the list LiteLLM balances


def test_lists_by_deployment_id(proxy: Proxy, providers: SimulatedProviders) -> None:
    """An entry may name one deployment."""
    for _ in range(6):
        assert ask(proxy, "glm:exacto").deployment == "g-two"
    assert asked(providers, ["g-one"]) == {"g-one": 0}


def test_a_list_holds_under_any_sort(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``:exacto`` anywhere in the slug enforces the list; another sort then orders what is left."""
    for slug in ("kimi:exacto:floor", "kimi:floor:exacto:floor"):
        assert ask(proxy, slug).deployment == "k-moon"
    assert ask(proxy, "kimi:exacto", provider={"sort": "price"}).deployment == "k-moon"
    assert ask(proxy, "kimi:floor").deployment == "k-other"
    assert ask(proxy, "kimi", provider={"sort": "exacto"}).policy == "exacto"


def test_without_a_list_exacto_is_a_sort(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A model without a list is served under ``:exacto``, and without the suffix lists mean nothing."""
    assert ask(proxy, "plain:exacto", tools=False).policy == "exacto"
    assert seen_in(lambda: ask(proxy, "kimi").deployment, KIMI) == set(KIMI)


def test_retries_stay_on_the_list(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A failing listed deployment is followed by the other listed one, then by LiteLLM's error; by nobody else."""
    providers.control.behave("k-fire", next=[500])
    providers.control.behave("k-moon", next=[500])
    assert ask(proxy, "kimi:exacto").deployment in {"k-fire", "k-moon"}
    counts = asked(providers, KIMI)
    assert counts["k-other"] == 0
    assert sum(counts.values()) == 3


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nobody_on_the_list(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """An empty list is a 404 in OpenAI's shape that names the filter, its value and who serves the model."""
    with pytest.raises(openai.NotFoundError) as raised:
        ask(proxy, "empty:exacto", stream=stream)
    error = error_of(raised.value)
    assert (error["type"], error["param"], error["code"]) == ("exacto_no_endpoints", "curated", "404")
    for part in ("empty", "curated", "nobody", "no-such-id", "baidu"):
        assert part in error["message"]
    assert raised.value.response.headers["x-exacto-policy"] == "exacto"
    assert asked(providers, ["e-one"]) == {"e-one": 0}


def test_refusals_on_messages(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Anthropic's client gets Anthropic's error shape."""
    with proxy.anthropic() as client, pytest.raises(anthropic.NotFoundError) as raised:
        client.messages.create(model="empty:exacto", max_tokens=9, messages=MESSAGES)
    body: Any = raised.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "exacto_no_endpoints"
    assert "curated" in body["error"]["message"]


def test_refusals_walk_fallbacks(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A configured fallback is asked after a refusal, and so is one that the request brings."""
    reply = ask(proxy, "qwen:exacto")
    assert reply.deployment in {"g-one", "g-two"}
    assert ask(proxy, "qwen:exacto", models=["qwen"]).deployment == "q-one"
    for _ in range(4):
        assert ask(proxy, "qwen:exacto", fallbacks=["glm:exacto"]).deployment == "g-two"


def test_a_refusal_harms_nobody(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Neither the refused model's deployments nor the fallback's are put into cooldown by refusals."""
    for _ in range(12):
        ask(proxy, "qwen:exacto")
    with pytest.raises(openai.NotFoundError):
        ask(proxy, "qwen:exacto", fallbacks=["qwen:exacto:floor"])
    both = {"g-one", "g-two"}
    assert seen_in(lambda: ask(proxy, "glm").deployment, both) == both
    assert ask(proxy, "qwen").deployment == "q-one"


def test_everybody_on_the_list_cools_down(proxy: Proxy, providers: SimulatedProviders) -> None:
    """429 with Retry-After while those on the list cool down; others of the model are still served without suffix."""
    for name in ("c-one", "c-two"):
        providers.control.behave(name, always=429)
        with pytest.raises(openai.APIStatusError):
            ask(proxy, name)

    def refused() -> str | None:
        try:
            ask(proxy, "cool:exacto")
        except openai.RateLimitError as error:
            return str(error_of(error)["type"])
        return None

    eventually(refused, "exacto_no_endpoints")
    before = asked(providers, ["c-one", "c-two"])
    with pytest.raises(openai.RateLimitError) as raised:
        ask(proxy, "cool:exacto")
    assert 0 < int(raised.value.response.headers["retry-after"]) <= COOLDOWN_S
    assert "cooling down" in error_of(raised.value)["message"]
    with proxy.anthropic() as client, pytest.raises(anthropic.RateLimitError) as told:
        client.messages.create(model="cool:exacto", max_tokens=9, messages=MESSAGES)
    assert int(told.value.response.headers["retry-after"]) > 0
    assert asked(providers, ["c-one", "c-two"]) == before
    assert ask(proxy, "cool").deployment == "c-other"
    assert ask(proxy, "cool:exacto", models=["cool"]).deployment == "c-other"


def test_an_error_of_an_upstream_is_not_taken_for_a_refusal(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A 400 of a provider stays what it is, also when a fallback was refused before it or after it."""
    providers.control.behave("p-one", always=400)
    for slug, fallbacks in (("plain", ["qwen:exacto"]), ("qwen:exacto", ["plain"])):
        with pytest.raises(openai.APIStatusError) as raised:
            ask(proxy, slug, fallbacks=fallbacks)
        error = error_of(raised.value)
        refused = error["type"] == "exacto_no_endpoints"
        assert refused == slug.startswith("qwen"), error
        assert raised.value.status_code == (404 if refused else 400)


def test_one_deployment_by_its_id(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Who pins a deployment id gets it: no policy, no list."""
    for slug in ("k-other", "k-other:exacto"):
        assert ask(proxy, slug).policy is None
    assert asked(providers, KIMI) == {"k-fire": 0, "k-moon": 0, "k-other": 2}

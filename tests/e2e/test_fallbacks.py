"""Retries and fallbacks through a real proxy: the next attempt goes elsewhere, and every entry has its own suffixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.openai_client import ask, asked, bodies, config, prices
from tests.support.proxy.proxy import deployment

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

A = ("a-one", "a-two", "a-three")
B = ("b-cheap", "b-dear")
KEYS: dict[str, dict[str, Any]] = {
    "sk-own-fallbacks": {"models": ["own", "b", "c"], "router_settings": {"fallbacks": [{"own": ["b:floor"]}]}},
}


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """LiteLLM's own number of attempts: two retries, one for ``once``; fallbacks with suffixes for ``sent``."""

    def entry(name: str, group: str, **params: Any) -> dict[str, Any]:
        return deployment(provider_server, name, group, **params)

    model_list = [
        *(entry(name, "a", **prices(rank, rank)) for rank, name in enumerate(A, 1)),
        *(entry(name, "b", **prices(rank, rank)) for rank, name in enumerate(B, 1)),
        entry("c-one", "c"),
        *(entry(f"once-{number}", "once", num_retries=1) for number in range(4)),
        *(entry(f"many-{number}", "many", num_retries=5) for number in range(4)),
        entry("sent-one", "sent", num_retries=0),
        entry("own-one", "own", num_retries=0),
    ]
    router = {"num_retries": 2, "disable_cooldowns": True, "fallbacks": [{"sent": ["b:floor"]}, {"b": ["c"]}]}
    return start_proxy(config(model_list, router=router), keys=KEYS)


def _fail(providers: SimulatedProviders, names: tuple[str, ...], how: Act | int = 500) -> None:
    for name in names:
        providers.control.behave(name, always=how)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_each_retry_goes_elsewhere(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """Two retries reach two deployments that were not asked yet; then the error of the last is the answer."""
    for rounds in range(1, 5):
        _fail(providers, A)
        with pytest.raises(openai.InternalServerError):
            ask(proxy, "a", stream=stream)
        assert asked(providers, A) == dict.fromkeys(A, rounds)
    providers.control.behave("a-two", always=Act.VALID)
    reply = ask(proxy, "a", stream=stream)
    assert (reply.deployment, reply.model) == ("a-two", "a")


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("slug", ["a", "a:exacto", "a:floor"])
def test_num_retries_of_the_request(
    proxy: Proxy, providers: SimulatedProviders, slug: str, retries: int, attempts: int
) -> None:
    """``num_retries`` of a request is kept to the letter, 0 and 1 included, and nobody is asked twice."""
    _fail(providers, A)
    with pytest.raises(openai.InternalServerError):
        ask(proxy, slug, num_retries=retries)
    counts = asked(providers, A)
    assert sum(counts.values()) == attempts
    assert max(counts.values()) == 1
    if slug == "a:floor":
        assert [counts[name] for name in A] == [1] * attempts + [0] * (3 - attempts)


@pytest.mark.parametrize(("group", "attempts"), [("once", 2), ("many", 6)])
def test_num_retries_of_a_deployment(proxy: Proxy, providers: SimulatedProviders, group: str, attempts: int) -> None:
    """``num_retries`` of a deployment beats the router's; with more retries than deployments all are asked first."""
    names = tuple(f"{group}-{number}" for number in range(4))
    _fail(providers, names)
    with pytest.raises(openai.InternalServerError):
        ask(proxy, group)
    counts = asked(providers, names)
    assert sum(counts.values()) == attempts
    assert sum(1 for count in counts.values() if count) == min(attempts, 4)


@pytest.mark.parametrize("how", [500, 503, 429, 401, 408], ids=str)
def test_a_sort_falls_through(proxy: Proxy, providers: SimulatedProviders, how: int) -> None:
    """``:floor`` asks in the order of prices until somebody answers."""
    _fail(providers, A[:2], how)
    for _ in range(3):
        assert ask(proxy, "a:floor").deployment == "a-three"
    assert asked(providers, A) == {"a-one": 3, "a-two": 3, "a-three": 3}


def test_a_hanging_deployment_is_left(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A time-out is followed by another deployment."""
    _fail(providers, ("a-one",), Act.HANG)
    assert ask(proxy, "a:floor", timeout=2).deployment == "a-two"
    assert asked(providers, A) == {"a-one": 1, "a-two": 1, "a-three": 0}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_configured_fallbacks(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """A configured ``b:floor`` is asked by price; the plain name beside it is not."""
    _fail(providers, ("sent-one",))
    for _ in range(6):
        assert ask(proxy, "sent", stream=stream).arguments
    assert asked(providers, B) == {"b-cheap": 6, "b-dear": 0}
    assert {body["model"] for body in bodies(providers, B)} == {"b"}


def test_a_suffix_does_not_outlive_its_entry(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``b:floor`` fails too and its own fallback ``c`` is asked, under no suffix."""
    _fail(providers, ("sent-one", *B))
    reply = ask(proxy, "sent", num_retries=1)
    assert (reply.policy, reply.deployment) == ("auto", "c-one")
    assert asked(providers, B) == {"b-cheap": 1, "b-dear": 1}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("field", ["models", "fallbacks"])
def test_entries_of_the_request(proxy: Proxy, providers: SimulatedProviders, field: str, stream: bool) -> None:
    """Each entry is asked in turn under its own suffixes."""
    _fail(providers, (*A, "b-cheap", "b-dear"))
    more: dict[str, Any] = {field: ["b:floor", "c:nitro"], "num_retries": 0}
    reply = ask(proxy, "a:floor", stream=stream, **more)
    assert reply.policy == "throughput"
    assert asked(providers, [*A, *B, "c-one"]) == {
        "a-one": 1,
        "a-two": 0,
        "a-three": 0,
        "b-cheap": 1,
        "b-dear": 0,
        "c-one": 1,
    }
    for body in bodies(providers, ["a-one", "b-cheap", "c-one"]):
        assert not [key for key in body if key in ("models", "fallbacks", "num_retries") or "exacto" in key]


def test_models_without_a_model(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The first of ``models`` is asked when no model is named; dictionaries work as entries of ``fallbacks``."""
    reply = ask(proxy, None, models=["a:floor", "c"])
    assert (reply.deployment, reply.policy, reply.model) == ("a-one", "price", "a:floor")
    _fail(providers, ("c-one",))
    more: dict[str, Any] = {"fallbacks": [{"model": "b:floor", "temperature": 0.5}], "num_retries": 0}
    assert ask(proxy, "c", **more).policy == "price"
    (body,) = bodies(providers, ["b-cheap"])
    assert body["temperature"] == 0.5


def test_the_same_model_under_another_suffix(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``models`` may name a model again under another suffix; who was asked already is not asked again."""
    _fail(providers, ("a-one",))
    reply = ask(proxy, "a:floor", models=["a:exacto"], num_retries=0)
    assert reply.policy == "exacto"
    assert reply.deployment in A[1:]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_fallbacks_of_a_key(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """Fallbacks in a key's own settings may carry suffixes too."""
    _fail(providers, ("own-one",))
    for _ in range(4):
        assert ask(proxy, "own", key="sk-own-fallbacks", stream=stream).arguments
    assert asked(providers, B) == {"b-cheap": 4, "b-dear": 0}


def test_headers_of_a_stream_that_may_move(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Where a stream could still go to a fallback the headers do not name a deployment; without fallbacks they do."""
    assert ask(proxy, "a", stream=True).deployment in A
    moving: list[tuple[str, dict[str, Any]]] = [("sent", {}), ("a", {"fallbacks": ["c"]}), ("a", {"models": ["c"]})]
    for model, more in moving:
        reply = ask(proxy, model, stream=True, **more)
        assert (reply.policy, reply.deployment) == ("auto", None)
        assert "x-exacto-tier" not in reply.headers
        assert ask(proxy, model, **more).deployment


def test_headers_of_errors(proxy: Proxy, providers: SimulatedProviders) -> None:
    """An error names the policy and the deployment that gave it."""
    _fail(providers, A, 400)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as raised:
            ask(proxy, "a:floor", stream=stream)
        headers = raised.value.response.headers
        assert (headers["x-exacto-policy"], headers["x-exacto-deployment"]) == ("price", "a-one")
        assert headers["x-exacto-decision"]

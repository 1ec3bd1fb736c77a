"""The ``provider`` object through a real proxy: hard filters, order, no fallbacks, soft wishes, keys and teams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.support.proxy.every_surface import ask_everywhere
from tests.support.proxy.observation import api, eventually
from tests.support.proxy.openai_client import ask, asked, bodies, config, error_of, prices
from tests.support.proxy.proxy import deployment

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

OURS = ("provider", "models", "fallbacks", "route", "disable_fallbacks")
FLEET = ("f-fire", "f-deep", "f-moon", "f-dark")
KEYS: dict[str, dict[str, Any]] = {
    "sk-picky": {
        "metadata": {"exacto": {"only": ["deepinfra", "moonshot"], "default_sort": "price"}},
        "team_metadata": {"exacto": {"ignore": ["deepinfra"], "default_sort": "latency"}},
    },
    "sk-team": {"team_metadata": {"exacto": {"default_sort": "throughput", "max_price": {"prompt": 2}}}},
    "sk-bad": {"metadata": {"exacto": {"default_sort": 1, "srt": 1, "ignore": ["fireworks", "dark"]}}},
}


def _fleet(server: SimulatedProviders) -> list[dict[str, Any]]:
    """Four providers of one model that declare different things, one of them nothing at all."""
    return [
        deployment(
            server,
            name,
            "fleet",
            info={"provider": provider, **declared},
            **(prices(price, 2 * price) if price else {}),
        )
        for name, provider, price, declared in (
            ("f-fire", "fireworks_ai/turbo", 3, {"quantization": "FP8", "zdr": True}),
            (
                "f-deep",
                "deepinfra",
                1,
                {"quantization": "bf16", "data_collection": "deny", "supported_parameters": ["tools", "tool_choice"]},
            ),
            ("f-moon", "Moonshot AI", 2, {}),
            ("f-dark", "dark", 0, {}),
        )
    ]


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A model of four providers with a curated list, and models to fall back from and to."""
    names = {"s-one": "stuck", "other": "glm", "cheap": "kimi", "c-one": "cheaper"}
    model_list = [
        *(deployment(provider_server, name, group, **prices(0.1, 0.1)) for name, group in names.items()),
        *(
            deployment(provider_server, name, "paced", **prices(at, at))
            for at, name in enumerate(("p-slow", "p-quick", "p-new"), 1)
        ),
        *_fleet(provider_server),
        deployment(provider_server, "listed", "gpt-5", info={"provider": "listed"}),
        deployment(provider_server, "unlisted", "home-made", info={"provider": "unlisted"}),
    ]
    router = {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"stuck": ["glm"]}]}
    settings: dict[str, Any] = {
        "curated": {"fleet": ["fireworks", "moonshot"]},
        "tiers": {"recompute_interval_s": 0.5},
        "model_groups": {"cheaper": {"ignore": ["nobody"]}},
    }
    return start_proxy(config(model_list, router=router, **settings), keys=KEYS)


@pytest.fixture
def proxy(running: Proxy, providers: SimulatedProviders) -> Proxy:
    """The proxy, over providers that begin anew."""
    return running


def _reached(proxy: Proxy, providers: SimulatedProviders, stream: bool = False, **more: Any) -> set[str]:
    """Everybody that one request may go to: all fail, and it is retried until all were asked."""
    providers.control.reset()
    for name in FLEET:
        providers.control.behave(name, always=500)
    with pytest.raises(openai.InternalServerError):
        ask(proxy, more.pop("model", "fleet"), stream=stream, num_retries=len(FLEET), **more)
    return {name for name, times in asked(providers, FLEET).items() if times}


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"only": ["fireworks"]}, {"f-fire"}),
    ({"only": ["DeepInfra", "f-moon", "nobody"]}, {"f-deep", "f-moon"}),
    ({"ignore": ["dark", "moonshot"]}, {"f-fire", "f-deep"}),
    ({"only": [], "ignore": None}, set(FLEET)),
    ({"only": ["deepinfra", "dark"], "ignore": ["dark"]}, {"f-deep"}),
    ({"max_price": {"prompt": 2}}, {"f-deep", "f-moon"}),
    ({"max_price": {"prompt": 9, "completion": "2"}}, {"f-deep"}),
    ({"quantizations": ["fp8"]}, {"f-fire"}),
    ({"quantizations": ["bf16", "unknown"]}, {"f-deep", "f-moon", "f-dark"}),
    ({"data_collection": "deny"}, {"f-fire", "f-deep"}),
    ({"data_collection": "allow", "zdr": False}, set(FLEET)),
    ({"zdr": True, "sort": "price"}, {"f-fire"}),
    ({"require_parameters": True, "order": ["moonshot"]}, set(FLEET) - {"f-deep"}),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("provider", "left"), FILTERS, ids=[str(provider) for provider, _ in FILTERS])
def test_hard_filters(
    proxy: Proxy, providers: SimulatedProviders, provider: dict[str, Any], left: set[str], stream: bool
) -> None:
    """Whoever a filter lets pass is asked, sooner or later; nobody else is, however many attempts there are."""
    assert _reached(proxy, providers, stream, provider=provider, seed=7) == left


def test_filters_add_up_with_a_curated_list(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``only`` narrows the curated list that ``:exacto`` enforces, and the list narrows it; a sort orders the rest."""
    assert _reached(proxy, providers, model="fleet:exacto", provider={"only": ["moonshot", "dark"]}) == {"f-moon"}
    assert _reached(proxy, providers, model="fleet:exacto:floor", provider={"ignore": ["dark"]}) == {"f-fire", "f-moon"}


@pytest.mark.parametrize(
    ("provider", "named"),
    [
        ({"only": ["nobody"]}, "only"),
        ({"ignore": [*FLEET]}, "ignore"),
        ({"max_price": {"prompt": 0.5}}, "max_price"),
        ({"quantizations": ["int4"]}, "quantizations"),
        ({"zdr": True, "data_collection": "deny", "ignore": ["fireworks"]}, "zdr"),
        ({"order": ["nobody"], "allow_fallbacks": False}, "order"),
        ({"require_parameters": True, "only": ["deepinfra"]}, "require_parameters"),
    ],
    ids=str,
)
def test_filters_that_leave_nobody(
    proxy: Proxy, providers: SimulatedProviders, provider: dict[str, Any], named: str
) -> None:
    """A 404 that names the filter, its value and the providers that exist; nobody is asked."""
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as raised:
            ask(proxy, "fleet", provider=provider, stream=stream, seed=7)
        error = error_of(raised.value)
        assert (error["type"], error["param"]) == ("exacto_no_endpoints", named)
        assert "Providers of this model: Moonshot AI, dark, deepinfra, fireworks_ai/turbo." in error["message"]
        assert named in error["message"]
    assert sum(asked(providers, FLEET).values()) == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_prices_that_litellm_knows_are_known(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """A model of LiteLLM's list needs no price of its own; a refusal says whose price is not known."""
    caps = {"max_price": {"prompt": 100, "completion": 100}}
    assert ask(proxy, "gpt-5", provider=caps, stream=stream).deployment == "listed"
    with pytest.raises(openai.NotFoundError) as raised:
        ask(proxy, "home-made", provider=caps, stream=stream)
    assert error_of(raised.value)["message"] == (
        "No deployment of home-made is left by max_price = {'prompt': 100.0, 'completion': 100.0}; the price of"
        " unlisted is not known. Providers of this model: unlisted."
    )
    with pytest.raises(openai.NotFoundError) as raised:
        ask(proxy, "gpt-5", provider={"max_price": {"prompt": 1}}, stream=stream)
    assert "not known" not in error_of(raised.value)["message"]
    assert asked(providers, ["listed", "unlisted"]) == {"listed": 1, "unlisted": 0}


def test_every_surface_is_filtered(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Chat, text completions, Responses, Messages and embeddings, whole and streamed."""
    ask_everywhere(proxy, "fleet", {"provider": {"only": ["deepinfra", "dark"], "sort": "price"}})
    assert {name for name, times in asked(providers, FLEET).items() if times} == {"f-deep"}
    for body in bodies(providers, ["f-deep"]):
        assert not [key for key in body if key in OURS]


def test_order(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The listed are tried in their order, then the others; a sort and a suffix beside it count for nothing."""
    wish = {"order": ["nobody", "moonshot", "f-fire"], "sort": "price"}
    for stream, failing in ((False, ()), (True, ()), (False, ("f-moon",)), (True, ("f-moon",))):
        for name in failing:
            providers.control.behave(name, always=500)
        reply = ask(proxy, "fleet:floor", provider=wish, stream=stream, num_retries=3)
        assert reply.policy == "order"
        assert reply.deployment == ("f-fire" if failing else "f-moon")
    providers.control.behave("f-fire", always=500)
    assert ask(proxy, "fleet", provider=wish, num_retries=3).deployment in {"f-deep", "f-dark"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_without_fallbacks(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """Only the first one, or those that are listed, are asked, once each; then the upstream's own error is told."""
    wish: dict[str, Any] = {"allow_fallbacks": False}
    assert _reached(proxy, providers, stream, provider={**wish, "sort": "price"}) == {"f-deep"}
    assert asked(providers, ["f-deep"]) == {"f-deep": 1}
    assert _reached(proxy, providers, stream, provider={**wish, "order": ["dark", "moonshot"]}) == {"f-dark", "f-moon"}
    assert len(_reached(proxy, providers, stream, provider=wish)) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_configured_and_own_fallbacks(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """Without fallbacks the operator's are off as well; models that the client lists itself are still tried."""
    providers.control.behave("s-one", always=500)
    ask(proxy, "stuck", stream=stream)
    assert asked(providers, ["other"]) == {"other": 1}
    with pytest.raises(openai.InternalServerError):
        ask(proxy, "stuck", stream=stream, provider={"allow_fallbacks": False})
    assert asked(providers, ["other"]) == {"other": 1}
    ask(proxy, "stuck", stream=stream, provider={"allow_fallbacks": False}, models=["glm:floor"])
    assert asked(providers, ["other"]) == {"other": 2}


def test_entries_with_wishes_of_their_own(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A fallback may bring its own ``provider``; the others keep the request's."""
    providers.control.behave("s-one", always=500)
    own = {"model": "fleet", "provider": {"only": ["moonshot"]}}
    reply = ask(proxy, "stuck", fallbacks=[own, "kimi"], provider={"sort": "price"})
    assert (reply.deployment, reply.policy) == ("f-moon", "auto")
    providers.control.behave("f-moon", always=500)
    reply = ask(proxy, "stuck", fallbacks=[own, "kimi"], provider={"sort": "price"})
    assert (reply.deployment, reply.policy) == ("cheap", "price")
    for body in bodies(providers, ["s-one", "f-moon", "cheap"]):
        assert not [key for key in body if key in OURS]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_models_sorted_together(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """With ``partition: none`` the model with the best deployment is asked first, else the first of the list."""
    for partition, wanted in (("none", "cheaper"), ("model", "fleet")):
        wish = {"sort": {"by": "price", "partition": partition}}
        reply = ask(proxy, "fleet:exacto", models=["cheaper:nitro"], provider=wish, stream=stream)
        assert reply.policy == "price"
        assert reply.model == {"cheaper": "cheaper:nitro", "fleet": "fleet:exacto"}[wanted]
    assert asked(providers, ["c-one"]) == {"c-one": 1}


def test_soft_wishes(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Who is too slow is tried later, not never; what is measured comes into force with the next recompute."""
    providers.control.behave("p-slow", latency_s=4.0)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda name: ask(proxy, name), ["p-slow", "p-quick"] * 6))
    wish = {"preferred_max_latency": {"p50": 3.5}, "sort": "price"}
    # Answers are counted after the client has them, so it may take a recompute more until the slow one is known.
    known = {**wish, "ignore": ["p-quick"]}
    eventually(lambda: ask(proxy, "paced", provider=known).deployment, "p-new")
    eventually(lambda: ask(proxy, "paced", provider=wish).deployment, "p-quick")
    providers.control.reset()
    providers.control.behave("p-quick", always=500)
    assert ask(proxy, "paced", provider=wish, num_retries=3).deployment == "p-new"  # unknown is better than slow
    providers.control.behave("p-new", always=500)
    assert ask(proxy, "paced", provider=wish, num_retries=3).deployment == "p-slow"
    unmeetable = {"preferred_min_throughput": 1e9, "preferred_max_latency": {"p99": 0.000001}, "only": ["p-slow"]}
    assert ask(proxy, "paced", provider=unmeetable).deployment == "p-slow"


def test_keys_and_teams(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Filters of key, team and client add up; the key's default sort comes before the team's."""
    assert _reached(proxy, providers, key="sk-picky") == {"f-moon"}
    assert _reached(proxy, providers, key="sk-team") == {"f-deep", "f-moon"}
    providers.control.reset()
    assert [ask(proxy, "fleet", key=key).policy for key in ("sk-picky", "sk-team")] == ["price", "throughput"]
    assert ask(proxy, "fleet", key="sk-picky", provider={"sort": "exacto"}).policy == "exacto"
    with pytest.raises(openai.NotFoundError) as raised:
        ask(proxy, "fleet", key="sk-picky", provider={"only": ["dark"]})
    assert "only" in error_of(raised.value)["message"]


def test_malformed_metadata(proxy: Proxy, providers: SimulatedProviders) -> None:
    """What is malformed and no limit is left out and counted once, the rest holds, and the request goes on."""
    before = api(proxy, "status").json()["faults"].get("caller_metadata", 0)
    assert before == 0
    for _ in range(2):
        assert _reached(proxy, providers, key="sk-bad") == {"f-deep", "f-moon"}
    assert api(proxy, "status").json()["faults"]["caller_metadata"] == 1

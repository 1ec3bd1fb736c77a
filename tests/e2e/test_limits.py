"""What operators rule out stays ruled out on every way in, judged by what came to the providers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from tests.support.proxy.limit_cases import Names, Way, answers, ways
from tests.support.proxy.observation import api
from tests.support.proxy.openai_client import config, post, prices
from tests.support.proxy.proxy import deployment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

BATCH: Final = 150
"""Requests between two looks at the providers' logs, which keep 200 of each provider."""
DEPLOYMENTS: Final = ("d1", "d2", "h1", "h2")
"""Two model groups of a European and an American deployment each."""
TO: Final = {
    name: Names(name, name[0], "stuck", f"mine-{name}", (f"to-{name}", f"to-{name}-exacto")) for name in DEPLOYMENTS
}
STUCK: Final = ("stuck", *(group for to in TO.values() for group in to.configured))
"""Model groups whose only deployment, of the same name with an x before it, always fails."""
_ALIASES: Final = {"aliases": {to.alias: name for name, to in TO.items()}}


def _limited(**exacto: Any) -> dict[str, Any]:
    return {"metadata": {"exacto": exacto}}


MALFORMED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "sk-only": ("only", _limited(only="eu")),
    "sk-zdr": ("zdr", _limited(zdr="true")),
    "sk-price": ("max_price", _limited(max_price={"prompt": "much"}, ignore=["nobody"])),
    "sk-block": ("exacto", {"metadata": {"exacto": "only: eu"}}),
    "sk-team-ignore": ("ignore", {"team_id": "t", "team_metadata": {"exacto": {"ignore": {"us": True}}}}),
}
"""Keys with a limit that nobody can read, and how it is called."""
KEYS: Final[dict[str, dict[str, Any]]] = {
    "sk-own": {**_limited(only=["eu"]), **_ALIASES},
    "sk-team": {"team_id": "t", "team_metadata": {"exacto": {"ignore": ["us"]}}, **_ALIASES},
    "sk-models": {"models": ["d", "h", *STUCK], **_limited(only=["eu"]), **_ALIASES},
    "sk-free": _ALIASES,
    "sk-cheap": _limited(max_price={"prompt": 1}),
    "sk-odd": _limited(default_sort="luck", what=1),
    **{key: fields for key, (_, fields) in MALFORMED.items()},
}


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """The pairs, model groups to fall back from, a wildcard, a routing group, and one id in two model groups."""

    def entry(name: str, group: str, provider: str = "eu", **params: Any) -> dict[str, Any]:
        return deployment(provider_server, name, group, info={"provider": provider}, **params)

    places = {"1": ("eu", prices(1, 1)), "2": ("us", prices(2, 2))}
    fallbacks = [
        {group: [f"{name}{suffix}"]}
        for name, to in TO.items()
        for group, suffix in zip(to.configured, ("", ":exacto"), strict=True)
    ]
    model_list = [
        *(entry(name, name[0], places[name[1]][0], **places[name[1]][1]) for name in DEPLOYMENTS),
        *(entry(f"x-{group}", group) for group in STUCK),
        *(entry(f"w-{place}", "w/*", place, model="openai/*") for place in ("eu", "us")),
        entry("twice", "first", "us"),
        entry("twice", "second", "us"),
        entry("native", "claude", "us", model="anthropic/claude", api_base=f"{provider_server.base_url}/p/native"),
    ]
    router = {
        "num_retries": 0,
        "disable_cooldowns": True,
        "fallbacks": fallbacks,
        "routing_groups": [{"group_name": "any", "models": ["h"], "routing_strategy": "simple-shuffle"}],
    }
    groups = {name: {"ignore": ["us"]} for name in ("h", "w/*", "first")}
    made = config(model_list, router=router, model_groups=groups)
    made["litellm_settings"]["default_key_generate_params"] = {"metadata": {"exacto": {"zdr": "yes"}}}
    return start_proxy(made, keys=KEYS)


@pytest.fixture
def proxy(running: Proxy, providers: SimulatedProviders) -> Proxy:
    """The proxy, over providers that begin anew."""
    _begin(providers)
    return running


def _begin(providers: SimulatedProviders) -> None:
    providers.control.reset()
    for group in STUCK:
        providers.control.behave(f"x-{group}", always=500)


class Seen(NamedTuple):
    """What became of some requests."""

    got: Mapping[str, httpx.Response]
    """By way: what the client got."""
    came: Mapping[str, frozenset[str]]
    """By deployment: the ways that came there, as its provider logged them."""


def _asked(proxy: Proxy, providers: SimulatedProviders, asked: Sequence[Way]) -> Seen:
    got: dict[str, httpx.Response] = {}
    came: dict[str, set[str]] = {name: set() for name in DEPLOYMENTS}
    for begin in range(0, len(asked), BATCH):
        got |= answers(proxy.base_url, asked[begin : begin + BATCH])
        for name, ways_there in came.items():
            ways_there |= {_way_in(one) for one in providers.control.seen(name)}
        _begin(providers)
    return Seen(got, {name: frozenset(ways_there) for name, ways_there in came.items()})


def _way_in(seen: Mapping[str, Any]) -> str:
    found = re.search(r"<(sk-[^>]+)>", str(seen["body"]))
    assert found is not None
    return found[1]


def test_nobody_comes_to_what_is_ruled_out(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A key's ``only``, its team's ``ignore``, a key with a list of models, and the model group's ``ignore``."""
    keys = {"sk-own": "d2", "sk-team": "d2", "sk-models": "d2", "sk-free": "h2"}
    asked = [way for key, name in keys.items() for way in ways(key, TO[name])]
    seen = _asked(proxy, providers, asked)
    assert sorted(seen.came["d2"] | seen.came["h2"]) == []
    named = {"sk-own": "only", "sk-team": "ignore", "sk-free": "ignore"}
    for way in asked:
        answer = seen.got[way.name]
        if way.form.name == "group":
            assert answer.status_code == 200, way.name
        elif way.key in named and way.leads and way.form.name.startswith(("id", "alias", "wishes")):
            error = answer.json()["error"]
            assert (answer.status_code, error["type"]) == (404, "exacto_no_endpoints"), way.name
            assert named[way.key] in error["message"], way.name


def test_everybody_comes_to_what_is_allowed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The same ways to another deployment lead there: what is refused above is refused for its limits."""
    asked = ways("sk-own", TO["d1"])
    seen = _asked(proxy, providers, asked)
    for way in asked:
        assert (way.name in seen.came[way.to]) is way.leads, way.name
        assert (seen.got[way.name].status_code == 200) is way.answers, way.name


def _status(proxy: Proxy, model: str, key: str = "sk-free", **more: Any) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], **more}
    return post(proxy, "/v1/chat/completions", body, key).status_code


def _came(providers: SimulatedProviders) -> set[str]:
    return {name for name, state in providers.control.states().items() if state["requests"]}


def test_names_of_other_kinds(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A model group's limits hold behind a wildcard, a routing group and the provider's name of its model too."""
    for model in ("w/some", "any", "openai/h"):
        providers.control.reset()
        assert [_status(proxy, model) for _ in range(8)] == [200] * 8, model
        assert len(_came(providers)) == 1, model
        assert _came(providers) <= {"w-eu", "h1"}
    providers.control.reset()
    for model in ("w-us", "twice", "first"):
        assert _status(proxy, model) == 404, model
    assert _came(providers) == set()
    assert _status(proxy, "second") == 200  # nobody rules it out there
    assert _came(providers) == {"twice"}


@pytest.mark.parametrize(
    "more",
    [
        {"custom_llm_provider": "eu"},
        {"model_info": {"id": "d1", "provider": "eu"}},
        {"metadata": {"model_group": "d", "model_info": {"id": "d1"}}},
        {"litellm_metadata": {"model_group": "d", "user_api_key_metadata": {}}},
        {"api_key": "sk-mine"},
        {"specific_deployment": True},
    ],
    ids=str,
)
def test_a_client_cannot_make_a_deployment_another_one(
    proxy: Proxy, providers: SimulatedProviders, more: dict[str, Any]
) -> None:
    """What it writes beside the name changes nothing of what the operator knows of the deployment."""
    for key in ("sk-own", "sk-cheap"):
        assert _status(proxy, "d2", key, **more) >= 400
    assert _came(providers) == set()


def test_counting_tokens(proxy: Proxy, providers: SimulatedProviders) -> None:
    """LiteLLM may send a prompt to a provider to have its tokens counted, and tells no hook."""
    asked: dict[str, dict[str, Any]] = {
        "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "x"}]},
        "/v1/responses/input_tokens": {"input": "x"},
    }
    for path, body in asked.items():
        for model in ("native", "native:exacto"):
            answer = post(proxy, path, {"model": model, **body}, "sk-own")
            assert answer.status_code == 404, (path, model)
            assert answer.json()["error"]["type"] == "exacto_no_endpoints"
            free = post(proxy, path, {"model": model, **body}, "sk-free")
            # From 1.108 on LiteLLM passes on that a provider has no such route; before, it estimated the number.
            assert free.status_code == 200 or "Not Found" in free.text
        assert post(proxy, path, {"model": "claude", **body}, "sk-own").json()["litellm_count_source"] != "provider"


@pytest.mark.parametrize("key", MALFORMED)
def test_malformed_limits_are_closed(proxy: Proxy, providers: SimulatedProviders, key: str) -> None:
    """Nobody knows what they rule out, so everybody; the client is told which field it is, not what stands there."""
    field, _ = MALFORMED[key]
    for model in ("d", "d1", "d1:exacto", "h", "w/some"):
        for stream in (False, True):
            body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": stream}
            answer = post(proxy, "/v1/chat/completions", body, key)
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["param"]) == (404, "exacto_no_endpoints", field)
            assert (
                f"{field} (set for this {'team' if 'team' in key else 'key'}), which is malformed" in error["message"]
            )
            assert not re.search(r"much|'eu'|only: eu|us\b", error["message"].partition(" Providers")[0])
    assert _came(providers) == set()


def test_malformed_limits_are_told_to_the_operator(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Once each; what is no limit is left out as before."""
    before = api(proxy, "status").json()["faults"]
    for _ in range(2):
        assert _status(proxy, "d", "sk-odd") == 200
        assert _status(proxy, "d", "sk-only") == 404
    faults = api(proxy, "status").json()["faults"]
    assert faults["caller_limits"] >= 1
    assert faults["caller_metadata"] == 1
    assert faults["caller_limits"] - before.get("caller_limits", 0) <= 1
    assert "every request of this key or team is refused" in proxy.log()
    assert "exacto_plugin: litellm_settings.default_key_generate_params.metadata.exacto.zdr: got 'yes'" in proxy.log()

"""LiteLLM's own constraints stand above tiers: tags, pre-call checks, teams, cooldowns and ``order`` levels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.support.proxy.observation import eventually
from tests.support.proxy.openai_client import ask, asked, config
from tests.support.proxy.tier_setup import BAD, DERANKED, GOOD, NEW, QUICK, VERIFIED, bring_about, fleet, names

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

GROUPS = ("tagged", "small", "levels", "poor-level", "cooling", "team")
COOLDOWN_S = 3
LONG = [{"role": "user", "content": "word " * 400}]
KEYS: dict[str, dict[str, Any]] = {
    "sk-paid": {"models": ["tagged"], "metadata": {"tags": ["paid"]}},
    "sk-team": {"team_id": "team-1"},
}


def _model_list(server: SimulatedProviders) -> list[dict[str, Any]]:
    entries = {entry["model_info"]["id"]: entry for group in GROUPS for entry in fleet(server, group)}
    for name in names("tagged"):
        entries[name]["litellm_params"]["tags"] = ["paid" if name == "tagged-bad" else "default"]
    for name in names("small"):
        entries[name]["model_info"]["max_input_tokens"] = 10_000 if name == "small-bad" else 100
    # Levels: a good one and the bad one first, the others later.
    for name in names("levels"):
        entries[name]["litellm_params"]["order"] = 1 if name in names("levels", "good-1", BAD) else 2
    # The bad one alone on the first level.
    for name in names("poor-level"):
        entries[name]["litellm_params"]["order"] = 1 if name == "poor-level-bad" else 2
    for name in names("team"):
        entries[name]["model_name"] = f"model_name_team-1_{name}"
        entries[name]["model_info"] |= {"team_id": "team-1", "team_public_model_name": "team"}
    return list(entries.values())


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A group for every constraint, with verdicts; latency-based routing."""
    router = {
        "routing_strategy": "latency-based-routing",
        "num_retries": 0,
        "cooldown_time": COOLDOWN_S,
        "enable_tag_filtering": True,
        "enable_pre_call_checks": True,
    }
    proxy = start_proxy(config(_model_list(provider_server), router=router, tiers=QUICK), keys=KEYS)
    bring_about(proxy, provider_server, GROUPS, keys={"team": "sk-team"})
    return proxy


@pytest.fixture
def proxy(running: Proxy, providers: SimulatedProviders) -> Proxy:
    """The proxy, over providers that begin anew."""
    return running


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("slug", ["tagged", "tagged:exacto"])
def test_tags(proxy: Proxy, providers: SimulatedProviders, slug: str, stream: bool) -> None:
    """The only deployment with the request's tag serves, deranked as it is; without tags the good ones do."""
    for more in ({"metadata": {"tags": ["paid"]}}, {"key": "sk-paid"}):
        reply = ask(proxy, slug, stream=stream, **more)
        assert (reply.deployment, reply.headers["x-exacto-tier"]) == ("tagged-bad", DERANKED)
    for _ in range(4):
        assert ask(proxy, slug, stream=stream).headers["x-exacto-tier"] == VERIFIED


def test_pre_call_checks(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A prompt that only the deranked one has room for goes there; a short one goes to the good ones."""
    reply = ask(proxy, "small", messages=LONG)
    assert (reply.deployment, reply.headers["x-exacto-tier"]) == ("small-bad", DERANKED)
    assert ask(proxy, "small", tools=True).headers["x-exacto-tier"] == VERIFIED


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tiers_inside_levels(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """The operator's first level goes first and its good one serves; the deranked one waits behind later levels."""
    for _ in range(4):
        assert ask(proxy, "levels", stream=stream, tools=True).model == "levels"
    assert asked(providers, names("levels")) == {**dict.fromkeys(names("levels"), 0), "levels-good-1": 4}
    for name in names("levels", *GOOD, NEW):
        providers.control.behave(name, always=500)
    assert ask(proxy, "levels", stream=stream, num_retries=4).model == "levels"
    counts = asked(providers, names("levels"))
    assert counts == {
        "levels-good-1": 5,
        "levels-good-2": 1,
        "levels-good-3": 1,
        "levels-new": 1,
        "levels-bad": 1,
    }


def test_a_deranked_first_level(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A level whose only deployment is deranked is passed over; without tools the operator's order stands."""
    for _ in range(4):
        assert ask(proxy, "poor-level").deployment in names("poor-level", *GOOD)
    assert ask(proxy, "poor-level", tools=False).deployment == "poor-level-bad"


def test_litellms_own_walk_over_levels(proxy: Proxy, providers: SimulatedProviders) -> None:
    """With no retry at all LiteLLM still goes to the next level after a failure, and there tiers hold too."""
    providers.control.behave("levels-good-1", always=500)
    assert ask(proxy, "levels", num_retries=0).model == "levels"
    counts = asked(providers, names("levels"))
    assert counts["levels-good-1"] == 1
    assert counts["levels-good-2"] + counts["levels-good-3"] == 1


def test_num_retries_of_the_router(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The router's ``num_retries: 0`` means one attempt."""
    for name in names("small"):
        providers.control.behave(name, always=500)
    with pytest.raises(openai.InternalServerError):
        ask(proxy, "small")
    assert sum(asked(providers, names("small")).values()) == 1


def test_cooldowns(proxy: Proxy, providers: SimulatedProviders) -> None:
    """When everybody better cools down the deranked one serves, and afterwards they are back."""
    for _ in range(5):
        begun = time.monotonic()
        for name in names("cooling", *GOOD, NEW):
            providers.control.behave(name, always=429)
            with pytest.raises(openai.RateLimitError):
                ask(proxy, name)
            providers.control.reset(name)
        reply = ask(proxy, "cooling")
        if time.monotonic() - begun < COOLDOWN_S:  # on a machine that is slower the first cooldown may have ended
            break
    assert (reply.deployment, reply.headers["x-exacto-tier"]) == ("cooling-bad", DERANKED)
    eventually(lambda: ask(proxy, "cooling").headers["x-exacto-tier"], VERIFIED)


def test_teams(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A team's own deployments are peers under the name that the team uses, and nobody else's."""
    for slug in ("team", "team:exacto") * 3:
        reply = ask(proxy, slug, key="sk-team")
        assert reply.deployment in names("team", *GOOD)
        assert reply.headers["x-exacto-tier"] == VERIFIED
    with pytest.raises(openai.APIStatusError):
        ask(proxy, "team", key="sk-paid")

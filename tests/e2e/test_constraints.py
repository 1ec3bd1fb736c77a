"""Tiers inside each of LiteLLM's constraints, under each of its strategies: no pool is empty, and none is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from tests.support.proxy.observation import api
from tests.support.proxy.openai_client import ask, asked, config
from tests.support.proxy.proxy import MASTER_KEY
from tests.support.proxy.tier_setup import BAD, DERANKED, GOOD, NEW, QUICK, VERIFIED, bring_about, fleet, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

STRATEGIES: Final = {
    "shuffle": "simple-shuffle",
    "busy": "least-busy",
    "usage": "usage-based-routing",
    "usage2": "usage-based-routing-v2",
    "fast": "latency-based-routing",
    "cost": "cost-based-routing",
}
TEAM, EUROPE, NICKNAMES = "sk-team", "sk-europe", "sk-nicknames"
KEYS: Final[dict[str, dict[str, Any]]] = {
    TEAM: {"team_id": "team-1"},
    EUROPE: {"allowed_model_region": "eu"},
    NICKNAMES: {"team_id": "team-2", "team_model_aliases": {"nick": "plain"}},
}
INSIDE: Final = ("good-1", BAD)
"""The deployments that a constraint leaves."""


def _prompt(words: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "word " * words}]


class Constraint(NamedTuple):
    """One constraint of LiteLLM's.

    Args:
        asks: fields of the request that it leaves ``INSIDE`` for.
        alone: fields of the request that it leaves the bad one for; None where that is no request of its own.
        inside: the parts of the group that it leaves first.
        key: the API key of the requests.
    """

    asks: dict[str, Any]
    alone: dict[str, Any] | None = None
    inside: tuple[str, ...] = INSIDE
    key: str = MASTER_KEY


CONSTRAINTS: Final = {
    "tags": Constraint({"metadata": {"tags": ["paid"]}}, {"metadata": {"tags": ["cheap"]}}),
    "window": Constraint({"messages": _prompt(400)}, {"messages": _prompt(2000)}),
    "region": Constraint({}, key=EUROPE),
    "levels": Constraint({}),
    "team": Constraint({}, inside=(*GOOD, NEW, BAD), key=TEAM),
}


def _constrain(constraint: str, part: str, entry: dict[str, Any]) -> None:
    params, info, inside = entry["litellm_params"], entry["model_info"], part in INSIDE
    if constraint == "tags":
        params["tags"] = {"good-1": ["paid"], BAD: ["paid", "cheap"]}.get(part, ["default"])
    elif constraint == "window":
        info["max_input_tokens"] = {"good-1": 1000, BAD: 10_000}.get(part, 100)
    elif constraint == "region":
        params["region_name"] = "eu" if inside else "us"
    elif constraint == "levels":
        params["order"] = 1 if inside else 2
    elif constraint == "team":
        entry["model_name"] = f"model_name_team-1_{info['id']}"
        info |= {"team_id": "team-1", "team_public_model_name": f"team-{info['id'].split('-')[1]}"}
    elif constraint == "weighted":
        params["weight"] = 1000 if part == BAD else 1


def _fleet(server: SimulatedProviders, constraint: str, group: str) -> Iterator[dict[str, Any]]:
    for entry in fleet(server, group):
        _constrain(constraint, entry["model_info"]["id"].removeprefix(f"{group}-"), entry)
        yield entry


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A group with verdicts for each constraint under each strategy."""
    groups = {f"{constraint}-{kind}": kind for kind in STRATEGIES for constraint in CONSTRAINTS}
    kinds = {**dict.fromkeys(groups, ""), "weighted": "", "plain": ""}
    model_list = [one for group in kinds for one in _fleet(provider_server, group.split("-")[0], group)]
    router = {
        "num_retries": 0,
        "disable_cooldowns": True,
        "enable_tag_filtering": True,
        "enable_pre_call_checks": True,
        "enable_weighted_failover": True,
        "routing_strategy": "simple-shuffle",
        "routing_groups": [
            {
                "group_name": f"all-{kind}",
                "models": [group for group, own in groups.items() if own == kind],
                "routing_strategy": strategy,
            }
            for kind, strategy in STRATEGIES.items()
            if strategy != "simple-shuffle"
        ],
    }
    made = config(model_list, router=router, tiers=QUICK, exploration={"share": 0})
    proxy = start_proxy(made, keys=KEYS)
    bring_about(proxy, provider_server, kinds, keys={group: TEAM for group in groups if group.startswith("team-")})
    return proxy


@pytest.fixture
def proxy(running: Proxy, providers: SimulatedProviders) -> Proxy:
    """The proxy, over providers that begin anew."""
    return running


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_tiers_inside_a_constraint(proxy: Proxy, providers: SimulatedProviders, name: str, kind: str) -> None:
    """A good one that the constraint leaves serves; the deranked one gets nothing until nobody else can answer.

    A stream that LiteLLM may still move to another deployment has no header that names one. LiteLLM does not retry at a
    team's own deployments before 1.110; by weight it moves on among them.
    """
    constraint, group = CONSTRAINTS[name], f"{name}-{kind}"
    inside = names(group, *(part for part in constraint.inside if part in GOOD))
    for number in range(6):
        reply = ask(proxy, group, stream=number % 2 == 1, key=constraint.key, **constraint.asks)
        assert number % 2 == 1 or (reply.deployment in inside and reply.headers["x-exacto-tier"] == VERIFIED)
    counts = asked(providers, names(group))
    assert sum(counts[one] for one in inside) == sum(counts.values()) == 6
    if constraint.alone is not None:
        reply = ask(proxy, group, key=constraint.key, **constraint.alone)
        assert (reply.deployment, reply.headers["x-exacto-tier"]) == (f"{group}-{BAD}", DERANKED)
    if name == "team" and kind != "shuffle":
        return
    for one in names(group, *GOOD, NEW):
        providers.control.behave(one, always=500)
    for stream in (False, True):
        assert ask(proxy, group, stream=stream, num_retries=4, key=constraint.key, **constraint.asks).arguments


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_weighted_failover(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """LiteLLM's own walk over a group asks everyone once, the deranked one last, whatever its weight."""
    for _ in range(6):
        assert ask(proxy, "weighted", stream=stream).arguments
    assert sum(asked(providers, names("weighted", *GOOD)).values()) == 6
    providers.control.reset()
    for one in names("weighted", *GOOD, NEW):
        providers.control.behave(one, always=500)
    assert ask(proxy, "weighted", stream=stream, num_retries=0).arguments
    assert asked(providers, names("weighted")) == dict.fromkeys(names("weighted"), 1)


def test_aliases_of_a_team(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A team's own name for a group leads to its tiers."""
    for slug in ("nick", "nick:exacto") * 3:
        assert ask(proxy, slug, key=NICKNAMES).deployment in names("plain", *GOOD)
    for one in names("plain", *GOOD, NEW):
        providers.control.behave(one, always=500)
    assert ask(proxy, "nick", key=NICKNAMES, num_retries=4).deployment == f"plain-{BAD}"


def test_nothing_failed_on_the_way(proxy: Proxy) -> None:
    """After all of the above not one fault of the plugin was counted. The last test of this module."""
    assert api(proxy, "status").json()["faults"] == {}

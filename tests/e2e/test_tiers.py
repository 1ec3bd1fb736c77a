"""Tiers through a real proxy: in all five routing strategies, under every default sort, and only where they apply."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import api, eventually, seen_in, verdict
from tests.support.proxy.openai_client import ask, asked, config, prices
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.tier_setup import (
    BAD,
    CALLS,
    DERANKED,
    GOOD,
    INSUFFICIENT,
    NEW,
    QUICK,
    VERIFIED,
    bring_about,
    fleet,
    names,
)

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

STRATEGIES = {
    "shuffle": "simple-shuffle",
    "busy": "least-busy",
    "fast": "latency-based-routing",
    "usage": "usage-based-routing-v2",
    "cost": "cost-based-routing",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "every": {"default_sort": "exacto"},
    "watched": {"mode": "observe"},
    "off": {"mode": "off"},
    "none": {"default_sort": "none"},
    "half": {"apply_share": 0.5},
    "nobody": {"apply_share": 0.0},
    "by-price": {"default_sort": "price"},
    "lottery": {"default_sort": "price_weighted"},
    "by-speed": {"default_sort": "throughput"},
    "by-latency": {"default_sort": "latency"},
}
TIERED = (*STRATEGIES, "every", "watched", "off", "none", "half", "nobody")
SLOW, QUICKER = "slow", "quick"
SLOW_S = 1.0
"""Latency of a slow one; a quick one has none but the machine's own."""


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A group per routing strategy and per setting; the tiered ones with verdicts."""
    model_list = [entry for group in TIERED for entry in fleet(provider_server, group)]
    next(entry for entry in model_list if entry["model_info"]["id"] == "half-bad")["litellm_params"]["weight"] = 10**12
    for group in ("by-price", "lottery"):
        for name, price in (("one", prices(1, 0)), ("two", prices(2, 0)), ("free", prices(0, 0)), ("unknown", {})):
            if (group, name) != ("lottery", "free"):
                model_list.append(deployment(provider_server, f"{group}-{name}", group, **price))
    for group in ("by-speed", "by-latency"):
        model_list += [deployment(provider_server, name, group) for name in names(group, SLOW, QUICKER, NEW)]
    router = {
        "num_retries": 4,
        "disable_cooldowns": True,
        "routing_strategy": "simple-shuffle",
        "routing_groups": [
            {"group_name": f"all-{group}", "models": [group], "routing_strategy": strategy}
            for group, strategy in STRATEGIES.items()
            if strategy != "simple-shuffle"
        ],
    }
    proxy = start_proxy(config(model_list, router=router, tiers=QUICK, model_groups=SETTINGS))
    bring_about(proxy, provider_server, TIERED)
    _measure_speed(proxy, provider_server)
    return proxy


def _measure_speed(proxy: Proxy, providers: SimulatedProviders) -> None:
    for group in ("by-speed", "by-latency"):
        slow, quick = names(group, SLOW, QUICKER)
        providers.control.behave(slow, latency_s=SLOW_S, completion_tokens=200)
        providers.control.behave(quick, completion_tokens=200)
        for _ in range(3):
            ask(proxy, quick)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda name: ask(proxy, name), [slow] * 3))
    eventually(lambda: [_has_speed(proxy, group) for group in ("by-speed", "by-latency")], [True, True])
    providers.control.reset()


def _has_speed(proxy: Proxy, group: str) -> bool:
    """Whether a verdict knows how fast both are."""
    found = [verdict(proxy, group, name) or {} for name in names(group, SLOW, QUICKER)]
    return all(one.get("throughput") and one.get("latency_s") is not None for one in found)


@pytest.fixture
def proxy(running: Proxy, providers: SimulatedProviders) -> Proxy:
    """The proxy, over providers that begin anew."""
    return running


@pytest.mark.parametrize("group", STRATEGIES)
def test_good_ones_first(proxy: Proxy, providers: SimulatedProviders, group: str) -> None:
    """Requests with tools go to verified deployments, under ``auto`` and ``:exacto``, whole and streamed."""
    good = names(group, *GOOD)
    for slug, stream in ((group, False), (group, True), (f"{group}:exacto", False), (f"{group}:exacto", True)):
        for _ in range(4):
            reply = ask(proxy, slug, stream=stream)
            assert reply.deployment in good
            assert reply.headers["x-exacto-tier"] == VERIFIED
            assert reply.headers["x-exacto-snapshot"]
    assert sum(asked(providers, good).values()) == 16


@pytest.mark.parametrize("group", STRATEGIES)
def test_exacto_without_tools(proxy: Proxy, providers: SimulatedProviders, group: str) -> None:
    """``:exacto`` is tiered without tools as well."""
    for _ in range(6):
        assert ask(proxy, f"{group}:exacto", tools=False).deployment in names(group, *GOOD)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("group", STRATEGIES)
def test_tier_after_tier(proxy: Proxy, providers: SimulatedProviders, group: str, stream: bool) -> None:
    """When good ones fail the unknown one follows, and the deranked one is still reached; nobody is asked twice."""
    for name in names(group, *GOOD):
        providers.control.behave(name, always=500)
    reply = ask(proxy, group, stream=stream)
    assert (reply.deployment, reply.headers["x-exacto-tier"]) == (f"{group}-{NEW}", INSUFFICIENT)
    assert asked(providers, names(group)) == {**dict.fromkeys(names(group, *GOOD, NEW), 1), f"{group}-{BAD}": 0}
    providers.control.behave(f"{group}-{NEW}", always=500)
    reply = ask(proxy, group, stream=stream)
    assert (reply.deployment, reply.headers["x-exacto-tier"]) == (f"{group}-{BAD}", DERANKED)
    assert asked(providers, names(group)) == {**dict.fromkeys(names(group, *GOOD, NEW), 2), f"{group}-{BAD}": 1}


def test_without_tools_the_strategy_is_untouched(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Under ``auto`` a request without tools may go anywhere, deranked deployments included."""
    everybody = set(names("shuffle"))
    assert seen_in(lambda: ask(proxy, "shuffle", tools=False).deployment, everybody) == everybody


def test_exacto_for_every_request(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``default_sort: exacto`` tiers requests without tools too."""
    for _ in range(8):
        reply = ask(proxy, "every", tools=False)
        assert (reply.policy, reply.headers["x-exacto-tier"]) == ("exacto", VERIFIED)


@pytest.mark.parametrize("group", ["watched", "off", "none", "nobody"])
def test_where_tiers_do_not_apply(proxy: Proxy, providers: SimulatedProviders, group: str) -> None:
    """``observe``, ``off``, ``default_sort: none`` and a share of 0 leave the choice to LiteLLM; slugs still work."""
    assert seen_in(lambda: ask(proxy, group).deployment, names(group)) == set(names(group))
    assert ask(proxy, f"{group}:exacto").model == f"{group}:exacto"
    assert ask(proxy, f"{group}:floor").policy == "price"


def test_suffixes_bring_tiers_where_no_default_does(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``:exacto`` asks for tiers where ``default_sort: none`` does not."""
    for _ in range(8):
        assert ask(proxy, "none:exacto").headers["x-exacto-tier"] == VERIFIED


@pytest.mark.parametrize("told_by", ["messages", "session_id", "prompt_cache_key", "header"])
def test_a_share_of_conversations(proxy: Proxy, providers: SimulatedProviders, told_by: str) -> None:
    """Half of the conversations are tiered, and each stays on its side turn after turn, however it is told apart."""
    providers.control.behave("half-bad", always=Act.INVALID_JSON)  # or it would be readmitted on the way
    sides: list[bool] = []
    for number in range(24):  # so that chance puts all of them on one side once in 8 million runs
        first = {"role": "user", "content": f"conversation {number}"}
        turns: set[bool] = set()
        for turn in range(4):
            later = [{"role": "assistant", "content": "and?"}, {"role": "user", "content": f"turn {turn}"}] * turn
            more: dict[str, Any] = {"messages": [first, *later]}
            if told_by == "header":
                more = {"headers": {"x-session-id": f"s-{number}"}}
            elif told_by != "messages":
                more = {told_by: f"s-{number}"}
            # By its weight nearly everything goes to the bad one where tiers do not stand in between.
            turns.add(ask(proxy, "half", **more).deployment != "half-bad")
        assert len(turns) == 1, (number, turns)
        sides += turns
    assert 0 < sum(sides) < len(sides)


@pytest.mark.parametrize("slug", ["by-price", "by-price:floor", "lottery:floor"])
def test_price_is_a_full_order(proxy: Proxy, providers: SimulatedProviders, slug: str) -> None:
    """Cheapest first, unknown prices last, everybody reached."""
    group = slug.partition(":")[0]
    order = [f"{group}-{name}" for name in ("free", "one", "two", "unknown") if (group, name) != ("lottery", "free")]
    for place, name in enumerate(order):
        reply = ask(proxy, slug)
        assert (reply.policy, reply.deployment) == ("price", name), place
        providers.control.behave(name, always=500)


def test_the_lottery(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``price_weighted``: half the price, four times the share; an unknown price only when all others failed."""
    won = [ask(proxy, "lottery", tools=False).deployment for _ in range(150)]
    assert "lottery-unknown" not in won
    assert 90 <= won.count("lottery-one") <= 148  # 120 expected; outside of it once in 170 million runs
    for name in ("lottery-one", "lottery-two"):
        providers.control.behave(name, always=500)
    reply = ask(proxy, "lottery")
    assert (reply.policy, reply.deployment) == ("price_weighted", "lottery-unknown")
    assert asked(providers, ["lottery-one", "lottery-two"])["lottery-two"] >= 1


@pytest.mark.parametrize(
    ("slug", "more"),
    [
        ("by-speed", {}),
        ("by-latency", {}),
        ("by-latency:nitro", {}),
        ("by-speed", {"provider": {"sort": "latency"}}),
        ("by-latency:floor", {"provider": {"sort": "throughput"}}),
    ],
    ids=str,
)
def test_speed_is_a_full_order(proxy: Proxy, providers: SimulatedProviders, slug: str, more: dict[str, Any]) -> None:
    """The measured quick one, the measured slow one, then who was not measured."""
    quick, slow, new = names(slug.partition(":")[0], QUICKER, SLOW, NEW)
    for name, latency_s in ((quick, 0.0), (slow, SLOW_S)):  # as measured: these answers are measured too
        providers.control.behave(name, latency_s=latency_s, completion_tokens=200)
    assert ask(proxy, slug, **more).deployment == quick
    providers.control.behave(quick, always=500)
    assert ask(proxy, slug, **more).deployment == slow
    for name in (slow, new):
        providers.control.behave(name, always=500)
    with pytest.raises(openai.InternalServerError):
        ask(proxy, slug, **more)
    assert asked(providers, [new])[new] > 0


def test_pinned_deployments_are_scored(proxy: Proxy) -> None:
    """Calls by deployment id made all of these verdicts: they count for the deployment's own model group."""
    listed = {*TIERED, "by-price", "lottery", "by-speed", "by-latency"}
    for group in ("by-price", "lottery"):
        ask(proxy, group)
    eventually(lambda: {one["model_group"] for one in api(proxy, "models").json()["model_groups"]}, listed)
    bad = verdict(proxy, "shuffle", "shuffle-bad")
    assert bad is not None
    assert bad["tier"] == DERANKED
    assert bad["signals"]["tool_call_success"]["samples"] >= CALLS
    assert "below_threshold" in {reason["code"] for reason in bad["reasons"]}

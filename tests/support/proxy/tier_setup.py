"""Brings tiers about in a running proxy: every deployment is called by its id, good ones well and bad ones badly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import api, eventually
from tests.support.proxy.openai_client import ask
from tests.support.proxy.proxy import MASTER_KEY, deployment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.support.proxy.proxy import Proxy

GOOD = ("good-1", "good-2", "good-3")
BAD = "bad"
NEW = "new"
CALLS = 3
"""Answers with tool calls that the rule of these tests needs."""

QUICK = {
    "preset": "openrouter",
    "recompute_interval_s": 0.4,
    "openrouter": {"tool_call_requests": CALLS, "throughput_requests": 100_000, "min_output_tokens": 10},
}
"""``tiers`` settings: verdicts within a second, from tool calls alone."""

VERIFIED, INSUFFICIENT, DERANKED = "verified_good", "insufficient_data", "deranked"


def names(group: str, *parts: str) -> tuple[str, ...]:
    """Deployment ids of a group; all of them without ``parts``."""
    return tuple(f"{group}-{part}" for part in parts or (*GOOD, NEW, BAD))


def fleet(server: SimulatedProviders, group: str, **more: Any) -> list[dict[str, Any]]:
    """Three good deployments, one that nobody has asked yet, and a bad one; ``more`` as for ``deployment``."""
    return [deployment(server, name, group, **more) for name in names(group)]


def seen_tiers(proxy: Proxy, group: str) -> dict[str, str]:
    """Deployment to tier, as the API tells it."""
    answer = api(proxy, f"models/{group}")
    if answer.status_code == 404:
        return {}
    return {one["deployment"]: one["tier"] for one in answer.raise_for_status().json()["deployments"]}


def await_recompute(proxy: Proxy, group: str, at: float) -> None:
    """Wait until the verdicts of a group are of a time, UTC seconds, to which the proxy's clock was set; or later."""
    eventually(lambda: float(api(proxy, f"models/{group}").json().get("at", 0.0)) >= at - 1.0, True)


def expected_tiers(group: str) -> dict[str, str]:
    """What ``bring_about`` leads to."""
    good = dict.fromkeys(names(group, *GOOD), VERIFIED)
    return {**good, f"{group}-{NEW}": INSUFFICIENT, f"{group}-{BAD}": DERANKED}


def bring_about(
    proxy: Proxy, providers: SimulatedProviders, groups: Iterable[str], keys: Mapping[str, str] | None = None
) -> None:
    """Call every deployment but the new ones often enough, wait for the verdicts, and make everybody well again.

    Args:
        proxy: the proxy to ask.
        providers: behind its deployments.
        groups: the model groups.
        keys: model group to the API key that may call its deployments; the master key for others.
    """
    groups = tuple(groups)
    for group in groups:
        providers.control.behave(f"{group}-{BAD}", always=Act.INVALID_JSON)
    called = {group: (keys or {}).get(group, MASTER_KEY) for group in groups}
    pinned = [(name, key) for group, key in called.items() for name in names(group, *GOOD, BAD) for _ in range(CALLS)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: ask(proxy, one[0], key=one[1]), pinned))
    wanted = {group: expected_tiers(group) for group in groups}
    eventually(lambda: {group: seen_tiers(proxy, group) for group in groups}, wanted)
    providers.control.reset()

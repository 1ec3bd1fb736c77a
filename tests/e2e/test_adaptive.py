"""The adaptive preset through a real proxy: a break, a repair, a newcomer, a fleet of two, and declared limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.model_table import ModelTable
from tests.support.proxy.moved_clock import MovedClock
from tests.support.proxy.observation import api, eventually, verdict
from tests.support.proxy.openai_client import ask
from tests.support.proxy.proxy import CALLBACK, deployment
from tests.support.proxy.tier_setup import DERANKED, INSUFFICIENT, VERIFIED, await_recompute, seen_tiers

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

MINUTE_S = 60.0
"""Evidence is kept by the minute, so a new epoch begins with the next one: the proxy's clock goes ahead by as much."""
MOST_MINUTES = 40
"""Within which something must have happened."""

QUICK_ADAPTIVE: dict[str, Any] = {
    "recompute_interval_s": 0.3,
    # The rule as it is, but for pauses and numbers of calls that make sense for days of traffic, and independent calls.
    "adaptive": {
        "phi_start": 1.0,
        "burst_pause_s": 0.5,
        "burst_pause_max_s": 1.0,
        "probe_calls_per_hour": 2e4,
        "fresh_calls": 60,
        "peer_calls": 20,
        "prior_worked": 200.0,
    },
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ModelTable:
    """Where a test adds a deployment."""
    return ModelTable(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> MovedClock:
    """The plugin's clock in the proxy."""
    return MovedClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, clock: MovedClock, table: ModelTable) -> Proxy:
    """Groups of three and of two under the default preset, with two fifths of the requests for probes."""
    model_list = [deployment(provider_server, name, "trio") for name in ("a", "b", "c")]
    model_list += [deployment(provider_server, name, "duo") for name in ("d", "e")]
    # Evenly picked; the good ones declare that they can take 4 requests a minute together.
    narrow: dict[str, dict[str, Any]] = {"g": {"rpm": 2}, "h": {"rpm": 2}, "i": {}}
    model_list += [deployment(provider_server, name, "tight", weight=1, **limit) for name, limit in narrow.items()]
    return start_proxy(
        {
            "model_list": model_list,
            "litellm_settings": {"callbacks": [CALLBACK, "tests.support.proxy.model_table.callback"]},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "exacto_settings": {"tiers": QUICK_ADAPTIVE, "exploration": {"share": 0.4}},
        },
        environment={**clock.environment, **table.environment},
    )


def traffic(proxy: Proxy, group: str, requests: int = 30) -> None:
    """Requests with tools, a few at a time; one by one where limits are declared, which hold for parallel ones too."""
    with ThreadPoolExecutor(1 if group == "tight" else 4) as threads:
        list(threads.map(lambda _: ask(proxy, group), range(requests)))


def until(proxy: Proxy, clock: MovedClock, group: str, **wanted: str) -> dict[str, str]:
    """Send traffic, minute by minute, until these deployments have these tiers.

    Raises:
        AssertionError: they never had, with the tiers seen last.
    """
    tiers: dict[str, str] = {}
    for _ in range(MOST_MINUTES):
        traffic(proxy, group)
        await_recompute(proxy, group, clock.advance(MINUTE_S))
        tiers = seen_tiers(proxy, group)
        if wanted.items() <= tiers.items():
            return tiers
    raise AssertionError(f"wanted {wanted}, still {tiers}")


def share(providers: SimulatedProviders, proxy: Proxy, group: str, name: str, requests: int = 120) -> float:
    """Share of the traffic that a provider gets now."""
    before = providers.control.requests(name)
    traffic(proxy, group, requests)
    return (providers.control.requests(name) - before) / requests


def test_a_break_is_left_a_repair_comes_back_a_newcomer_is_taken_in(
    proxy: Proxy, providers: SimulatedProviders, clock: MovedClock, table: ModelTable
) -> None:
    """The whole life of a deployment, seen from the client's side."""
    until(proxy, clock, "trio", a=VERIFIED, b=VERIFIED, c=VERIFIED)

    providers.control.behave("a", always=Act.INVALID_JSON)
    until(proxy, clock, "trio", a=DERANKED, b=VERIFIED, c=VERIFIED)
    assert share(providers, proxy, "trio", "a") <= 0.5  # probes only

    providers.control.behave("a", always=None)
    until(proxy, clock, "trio", a=VERIFIED)
    assert share(providers, proxy, "trio", "a") >= 0.1

    table.put(deployment(providers, "f", "trio"))
    traffic(proxy, "trio", 2)
    eventually(lambda: "f" in seen_tiers(proxy, "trio"), True)
    until(proxy, clock, "trio", f=VERIFIED)


def test_a_fleet_of_two(proxy: Proxy, providers: SimulatedProviders, clock: MovedClock) -> None:
    """With two deployments the one that breaks a quarter of its calls is deranked and the other one stays."""
    providers.control.behave("e", error_rate=0.25)
    until(proxy, clock, "duo", d=VERIFIED, e=DERANKED)
    assert share(providers, proxy, "duo", "e") <= 0.5


def test_probes_are_on_record(proxy: Proxy) -> None:
    """Each request that chance sent to a deployment in order to measure it is kept, and says so."""
    traffic(proxy, "duo", 60)

    def probes() -> list[dict[str, Any]]:
        return [one for one in api(proxy, "audit?kinds=decision").json()["entries"] if one["reason"] == "probe"]

    eventually(lambda: len(probes()) > 5, True)
    assert {one["occasion"] for one in probes()} == {"exploration"}
    assert {attempt["probe"] for one in probes() for attempt in one["attempts"]} == {True}


def test_the_rest_must_be_able_to_carry_the_traffic(
    proxy: Proxy, providers: SimulatedProviders, clock: MovedClock
) -> None:
    """A bad deployment stays in the pool while the others' declared limits are below what is asked for."""
    providers.control.behave("i", always=Act.INVALID_JSON)
    until(proxy, clock, "tight", g=VERIFIED, h=VERIFIED, i=INSUFFICIENT)

    def kept() -> dict[str, Any]:
        traffic(proxy, "tight", 10)
        reasons = (verdict(proxy, "tight", "i") or {"reasons": []})["reasons"]
        return next((one for one in reasons if one["code"] == "capacity"), {})

    def is_kept_though_bad() -> bool:
        reason = kept()
        return bool(reason) and reason["value"] < reason["threshold"]

    eventually(is_kept_though_bad, True)
    assert share(providers, proxy, "tight", "i") >= 0.1

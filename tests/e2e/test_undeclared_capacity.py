"""The best deployment refuses requests and declares nothing: convictions by price give way, before clients see 429s."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.support.proxy.observation import eventually, verdict
from tests.support.proxy.openai_client import ask
from tests.support.proxy.proxy import CALLBACK, deployment
from tests.support.proxy.tier_setup import DERANKED, INSUFFICIENT, VERIFIED, seen_tiers

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

PATIENCE_S = 180.0
"""Until something must have happened."""

NAMES = ("best", "second", "mild", "outlier")

STRICT: dict[str, Any] = {
    "recompute_interval_s": 0.3,
    # A few hundred calls decide, and without its price a bad call convicts at 40 % only: "mild" is out by price alone.
    "adaptive": {
        "phi_start": 1.0,
        "peer_calls": 20,
        "prior_worked": 200.0,
        "rate_floor": 0.4,
        "peer_cap": 0.4,
        "good_ceiling": 0.4,
        "burst_pause_s": 1e6,
        "burst_pause_max_s": 1e6,
    },
}


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """Without retries, unless a request asks for them."""
    return start_proxy(
        {
            "model_list": [deployment(provider_server, name, "kimi") for name in NAMES],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "litellm_settings": {"callbacks": [CALLBACK]},
            "exacto_settings": {"tiers": STRICT},
        }
    )


def refusals(proxy: Proxy, requests: int, retries: int = 0) -> int:
    """Send requests with tools, a few at a time; return how many 429s reach the client."""

    def refused(_: int) -> bool:
        try:
            ask(proxy, "kimi", num_retries=retries)
        except openai.RateLimitError:
            return True
        return False

    with ThreadPoolExecutor(4) as threads:
        return sum(threads.map(refused, range(requests)))


def until(proxy: Proxy, **wanted: str) -> None:
    """Send traffic until these deployments have these tiers.

    Raises:
        AssertionError: they never had, with the tiers seen last.
    """
    tiers: dict[str, str] = {}
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        refusals(proxy, 30)
        time.sleep(0.35)
        tiers = seen_tiers(proxy, "kimi")
        if wanted.items() <= tiers.items():
            return
    raise AssertionError(f"wanted {wanted}, still {tiers}")


def test_a_conviction_by_price_gives_way(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The mild conviction is suspended and says why, the outlier stays out; few 429s, and with retries none."""
    providers.control.behave("mild", error_rate=0.2)
    providers.control.behave("outlier", error_rate=1.0)
    until(proxy, best=VERIFIED, second=VERIFIED, mild=DERANKED, outlier=DERANKED)

    providers.control.behave("best", always=429)
    until(proxy, best=VERIFIED, second=VERIFIED, mild=INSUFFICIENT, outlier=DERANKED)
    found = verdict(proxy, "kimi", "mild") or {}
    reasons = {(one["signal"], one["code"]): one for one in found["reasons"]}
    assert reasons["refused", "capacity"]["value"] > 0.0
    assert reasons["tool_call_success", "capacity"]["value"] < 1.0
    learned = verdict(proxy, "kimi", "best") or {}
    assert ("capacity", "learned_capacity") in {(one["signal"], one["code"]) for one in learned["reasons"]}
    assert learned["signals"]["capacity"]["value"] >= 0.0

    # It is paced: a few try whether it still refuses, of the third of 120 that would be its share.
    assert refusals(proxy, 120) <= 8
    assert refusals(proxy, 40, retries=2) == 0

    providers.control.behave("best", always=None)
    refusals(proxy, 30)
    eventually(lambda: seen_tiers(proxy, "kimi")["mild"], INSUFFICIENT)

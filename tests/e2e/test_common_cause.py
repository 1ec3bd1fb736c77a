"""Storm, break, repair and newcomer through a real proxy, with the rule's own windows and a clock that a test moves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy.model_table import ModelTable
from tests.support.proxy.moved_clock import MovedClock
from tests.support.proxy.observation import verdict
from tests.support.proxy.openai_client import ask
from tests.support.proxy.proxy import CALLBACK, deployment
from tests.support.proxy.tier_setup import DERANKED, VERIFIED, await_recompute, seen_tiers

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

NAMES = ("a", "b", "c", "d")
INTERVAL_S = 300.0
MOST_INTERVALS = 12
"""Intervals within which a repaired or new deployment is verified; some seconds of traffic each."""

RULE: dict[str, Any] = {
    # The windows and tails of the rule. Pauses are those of an hour, calls are independent, and thresholds lie 5 points
    # above the second best, so that 60 calls decide what takes 300 otherwise.
    "adaptive": {
        "phi_start": 1.0,
        "rate_floor": 0.1,
        "burst_pause_s": INTERVAL_S,
        "burst_pause_max_s": INTERVAL_S,
        "probe_calls_per_hour": 2e4,
        "fresh_calls": 60,
    }
}


class Fleet:
    """Four deployments behind a proxy whose clock goes ahead by five minutes at a time."""

    def __init__(self, proxy: Proxy, providers: SimulatedProviders, clock: MovedClock) -> None:
        self._proxy = proxy
        self._providers = providers
        self._clock = clock
        self.seen: dict[str, str] = {}
        """Tiers of the latest recompute."""

    def fail(self, rate: float, *names: str) -> None:
        """Let deployments fail this share of their calls."""
        for name in names:
            self._providers.control.behave(name, error_rate=rate, propensity=1.0)

    def interval(self, requests: int = 72) -> dict[str, str]:
        """Send requests with tools, let five minutes pass, and return the tiers of the recompute."""
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: ask(self._proxy, "kimi"), range(requests)))
        await_recompute(self._proxy, "kimi", self._clock.advance(INTERVAL_S))
        self.seen = seen_tiers(self._proxy, "kimi")
        return self.seen

    def until(self, **wanted: str) -> None:
        """Send traffic until deployments have these tiers.

        Raises:
            AssertionError: they never had, with the tiers seen last.
        """
        for _ in range(MOST_INTERVALS):
            if wanted.items() <= self.interval().items():
                return
        raise AssertionError(f"wanted {wanted}, still {self.seen}")

    def event(self) -> dict[str, Any] | None:
        """The reason of a common cause, as every deployment has it."""
        reasons = (verdict(self._proxy, "kimi", "b") or {"reasons": []})["reasons"]
        return next((one for one in reasons if one["code"] == "common_cause"), None)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> MovedClock:
    """The plugin's clock in the proxy."""
    return MovedClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ModelTable:
    """Where the newcomer is added."""
    return ModelTable(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, clock: MovedClock, table: ModelTable) -> Proxy:
    """One model group of four, without retries; two fifths of the requests may be probes."""
    return start_proxy(
        {
            "model_list": [deployment(provider_server, name, "kimi") for name in NAMES],
            "litellm_settings": {"callbacks": [CALLBACK, "tests.support.proxy.model_table.callback"]},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "exacto_settings": {"tiers": RULE, "exploration": {"share": 0.4}},
        },
        environment={**clock.environment, **table.environment},
    )


def test_storm_break_repair_newcomer(
    proxy: Proxy, providers: SimulatedProviders, clock: MovedClock, table: ModelTable
) -> None:
    """Nobody is deranked in the storm; a break in the next one is found, alone; the repaired and the new one serve."""
    fleet = Fleet(proxy, providers, clock)
    fleet.fail(0.0, *NAMES)
    fleet.until(a=VERIFIED, b=VERIFIED, c=VERIFIED, d=VERIFIED)

    fleet.fail(0.25, *NAMES)
    for _ in range(2):
        assert DERANKED not in fleet.interval().values()
    storm = fleet.event()
    assert storm is not None
    assert storm["peers"] == 4
    assert 0.1 < storm["value"] < 0.4

    fleet.fail(0.0, *NAMES)
    for _ in range(3):
        assert DERANKED not in fleet.interval().values()
        if (fleet.event() or storm)["end"] is not None:
            break
    assert (fleet.event() or storm)["end"] is not None

    fleet.fail(0.25, *NAMES)
    fleet.fail(0.9, "a")
    # Within 15 minutes.
    for _ in range(3):
        if DERANKED in fleet.interval().values():
            break
    assert [name for name, tier in fleet.seen.items() if tier == DERANKED] == ["a"]

    fleet.fail(0.0, *NAMES)
    fleet.until(a=VERIFIED)
    assert DERANKED not in fleet.seen.values()

    providers.control.behave("e", propensity=1.0)
    table.put(deployment(providers, "e", "kimi"))
    ask(proxy, "kimi")
    fleet.until(e=VERIFIED)
    assert DERANKED not in fleet.seen.values()

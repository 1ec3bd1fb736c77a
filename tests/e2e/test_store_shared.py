"""What processes share through the store: two workers and no Redis, and a PostgreSQL that is killed and stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.store.exchange import LARGE_BUDGET_S
from tests.support.postgresql_server import Cluster, missing
from tests.support.proxy.background_traffic import Traffic
from tests.support.proxy.observation import PATIENCE_S, api, eventually, from_every_worker
from tests.support.proxy.openai_client import config
from tests.support.proxy.proxy import Proxy, deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

NAMES = ("alpha", "beta", "gamma")
TIERS = {"preset": "openrouter", "recompute_interval_s": 0.5}


def get(proxy: Proxy, path: str) -> dict[str, Any]:
    """Ask the API on a connection of its own, so that any worker may answer."""
    found: dict[str, Any] = api(proxy, path).json()
    return found


def counted(proxy: Proxy) -> dict[str, int]:
    """The judged answers that the snapshot counts."""
    deployments: list[dict[str, Any]] = get(proxy, "models/kimi").get("deployments", [])
    return {one["deployment"]: one["signals"].get("tool_call_success", {}).get("samples", 0) for one in deployments}


def _config(providers: SimulatedProviders, **exacto: Any) -> dict[str, Any]:
    made: dict[str, Any] = config([deployment(providers, name) for name in NAMES], tiers=TIERS, **exacto)
    return made


def test_two_workers_without_redis_have_one_opinion(providers: SimulatedProviders, start_proxy: StartProxy) -> None:
    """One of them leads; both serve its snapshot, which counts what both were asked; nothing had to be set."""
    proxy = start_proxy(_config(providers), workers=2)
    traffic = Traffic(NAMES, proxy)
    for number in range(24):
        traffic.ask(number)
    assert traffic.failed == []

    def agreement() -> tuple[Any, ...]:
        seen = from_every_worker(proxy, "status", 2)
        roles = sorted(one["sharing"]["role"] for one in seen)
        known = [(one["sharing"]["exchange"], one["sharing"]["workers"], one["store"]["state"]) for one in seen]
        return roles, len({one["snapshot"] for one in seen}), known, counted(proxy)

    asked = {name: providers.control.requests(name) for name in NAMES}
    assert sum(asked.values()) == 24
    eventually(agreement, (["follower", "leader"], 1, [("store", 2, "ok")] * 2, asked))
    assert [one["faults"] for one in from_every_worker(proxy, "status", 2)] == [{}, {}]


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of our own."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with Cluster() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(cluster: Cluster, provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A proxy whose store is in that server; what the providers were asked before is not its business."""
    provider_server.control.reset()
    return start_proxy(_config(provider_server, store={"url": cluster.fresh()}))


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_nobody_notices_what_happens_to_postgresql(
    proxy: Proxy, cluster: Cluster, provider_server: SimulatedProviders, fault: str
) -> None:
    """No request fails; the process judges alone meanwhile; afterwards each answer counts, once."""
    traffic = Traffic(NAMES, proxy)
    with traffic.flowing():
        traffic.wait_for(6)
        eventually(lambda: get(proxy, "status")["store"]["state"], "ok")
        (cluster.pause if fault == "stopped" else cluster.kill)()
        try:
            traffic.wait_for(6)
            # A part of a state that is being written is given up after a bound of its own.
            eventually(lambda: get(proxy, "status")["sharing"]["role"], "local", LARGE_BUDGET_S + PATIENCE_S)
            before = get(proxy, "status")["snapshot"]
            eventually(lambda: get(proxy, "status")["snapshot"] == before, False)
        finally:
            (cluster.resume if fault == "stopped" else cluster.start)()
        traffic.wait_for(6)
    assert traffic.failed == []

    def settled() -> tuple[str, str, dict[str, int]]:
        status = get(proxy, "status")
        return status["sharing"]["role"], status["store"]["state"], counted(proxy)

    eventually(settled, ("leader", "ok", {name: provider_server.control.requests(name) for name in NAMES}))
    assert get(proxy, "status")["faults"] == {}

"""Good deployments whose answers look unusual keep their tier, and no other one is asked in their place.

Two ordinary fleets: servers that stream tool calls without ids, and tools with names that LiteLLM shortens for
OpenAI-style providers, as those of an MCP server behind Claude Code.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy.observation import eventually, judged, verdict
from tests.support.proxy.proxy import CALLBACK
from tests.support.proxy.raw_upstream import RawUpstream, stored_answers
from tests.support.proxy.tier_setup import VERIFIED, seen_tiers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

ANSWERS = {answer["name"]: answer for answer in stored_answers()}
FLEETS = {
    "ids": ("/v1/chat/completions", "noids", "finish-twice"),
    "names": ("/v1/messages", "longname-real", "ant-long"),
}
"""Model group: the path, the unusual deployment's answer and that of the other."""
_FEW = {"phi_start": 1.0, "good_calls": 20, "peer_calls": 20}
"""Numbers of the rule for seconds instead of days."""
REQUESTS = 40
RECOMPUTE_S = 0.5
BATCHES = 8
"""Most times that so many are sent; two or three are enough."""
CALLERS = 4


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    """Serves the answers of all deployments."""
    with RawUpstream([ANSWERS[name] for _, *names in FLEETS.values() for name in names]) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(start_proxy: StartProxy, upstream: RawUpstream) -> Proxy:
    """Each fleet as it is, and once more with its unusual deployment first and rescue after it."""
    entries = []
    for group, (_, *names) in FLEETS.items():
        for order, name in enumerate(names, 1):
            entries.append(_entry(upstream, name, group, f"{group}-{name}"))
            entries.append(_entry(upstream, name, f"first-{group}", f"first-{group}-{name}", order=order))
    config = {
        "model_list": entries,
        "router_settings": {"num_retries": 0},
        "litellm_settings": {"callbacks": [CALLBACK], "drop_params": True},
        "exacto_settings": {
            "tiers": {"recompute_interval_s": RECOMPUTE_S, "adaptive": _FEW},
            "rescue": {"enabled": True, "streams": True},
            "model_groups": {fleet: {"mode": "observe"} for fleet in FLEETS},
        },
    }
    return start_proxy(config, keys={f"sk-{place}": {"user_id": f"user-{place}"} for place in range(CALLERS)})


def _entry(upstream: RawUpstream, answer: str, group: str, identity: str, **params: Any) -> dict[str, Any]:
    entry = upstream.deployment(ANSWERS[answer])
    return {
        "model_name": group,
        "litellm_params": {**entry["litellm_params"], **params},
        "model_info": {"id": identity},
    }


def _ask(proxy: Proxy, group: str, fleet: str, *, stream: bool) -> None:
    path, name, _ = FLEETS[fleet]
    body = {**ANSWERS[name]["request"], "model": group, "stream": stream}

    def one(number: int) -> None:
        proxy.request("POST", path, f"sk-{number % CALLERS}", json=body).raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(REQUESTS)))


@pytest.mark.parametrize(("fleet", "streams"), [("ids", (True,)), ("names", (False, True))])
def test_both_good_deployments_are_verified(proxy: Proxy, fleet: str, streams: tuple[bool, ...]) -> None:
    """No answer counts as bad, and neither is deranked."""
    deployments = [f"{fleet}-{name}" for name in FLEETS[fleet][1:]]
    verified = dict.fromkeys(deployments, VERIFIED)
    for _ in range(BATCHES):
        for stream in streams:
            _ask(proxy, fleet, fleet, stream=stream)
        time.sleep(RECOMPUTE_S)
        if seen_tiers(proxy, fleet) == verified:
            break
    eventually(lambda: seen_tiers(proxy, fleet), verified)
    for deployment in deployments:
        seen = verdict(proxy, fleet, deployment)
        assert seen is not None
        assert seen["flaws"] == {}
        assert seen["signals"]["tool_call_success"]["value"] == 1.0


@pytest.mark.parametrize(("fleet", "streams"), [("ids", (True,)), ("names", (False, True))])
def test_rescue_asks_nobody(proxy: Proxy, fleet: str, streams: tuple[bool, ...]) -> None:
    """Every answer is that of the first deployment, and the second gets no request."""
    group = f"first-{fleet}"
    for stream in streams:
        _ask(proxy, group, fleet, stream=stream)
    first, second = (f"{group}-{name}" for name in FLEETS[fleet][1:])
    eventually(lambda: judged(proxy, group, first), (REQUESTS * len(streams), 0))
    assert judged(proxy, group, second) == (0, 0)

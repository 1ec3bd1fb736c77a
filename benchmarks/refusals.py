"""429s that reach the client while the best host serves 40 % of the demand and declares nothing: real proxies.

Each of four proxies, bare LiteLLM and with the plugin, without and with two retries, has six hosts of its own. First
enough requests for verdicts, without a limit, and a minute's pause; then the best host refuses what exceeds 80
requests in a minute, and requests arrive at random, 200 a minute, each a conversation of its own. Cooldowns are
LiteLLM's own. Recomputes follow each other every 5 seconds instead of every 5 minutes, and a few hundred calls decide
about tiers (``QUICK``), so that minutes show what happens in hours. What is learned about capacity follows the rule's
own numbers.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from benchmarks.own_request import tools
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.demo.proxy import DemoProxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Answers = list[tuple[float, int]]
"""Minute and status of each request."""
KEY = "sk-benchmark"
HOSTS = {"best": 0.0, "second": 0.0, "third": 0.2, "fourth": 0.22, "fifth": 0.24, "outlier": 1.0}
"""Share of bad calls."""
QUICK = {
    "phi_start": 1.0,
    "peer_calls": 20,
    "prior_worked": 200.0,
    "rate_floor": 0.4,
    "peer_cap": 0.4,
    "good_ceiling": 0.4,
    "burst_pause_s": 1e6,
    "burst_pause_max_s": 1e6,
}
"""Numbers of the rule. Only the price of a bad call convicts below 40 %."""
PER_MINUTE = 200
CARRIED = 80
MILD = ("third", "fourth", "fifth")
WARM_UP = 200
"""Requests between two looks at the tiers, at most ``ROUNDS``."""
ROUNDS = 30
MINUTES = 12
SPANS = ((0, 1), (1, 4), (4, 8), (8, 12), (0, 12), (1, 12))
"""Minutes from and to; in the first one the limit is learned and the pool widened."""
PAUSE_S = 61.0
"""After it no request of the warm-up counts against the limit."""
CASES = {
    f"{name}, num_retries {retries}": (name == "plugin", retries) for retries in (0, 2) for name in ("bare", "plugin")
}
_NUMBERS = itertools.count()
"""Every request begins a conversation of its own."""


def _name(case: int, host: str) -> str:
    return f"{host}-{case}"


def _config(providers: SimulatedProviders, case: int, *, plugin: bool, retries: int) -> dict[str, Any]:
    """LiteLLM's configuration of one proxy."""
    entries = [
        {
            "model_name": "kimi",
            "litellm_params": {
                "model": "openai/kimi",
                "api_base": providers.api_base(_name(case, host)),
                "api_key": "x",
            },
            "model_info": {"id": host},
        }
        for host in HOSTS
    ]
    config: dict[str, Any] = {
        "model_list": entries,
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": retries},
    }
    if plugin:
        config["litellm_settings"] = {"callbacks": ["exacto_plugin.callback"]}
        config["exacto_settings"] = {"tiers": {"recompute_interval_s": 5, "adaptive": QUICK}}
    return config


async def _status(client: httpx.AsyncClient) -> int:
    messages = [{"role": "user", "content": f"request {next(_NUMBERS)}"}]
    body = {"model": "kimi", "messages": messages, "tools": tools(3)}
    try:
        answer = await client.post("/v1/chat/completions", json=body)
    except httpx.TransportError:  # an idle connection that the server closed at the same moment
        return 0
    return answer.status_code


async def _warm_up(client: httpx.AsyncClient) -> None:
    """Send requests, a few at a time, until the mild hosts are deranked and the best one is verified."""
    for _ in range(ROUNDS):
        left = iter(range(WARM_UP))

        async def one(left: Iterator[int] = left) -> None:
            for _ in left:
                await _status(client)

        await asyncio.gather(*(one() for _ in range(6)))
        await asyncio.sleep(6.0)
        found = (await client.get("/exacto/api/models/kimi")).json()
        tiers = {entry["deployment"]: entry["tier"] for entry in found.get("deployments", ())}
        if tiers.get("best") == "verified_good" and all(tiers[host] == "deranked" for host in MILD):
            return
    raise TimeoutError(f"no verdicts: {tiers}")


async def _demand(client: httpx.AsyncClient, seed: int) -> Answers:
    """Send requests that arrive at random; return the minute and the status of each."""
    draw, loop = random.Random(seed), asyncio.get_running_loop()
    began, at = loop.time(), 0.0
    sent: list[tuple[float, asyncio.Task[int]]] = []
    while (at := at + draw.expovariate(PER_MINUTE / 60)) < MINUTES * 60:
        await asyncio.sleep(max(0.0, began + at - loop.time()))
        sent.append((at / 60, asyncio.create_task(_status(client))))
    return [(minute, await answer) for minute, answer in sent]


async def _measure(proxies: Mapping[str, DemoProxy], providers: SimulatedProviders) -> dict[str, Answers]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=one.base_url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=600.0
                )
            )
            for one in proxies.values()
        ]
        learning = [client for client, (plugin, _) in zip(clients, CASES.values(), strict=True) if plugin]
        await asyncio.gather(*map(_warm_up, learning))
        await asyncio.sleep(PAUSE_S)
        for case in range(len(CASES)):
            providers.control.behave(_name(case, "best"), requests_per_minute=CARRIED)
        found = await asyncio.gather(*(_demand(client, 1) for client in clients))
    return dict(zip(proxies, found, strict=True))


def main() -> list[str]:
    """The table."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exacto-bench-")))
        providers = stack.enter_context(SimulatedProviders())
        proxies = {}
        for number, (name, (plugin, retries)) in enumerate(CASES.items()):
            for host, rate in HOSTS.items():
                providers.control.behave(_name(number, host), error_rate=rate)
            folder = root / str(number)
            folder.mkdir()
            config = _config(providers, number, plugin=plugin, retries=retries)
            (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
            environment = {**os.environ, "LITELLM_MASTER_KEY": KEY}
            proxies[name] = stack.enter_context(DemoProxy(folder / "config.yaml", environment))
        measured = asyncio.run(_measure(proxies, providers))
        picks = {
            name: {host: providers.control.requests(_name(number, host)) for host in HOSTS}
            for number, name in enumerate(CASES)
        }
    spans = "".join(f"{f'min {start + 1}-{end}':>10}" for start, end in SPANS)
    lines = [f"{'429s that reach the client, %':<32}{spans}{'other':>8}"]
    for name, answers in measured.items():
        parts = [[status for at, status in answers if start <= at < end] for start, end in SPANS]
        shares = "".join(f"{100 * part.count(429) / max(1, len(part)):10.2f}" for part in parts)
        others = sum(status not in (200, 429) for _, status in answers)
        lines.append(f"{name:<32}{shares}{others:8}")
    lines += ["", "requests at the hosts, warm-up and retries included"]
    for name, hosts in picks.items():
        lines.append(f"{name:<32}" + ", ".join(f"{host} {count}" for host, count in hosts.items()))
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(main()) + "\n")

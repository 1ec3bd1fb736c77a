"""The paired end-to-end difference: two real proxies, with and without the plugin, and an A/A control.

Requests go to the three proxies in turns, one connection each, so that noise hits all alike; what counts is the
difference within a round. CPU is user plus system time of the proxy process.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import yaml

from benchmarks.own_request import tools
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.demo.proxy import DemoProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEY = "sk-benchmark"
ROUNDS = 25
REQUESTS = 10
"""Requests to each proxy in one round."""
KINDS = {"bare (A)": False, "bare again (A')": False, "with the plugin (B)": True}


def proxy_config(providers: SimulatedProviders, *, plugin: bool) -> dict[str, Any]:
    """LiteLLM's configuration: one model of four deployments."""
    entries = [
        {
            "model_name": "kimi",
            "litellm_params": {"model": "openai/kimi", "api_base": providers.api_base(f"p{i}"), "api_key": "x"},
            "model_info": {"id": f"p{i}"},
        }
        for i in range(4)
    ]
    config: dict[str, Any] = {"model_list": entries, "general_settings": {"master_key": KEY}}
    if plugin:
        config["litellm_settings"] = {"callbacks": ["exacto_plugin.callback"]}
    return config


def _measure(proxies: dict[str, DemoProxy]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of wall clock and of CPU per request, by proxy and round."""
    body = {"model": "kimi", "messages": [{"role": "user", "content": "x"}], "tools": tools(50)}
    wall: dict[str, list[float]] = {name: [] for name in proxies}
    cpu: dict[str, list[float]] = {name: [] for name in proxies}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(
                httpx.Client(base_url=p.base_url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
            )
            for name, p in proxies.items()
        }
        for number in range(ROUNDS + 3):
            for name in random.sample(list(proxies), len(proxies)):
                process = psutil.Process(proxies[name].pid)
                before, started = process.cpu_times(), time.perf_counter()
                for _ in range(REQUESTS):
                    clients[name].post("/v1/chat/completions", json=body, timeout=60.0).raise_for_status()
                after, ended = process.cpu_times(), time.perf_counter()
                if number >= 3:
                    wall[name].append((ended - started) * 1000 / REQUESTS)
                    cpu[name].append((after.user + after.system - before.user - before.system) * 1000 / REQUESTS)
    return wall, cpu


def compare(title: str, configure: Callable[[SimulatedProviders], Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """The table of the paired differences to the first of some proxies.

    Args:
        title: of the table.
        configure: gives the configuration of each proxy, by what it is called.
    """
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exacto-bench-")))
        providers = stack.enter_context(SimulatedProviders())
        proxies = {}
        for number, (name, config) in enumerate(configure(providers).items()):
            folder = root / str(number)
            folder.mkdir()
            (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
            environment = {**os.environ, "LITELLM_MASTER_KEY": KEY}
            proxies[name] = stack.enter_context(DemoProxy(folder / "config.yaml", environment))
        wall, cpu = _measure(proxies)
    base = next(iter(wall))
    lines = [f"{title:<46}{'wall':>8}{'CPU':>8}{'wall diff':>11}{'IQR':>16}"]
    for name in wall:
        differences = [b - a for a, b in zip(wall[base], wall[name], strict=True)]
        low, middle, high = statistics.quantiles(differences, n=4)
        medians = f"{statistics.median(wall[name]):8.2f}{statistics.mean(cpu[name]):8.2f}"
        lines.append(f"{name:<46}{medians}{middle:11.3f}{f'[{low:.2f}, {high:.2f}]':>16}")
    return lines


def main() -> list[str]:
    """The table."""
    return compare(
        "ms per tool request, 50 tools, 1 connection",
        lambda providers: {name: proxy_config(providers, plugin=plugin) for name, plugin in KINDS.items()},
    )


if __name__ == "__main__":
    sys.stdout.write("\n".join(main()) + "\n")

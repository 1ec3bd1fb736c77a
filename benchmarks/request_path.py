"""The cost of the plugin on a request through real proxies, beside bare LiteLLM of the same version.

Three proxies (bare, bare again as the control, with the plugin) get the same requests in turns, so that noise hits all
alike. Measured are the processor time of the process of the proxy for one request, the time to the first byte of a
stream, and the throughput with several connections. The ratio of the control says what a difference means.

    python -m benchmarks.request_path [--python INTERPRETER ...] [--before CHECKOUT]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import yaml

from benchmarks.end_to_end import KEY, proxy_config
from benchmarks.own_request import tools
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.demo.proxy import DemoProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Measure = Callable[[httpx.Client, dict[str, Any]], float]

ROUNDS, WARM_UP = 16, 2
REQUESTS = 15
"""Requests to each proxy in one round, over one connection."""
CONNECTIONS = 8
PARALLEL = 160
"""Requests to each proxy in one round, over ``CONNECTIONS``."""
PARALLEL_ROUNDS = 8
HEADERS = {"Authorization": f"Bearer {KEY}"}
QUESTION = [{"role": "user", "content": "Please book it. " * 20}]
BODIES: dict[str, dict[str, Any]] = {
    "50 tools": {"model": "kimi", "messages": QUESTION, "tools": tools(50)},
    "no tools": {"model": "kimi", "messages": QUESTION},
}


def whole(client: httpx.Client, body: dict[str, Any]) -> float:
    """Milliseconds until the whole answer is there."""
    started = time.perf_counter()
    client.post("/v1/chat/completions", json=body).raise_for_status()
    return (time.perf_counter() - started) * 1000


def first_byte(client: httpx.Client, body: dict[str, Any]) -> float:
    """Milliseconds until the first byte of a stream is there; the rest is read as well."""
    started = time.perf_counter()
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
        answer.raise_for_status()
        rest = answer.iter_raw()
        next(rest)
        taken = time.perf_counter() - started
        for _ in rest:
            pass
    return taken * 1000


def measured(
    proxies: dict[str, DemoProxy], measure: Measure, body: dict[str, Any]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of ``measure`` (median of a round) and of processor time per request, by proxy and round."""
    taken: dict[str, list[float]] = {name: [] for name in proxies}
    cpu: dict[str, list[float]] = {name: [] for name in proxies}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(
                httpx.Client(base_url=proxy.base_url, headers=HEADERS, trust_env=False, timeout=60.0)
            )
            for name, proxy in proxies.items()
        }
        for number in range(ROUNDS + WARM_UP):
            for name in random.sample(list(proxies), len(proxies)):
                before = processor_s(proxies[name])
                times = [measure(clients[name], body) for _ in range(REQUESTS)]
                spent = (processor_s(proxies[name]) - before) * 1000 / REQUESTS
                if number >= WARM_UP:
                    taken[name].append(statistics.median(times))
                    cpu[name].append(spent)
    return taken, cpu


def processor_s(proxy: DemoProxy) -> float:
    """Seconds of user and system time that a proxy's process has used."""
    used = psutil.Process(proxy.pid).cpu_times()
    return used.user + used.system


async def throughput(proxies: dict[str, DemoProxy]) -> dict[str, list[float]]:
    """Requests with tools a second over ``CONNECTIONS``, by proxy and round."""
    rates: dict[str, list[float]] = {name: [] for name in proxies}
    limits = httpx.Limits(max_connections=CONNECTIONS)
    for number in range(PARALLEL_ROUNDS + 1):
        for name in random.sample(list(proxies), len(proxies)):
            async with httpx.AsyncClient(
                base_url=proxies[name].base_url, headers=HEADERS, trust_env=False, timeout=60.0, limits=limits
            ) as client:
                waiting = iter(range(PARALLEL))
                started = time.perf_counter()
                await asyncio.gather(*(_ask_on(client, waiting) for _ in range(CONNECTIONS)))
                if number:
                    rates[name].append(PARALLEL / (time.perf_counter() - started))
    return rates


async def _ask_on(client: httpx.AsyncClient, waiting: Iterator[int]) -> None:
    for _ in waiting:
        answer = await client.post("/v1/chat/completions", json=BODIES["50 tools"])
        answer.raise_for_status()


def ratio_rows(title: str, values: dict[str, list[float]]) -> list[str]:
    """A table: the median, and median and quartiles of the ratio to the first proxy in the same round."""
    base = next(iter(values.values()))
    lines = [f"{title:<46}{'median':>9}{'ratio':>9}{'q1':>8}{'q3':>8}"]
    for name, own in values.items():
        low, middle, high = statistics.quantiles([b / a for a, b in zip(base, own, strict=True)], n=4)
        lines.append(f"  {name:<44}{statistics.median(own):9.2f}{middle:9.3f}{low:8.3f}{high:8.3f}")
    return lines


def compared(interpreter: Path, before: Path | None) -> list[str]:
    """All tables for the LiteLLM of one environment."""
    version = subprocess.run(
        [str(interpreter), "-c", "from importlib.metadata import version; print(version('litellm'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    here = Path(__file__).resolve().parents[1]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exacto-bench-")))
        providers = stack.enter_context(SimulatedProviders())
        checkouts = {"bare": None, "bare again": None, "with the plugin": here}
        if before is not None:
            checkouts["with the plugin before"] = before
        proxies = {}
        for number, (name, checkout) in enumerate(checkouts.items()):
            config = root / str(number) / "config.yaml"
            config.parent.mkdir()
            config.write_text(yaml.safe_dump(proxy_config(providers, plugin=checkout is not None)), encoding="utf-8")
            environment = {**os.environ, "LITELLM_MASTER_KEY": KEY, "PYTHONPATH": str(checkout or here)}
            proxies[name] = stack.enter_context(DemoProxy(config, environment, interpreter=interpreter))
        lines = [f"LiteLLM {version}", ""]
        for what, body in BODIES.items():
            _, cpu = measured(proxies, whole, body)
            lines += ratio_rows(f"ms of processor time, {what}", cpu)
            first, _ = measured(proxies, first_byte, body)
            lines += ratio_rows(f"ms to the first byte of a stream, {what}", first)
        lines += ratio_rows(f"requests a second, {CONNECTIONS} connections", asyncio.run(throughput(proxies)))
    return [*lines, ""]


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """The tables of each environment."""
    parser = argparse.ArgumentParser(description="The cost of the plugin on a request through real proxies.")
    parser.add_argument("--python", type=Path, action="append", help="the Python of an environment with LiteLLM")
    parser.add_argument("--before", type=Path, help="an earlier checkout to compare with")
    options = parser.parse_args(arguments)
    return [
        line
        for interpreter in options.python or [Path(sys.executable)]
        for line in compared(interpreter, options.before and options.before.resolve())
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(main()) + "\n")

"""Two real proxies, one with the plugin and one without, under the same mixed traffic: leaks, lag and faults."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.demo.proxy import free_port
from tests.soak.inside import PORT
from tests.soak.traffic import CURATED, SHAKY, STEADY, Traffic
from tests.support.proxy.observation import Probe, api
from tests.support.proxy.proxy import CALLBACK, Proxy, deployment

if TYPE_CHECKING:
    from collections.abc import Callable

_QUIET_S = 15.0
"""After the traffic: until logging is done, hanging requests have timed out and connections are closed."""

_GROWTH_MB = 30.0
"""Memory that the proxy with the plugin may gain over the one without, in the second half of the time. Its windows
take a few MB and stop growing."""
_LIVE = 200
"""Objects of one request that may be left when nothing is on its way; LiteLLM's caches hold on to some."""
_FDS = 25
"""File descriptors beyond those of the proxy without the plugin."""
_BUSY_S = 1.0
"""Processor time for which the event loop may be busy at a time, beyond that of the proxy without the plugin."""

_PER_REQUEST = ("RequestState", "Attempt", "Decision", "Refusal", "Responder", "Slug")

_FAILING: dict[str, dict[str, Any]] = {
    "errors": {"failure_rate": 0.5},
    "limits": {"failure_rate": 0.5, "failure_status": 429, "retry_after_s": 0.1},
    "bad": {"error_rate": 0.7},
    "odd": {
        "error_rate": 1.0,
        "error_mix": dict.fromkeys((Act.MISSING_CALL, Act.EMPTY_ARGUMENTS, Act.LEAKED_MARKUP, Act.DUPLICATE_IDS), 1.0),
    },
    "breaks": {"error_rate": 0.9, "error_mix": dict.fromkeys((Act.DROP, Act.STOP_AFTER_NAME, Act.TRUNCATED), 1.0)},
    "silent": {"error_rate": 0.3, "error_mix": dict.fromkeys((Act.HANG, Act.STALL, Act.ERROR_FIRST), 1.0)},
}
"""Providers of the shaky group."""


@dataclass
class Watched:
    """One proxy under strain."""

    proxy: Proxy
    inside: str
    """Where the half inside the process answers."""
    rss_mb: list[float] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)

    def look(self) -> None:
        """Take the numbers down."""
        self.proxy.check_alive()
        pid = self.proxy.pid
        if pid is not None:
            processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            self.rss_mb.append(sum(process.memory_info().rss for process in processes) / 2**20)
            self.fds.append(sum(process.num_fds() for process in processes))
        self.last = httpx.get(self.inside, timeout=60.0, trust_env=False).json()

    def growth_mb(self) -> float:
        """From the middle to the end."""
        middle = len(self.rss_mb) // 2
        return self.rss_mb[-1] - self.rss_mb[middle]

    def left(self) -> int:
        """Objects of single requests that are still there."""
        return max((self.last.get("live", {}).get(kind, 0) for kind in _PER_REQUEST), default=0)


@dataclass
class Strain:
    """What came of it."""

    lines: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def strain(seconds: float, seed: int, say: Callable[[str], None]) -> Strain:
    """Run the proxies under traffic for about so long."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exacto-soak-")))
        providers = stack.enter_context(SimulatedProviders())
        for name, behaviour in _FAILING.items():
            for which in ("ours", "bare"):
                providers.control.behave(f"{which}-{name}", **behaviour)
        probe = Probe(directory)
        ours = _started(stack, providers, directory / "ours", "ours", probe.environment)
        bare = _started(stack, providers, directory / "bare", "bare", {})
        say("two proxies are up")
        traffic = Traffic(ours.proxy.base_url, bare.proxy.base_url, seed)
        asyncio.run(_under(traffic, (ours, bare), seconds, say))
        time.sleep(_QUIET_S)
        for watched in (ours, bare):
            watched.look()
        faults = api(ours.proxy, "status").json()["faults"]
        done = _judged(traffic, ours, bare, faults, probe.warnings())
        for line in (*done.lines, *(f"FINDING {finding}" for finding in done.findings)):
            say(line)
        return done


def _started(stack: ExitStack, providers: SimulatedProviders, directory: Path, which: str, environment: Any) -> Watched:
    names = {STEADY: ("one", "two", "three"), SHAKY: tuple(_FAILING), CURATED: ("four",)}
    models = [
        deployment(providers, f"{which}-{name}", group, timeout=timeout, stream_timeout=timeout)
        for group, all_ in names.items()
        for name in all_
        for timeout in (2.0 if group == SHAKY else 60.0,)
    ]
    config: dict[str, Any] = {
        "model_list": models,
        "router_settings": {"num_retries": 1, "cooldown_time": 1, "retry_after": 0},
    }
    if which == "ours":
        config["litellm_settings"] = {"callbacks": [CALLBACK]}
        config["exacto_settings"] = {"tiers": {"recompute_interval_s": 2}, "curated": {CURATED: ["nobody"]}}
    port = free_port()
    hooks = ",".join(filter(None, [environment.get("LITELLM_WORKER_STARTUP_HOOKS"), "tests.soak.inside:watch"]))
    environment = {**environment, "LITELLM_WORKER_STARTUP_HOOKS": hooks, PORT: str(port)}
    proxy = stack.enter_context(Proxy(config, directory, environment=environment))
    return Watched(proxy, f"http://127.0.0.1:{port}/")


async def _under(traffic: Traffic, all_: tuple[Watched, ...], seconds: float, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(traffic.run(stop))
    ends = time.monotonic() + seconds
    spoke = time.monotonic()
    while time.monotonic() < ends and not running.done():
        await asyncio.sleep(min(10.0, max(0.1, ends - time.monotonic())))
        for watched in all_:
            await asyncio.to_thread(watched.look)
        if time.monotonic() - spoke > 120:
            spoke = time.monotonic()
            sizes = ", ".join(f"{watched.rss_mb[-1]:.0f} MB, {watched.fds[-1]} fds" for watched in all_)
            say(f"{sum(traffic.counts.values()):,} requests so far; with the plugin and without: {sizes}")
    stop.set()
    await running


def _judged(traffic: Traffic, ours: Watched, bare: Watched, faults: Any, warnings: list[str]) -> Strain:
    done = Strain(findings=list(traffic.findings))
    kinds = ", ".join(f"{kind}: {number}" for kind, number in sorted(traffic.counts.items()))
    done.lines.append(f"requests with the plugin: {sum(traffic.counts.values()):,} ({kinds})")
    done.lines.append(f"connections that broke: {dict(traffic.broken)}")
    for name, watched in (("with the plugin", ours), ("without", bare)):
        done.lines.append(
            f"{name}: RSS {watched.rss_mb[0]:.0f} -> {watched.rss_mb[-1]:.0f} MB ({watched.growth_mb():+.1f} MB in the "
            f"second half), fds {watched.fds[0]} -> {watched.fds[-1]}, threads {watched.last['threads']}, loop busy at "
            f"most {watched.last['longest_busy_s']:.2f} s (wait {watched.last['longest_wait_s']:.2f} s)"
        )
    live = {kind: number for kind, number in ours.last["live"].items() if kind in _PER_REQUEST}
    done.lines.append(f"left of requests when all was quiet: {live}; exacto.plugin.errors: {faults}")
    broken = {
        which: sum(number for kind, number in traffic.broken.items() if kind.startswith(which))
        for which in ("ours", "bare")
    }
    checks = {
        f"{broken['ours']} connections broke, {broken['bare']} without the plugin": broken["ours"]
        > 2 * broken["bare"] + 5,
        f"{ours.growth_mb():.0f} MB more in the second half": ours.growth_mb() > bare.growth_mb() + _GROWTH_MB,
        f"{ours.fds[-1]} file descriptors at the end": ours.fds[-1] > bare.fds[-1] + _FDS,
        f"{ours.left()} objects of one kind left": ours.left() > _LIVE,
        f"the loop was busy for {ours.last['longest_busy_s']:.1f} s": ours.last["longest_busy_s"]
        > bare.last["longest_busy_s"] + _BUSY_S,
        f"faults {faults}": bool(faults),
        f"warnings {warnings[:5]}": bool(warnings),
    }
    done.findings += [what for what, bad in checks.items() if bad]
    return done

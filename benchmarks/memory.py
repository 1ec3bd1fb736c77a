"""Memory of a proxy's process, with the plugin and without: resident megabytes after its start, after traffic and idle.

Each proxy has one worker and four deployments of one model; requests are chats with 50 tools, one after the other, in
100 conversations. Then all proxies are left alone at the same time, and their processor time is measured. A second bare
proxy tells what two equal ones differ by. Run as ``python -m benchmarks.memory``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import yaml

from benchmarks.end_to_end import KEY, KINDS, proxy_config
from benchmarks.own_request import tools
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.demo.proxy import DemoProxy

REQUESTS = 1000
CONVERSATIONS = 100
MEGABYTE = 1e6
SETTLED_S = 30.0
"""Seconds after the last request before the idle time begins."""


class Process:
    """A proxy's process and what was measured of it."""

    def __init__(self, name: str, proxy: DemoProxy) -> None:
        self._process = psutil.Process(proxy.pid)
        self._url = proxy.base_url
        self.name = name
        self.resident_mb = [self._resident()]
        self.busy_s: list[float] = []

    def ask(self) -> None:
        """Send the requests."""
        headers = {"Authorization": f"Bearer {KEY}"}
        body = {"model": "kimi", "tools": tools(50)}
        with httpx.Client(base_url=self._url, headers=headers, trust_env=False) as client:
            for turn in range(REQUESTS):
                messages = [{"role": "user", "content": f"conversation {turn % CONVERSATIONS}"}]
                answer = client.post("/v1/chat/completions", json={**body, "messages": messages}, timeout=60.0)
                answer.raise_for_status()

    def measure(self) -> None:
        """Note the memory, and the processor time since the start of the process."""
        times = self._process.cpu_times()
        self.resident_mb.append(self._resident())
        self.busy_s.append(times.user + times.system)

    def _resident(self) -> float:
        return self._process.memory_info().rss / MEGABYTE


def started(stack: ExitStack, name: str, folder: Path, providers: SimulatedProviders, *, plugin: bool) -> Process:
    """Start a proxy with files of its own in ``folder``; it ends with ``stack``."""
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(proxy_config(providers, plugin=plugin)), encoding="utf-8")
    environment = {**os.environ, "LITELLM_MASTER_KEY": KEY, "XDG_STATE_HOME": str(folder)}
    return Process(name, stack.enter_context(DemoProxy(config, environment)))


def main(idle_minutes: float) -> list[str]:
    """The table."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exacto-bench-")))
        providers = stack.enter_context(SimulatedProviders())
        all_kinds = [
            started(stack, name, root / str(number), providers, plugin=plugin)
            for number, (name, plugin) in enumerate(KINDS.items())
        ]
        for one in all_kinds:
            one.ask()
            one.measure()
        time.sleep(SETTLED_S)
        for wait_s in (0.0, idle_minutes * 60):
            time.sleep(wait_s)
            for one in all_kinds:
                one.measure()
    after, idle = f"{REQUESTS} requests", f"idle {idle_minutes:g} min"
    lines = [f"{'resident MB of the process':<30}{'started':>10}{after:>16}{idle:>16}{'idle, % of a core':>20}"]
    for one in all_kinds:
        begun, asked, _, left = one.resident_mb
        share = (one.busy_s[-1] - one.busy_s[-2]) / (idle_minutes * 60)
        lines.append(f"{one.name:<30}{begun:10.0f}{asked:16.0f}{left:16.0f}{share:20.3%}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-minutes", type=float, default=60.0, help="minutes without requests (default: 60)")
    sys.stdout.write("\n".join(main(parser.parse_args().idle_minutes)) + "\n")

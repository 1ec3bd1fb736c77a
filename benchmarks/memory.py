"""Memory of a proxy's process, with the plugin and without: resident megabytes after its start and after traffic.

Each proxy has one worker and four deployments of one model; requests are chats with 50 tools, one after the other, in
100 conversations. A second bare proxy tells what two equal ones differ by. Run as ``python -m benchmarks.memory``.
"""

from __future__ import annotations

import os
import sys
import tempfile
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


def main() -> list[str]:
    """The table."""
    lines = [f"{'resident MB of the process':<30}{'started':>10}{f'{REQUESTS} requests':>16}"]
    body = {"model": "kimi", "tools": tools(50)}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exacto-bench-")))
        providers = stack.enter_context(SimulatedProviders())
        for number, (name, plugin) in enumerate(KINDS.items()):
            folder = root / str(number)
            folder.mkdir()
            config = folder / "config.yaml"
            config.write_text(yaml.safe_dump(proxy_config(providers, plugin=plugin)), encoding="utf-8")
            environment = {**os.environ, "LITELLM_MASTER_KEY": KEY, "XDG_STATE_HOME": str(folder)}
            with (
                DemoProxy(config, environment) as proxy,
                httpx.Client(
                    base_url=proxy.base_url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
                ) as client,
            ):
                process = psutil.Process(proxy.pid)
                began = process.memory_info().rss / MEGABYTE
                for turn in range(REQUESTS):
                    messages = [{"role": "user", "content": f"conversation {turn % CONVERSATIONS}"}]
                    answer = client.post("/v1/chat/completions", json={**body, "messages": messages}, timeout=60.0)
                    answer.raise_for_status()
                lines.append(f"{name:<30}{began:10.0f}{process.memory_info().rss / MEGABYTE:16.0f}")
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(main()) + "\n")

"""The half of the soak that runs inside a proxy: what lives there, and for how long its event loop was busy at a time.

Loaded by ``LITELLM_WORKER_STARTUP_HOOKS=tests.soak.inside:watch``; answers on the port that the environment names.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = "SOAK_INSIDE_PORT"
_TICK_S = 0.02

_loop = {"longest_busy_s": 0.0, "longest_wait_s": 0.0}
_kept: list[asyncio.Task[None]] = []


async def watch() -> None:
    """Start measuring and answering."""
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ[PORT])), _Answer)
    threading.Thread(target=server.serve_forever, name="soak", daemon=True).start()
    _kept.append(asyncio.create_task(_tick()))


async def _tick() -> None:
    """Processor time that the loop's thread took between two ticks is the longest that any request had to wait for it.

    Wall time is kept too, but on a busy machine it says nothing.
    """
    await asyncio.sleep(10.0)  # starting is slow
    while True:
        busy, wall = time.thread_time(), time.monotonic()
        await asyncio.sleep(_TICK_S)
        _loop["longest_busy_s"] = max(_loop["longest_busy_s"], time.thread_time() - busy)
        _loop["longest_wait_s"] = max(_loop["longest_wait_s"], time.monotonic() - wall - _TICK_S)


def _seen() -> dict[str, Any]:
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    # Of a few classes it is a descriptor.
    ours = (kind.__name__ for kind in kinds if str(getattr(kind, "__module__", "")).startswith("exacto_plugin"))
    return {**_loop, "live": Counter(ours), "threads": threading.active_count()}


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Any path: everything."""
        body = json.dumps(_seen()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

"""A server between a client and two proxies: both get each request, and their answers are compared event by event.

What differs between any two requests is left out: ids, times, and signatures of thoughts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from exacto_plugin.litellm_hooks.sse import event_data, split_events
from tests.support.application_thread import ApplicationThread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from tests.clients.provider import TruthfulProviders

VOLATILE: Final = frozenset({
    "id", "item_id", "response_id", "call_id", "created", "created_at", "completed_at", "signature",
    "system_fingerprint",
})  # fmt: skip
_OWN_HEADERS: Final = frozenset({"host", "content-length", "accept-encoding", "connection", "transfer-encoding"})
_SHOWN_CHARS: Final = 300
_LONGEST_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it arrived.

    Args:
        status: of HTTP.
        kind: its media type.
        content: the body.
        asked: requests to providers for it.
    """

    status: int
    kind: str
    content: bytes
    asked: int

    def events(self) -> list[Any]:
        """Its events with their names, in their order; a whole answer is one."""
        if "event-stream" not in self.kind:
            return [_read(self.content)]
        whole, rest = split_events(self.content)
        return [
            (event.split(b"\n", 1)[0].decode() if event.startswith(b"event:") else "", _read(data))
            for event in (*whole, rest)
            if (data := event_data(event)) is not None
        ]


def stable(value: Any, volatile: frozenset[str] = VOLATILE) -> Any:
    """Return plain data without what differs between any two requests."""
    if isinstance(value, dict):
        return {name: stable(one, volatile) for name, one in value.items() if name not in volatile}
    return [stable(one, volatile) for one in value] if isinstance(value, list | tuple) else value


def first_difference(bare: list[Any], other: list[Any]) -> str | None:
    """Return where two lists of events differ first, in words; None where they do not."""
    for place, (one, two) in enumerate(itertools.zip_longest(bare, other)):
        if one != two:
            return f"event {place} of {len(bare)}: {_shown(one)} became {_shown(two)}"
    return None


def _shown(event: Any) -> str:
    return json.dumps(event, ensure_ascii=False)[:_SHOWN_CHARS]


def _read(data: bytes) -> Any:
    try:
        return stable(json.loads(data))
    except ValueError:
        return data.decode(errors="replace")


class BothProxies(ApplicationThread):
    """The server in a thread of its own, as a context manager.

    Args:
        bare: address of LiteLLM alone.
        other: address of the proxy with the plugin.
        providers: behind both; each request of the client gets one answer of theirs.
    """

    def __init__(self, bare: str, other: str, providers: TruthfulProviders) -> None:
        self._addresses = (bare, other)
        self._providers = providers
        self._lock = asyncio.Lock()
        self.delivered = 1
        """Whose answer the client gets: 0 of LiteLLM alone, 1 of the plugin."""
        self.number = 0
        """Of the newest request."""
        self.compared: Counter[str] = Counter()
        """Compared answers by path and form, and the events of all of them."""
        self.differences: list[str] = []
        app = Starlette(routes=[Route("/{path:path}", self._serve, methods=["GET", "HEAD", "POST"])])
        super().__init__(app, "both-proxies")
        self.base_url = f"http://127.0.0.1:{self.port}"

    async def _serve(self, request: Request) -> Response:
        body = await request.body()
        headers = {name: value for name, value in request.headers.items() if name not in _OWN_HEADERS}
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        async with self._lock, httpx.AsyncClient(timeout=_LONGEST_S, trust_env=False) as client:
            if request.method != "POST":
                got = await self._ask(client, request.method, self._addresses[1] + target, headers, body)
            else:
                self.number += 1
                self._providers.fixed = self.number
                both = [await self._ask(client, "POST", address + target, headers, body) for address in self._addresses]
                self._compare(request.url.path, *both)
                got = both[self.delivered]
        return Response(got.content, got.status, {"content-type": got.kind})

    async def _ask(
        self, client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Answered:
        before = len(self._providers.sent)
        got = await client.request(method, url, headers=headers, content=body)
        kind = got.headers.get("content-type", "")
        return Answered(got.status_code, kind, got.content, len(self._providers.sent) - before)

    def _compare(self, path: str, bare: Answered, other: Answered) -> None:
        events = bare.events()
        found = first_difference(events, other.events())
        if (bare.status, bare.kind, bare.asked) != (other.status, other.kind, other.asked):
            found = f"{bare.status} {bare.kind}, asked {bare.asked}, became {other.status} {other.kind}, {other.asked}"
        form = "streamed" if "event-stream" in bare.kind else "whole" if bare.status < 400 else f"status {bare.status}"
        self.compared[f"{path} {form}"] += 1
        self.compared["events"] += len(events)
        if found is not None:
            self.differences.append(f"{path} {form} no. {self.number}: {found}")

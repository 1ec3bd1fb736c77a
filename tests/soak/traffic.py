"""Mixed traffic: every surface, whole and streamed, clients that leave, bodies that are broken, providers that fail."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.proxy.proxy import MASTER_KEY
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

STEADY, SHAKY, CURATED = "steady", "shaky", "curated"
"""Model groups: providers that always answer; providers that fail in every way; one whose curated list is empty."""

_TIMEOUT_S = 60.0
_FLAT_TOOLS = [{"type": "function", **TOOLS[0]["function"]}]
_ANTHROPIC_TOOLS = [{"name": "get_weather", "input_schema": TOOLS[0]["function"]["parameters"]}]
_FIELDS = (
    *("messages", "tools", "tool_choice", "functions", "metadata", "session_id", "prompt_cache_key", "user", "n"),
    *("extra_body", "stream", "stream_options", "system", "instructions", "input", "response_format", "temperature"),
)
_STRANGE = ("5", "true", "null", '"x"', "[]", "{}", "[1]", "[[]]", "[{}]", "[null]", '{"a": 1}', "NaN", "1" + "0" * 40)
_ERROR = re.compile(rb'"error": ?[{"]')
_SLUGS = (STEADY, f"{STEADY}:exacto", f"{STEADY}:floor", f"{STEADY}:exacto:nitro")


class Traffic:
    """Sends requests to two proxies, the one with the plugin and the one without it.

    Args:
        ours: base URL of the proxy with the plugin.
        bare: base URL of the proxy without it.
        seed: of everything that is drawn.
    """

    def __init__(self, ours: str, bare: str, seed: int) -> None:
        self._urls = {"ours": ours, "bare": bare}
        self._random = Random(seed)
        self.counts: Counter[str] = Counter()
        """Requests to the proxy with the plugin by kind and status."""
        self.broken: Counter[str] = Counter()
        """Connections that broke, by proxy, kind and error."""
        self.findings: list[str] = []
        headers = {"Authorization": f"Bearer {MASTER_KEY}"}
        limits = httpx.Limits(max_connections=32, keepalive_expiry=2.0)  # the proxies close idle ones after 5 s
        self._client = httpx.AsyncClient(headers=headers, timeout=_TIMEOUT_S, trust_env=False, limits=limits)

    async def run(self, stop: asyncio.Event, tasks: int = 6) -> None:
        """Keep so many requests on their way until told to stop."""
        async with self._client:
            await asyncio.gather(*(self._keep_asking(stop) for _ in range(tasks)))

    async def _keep_asking(self, stop: asyncio.Event) -> None:
        kinds = {
            self._chat: 5, self._messages: 2, self._responses: 2, self._shaky: 4, self._leaves: 3, self._uploads: 1,
            self._odd: 3, self._strange: 3, self._refused: 1, self._path: 1, self._listed: 1,
        }  # fmt: skip
        while not stop.is_set():
            (kind,) = self._random.choices(list(kinds), weights=list(kinds.values()))
            try:
                await kind()
            except httpx.HTTPError as error:
                # Of whichever server; the two are compared in the end, since a busy machine drops connections too.
                at = "ours" if str(error.request.url).startswith(self._urls["ours"]) else "bare"
                self.broken[f"{at} {kind.__name__} {type(error).__name__}"] += 1

    def _found(self, what: str) -> None:
        kind = what.split(":")[0]
        if sum(each.startswith(kind) for each in self.findings) < 5:
            self.findings.append(what)

    async def _both(self, kind: str, path: str, body: Mapping[str, Any], *, good: bool) -> None:
        """One request to each; with the plugin the model name may have suffixes, without it may not.

        Args:
            kind: under what to count it.
            path: where to.
            body: as JSON.
            good: whether everything but 200 is a finding.
        """
        for which, url in self._urls.items():
            sent = dict(body)
            if which == "bare":
                sent["model"] = str(sent["model"]).split(":")[0]
            read = b""
            async with self._client.stream("POST", url + path, json=sent) as answer:
                async for piece in answer.aiter_bytes():
                    read += piece
            self._count(which, kind, answer.status_code)
            if good and (answer.status_code != 200 or b"get_weather" not in read or _ERROR.search(read)):
                self._found(f"{which} {kind}: {answer.status_code} {read[:300]!r}")

    def _count(self, which: str, kind: str, status: int) -> None:
        if which == "ours":
            self.counts[f"{kind} {status}"] += 1

    def _asked(self, model: str) -> dict[str, Any]:
        return {"model": model, "messages": MESSAGES, "tools": TOOLS, "stream": self._random.random() < 0.5}

    async def _chat(self) -> None:
        await self._both("chat", "/v1/chat/completions", self._asked(self._random.choice(_SLUGS)), good=True)

    async def _messages(self) -> None:
        body = {**self._asked(self._random.choice(_SLUGS)), "tools": _ANTHROPIC_TOOLS, "max_tokens": 100}
        await self._both("messages", "/v1/messages", body, good=True)

    async def _responses(self) -> None:
        asked = self._asked(self._random.choice(_SLUGS))
        body = {"model": asked["model"], "input": "weather?", "tools": _FLAT_TOOLS, "stream": asked["stream"]}
        await self._both("responses", "/v1/responses", body, good=True)

    async def _shaky(self) -> None:
        body = {**self._asked(SHAKY), "num_retries": self._random.randrange(3)}
        await self._both("shaky", "/v1/chat/completions", body, good=False)

    async def _path(self) -> None:
        body = self._asked(self._random.choice(_SLUGS))
        model = body.pop("model")
        url = f"{self._urls['ours']}/openai/deployments/{model}/chat/completions"
        answer = await self._client.post(url, json={**body, "stream": False})
        self._count("ours", "path", answer.status_code)
        if answer.status_code != 200:
            self._found(f"path: {answer.status_code} {answer.content[:300]!r}")

    async def _listed(self) -> None:
        names = self._random.choices(_SLUGS, k=self._random.randint(1, 4))
        body = {**self._asked(""), "models": names, "stream": False}
        del body["model"]
        answer = await self._client.post(f"{self._urls['ours']}/v1/chat/completions", json=body)
        self._count("ours", "models", answer.status_code)
        if answer.status_code != 200:
            self._found(f"models: {answer.status_code} {answer.content[:300]!r}")

    async def _refused(self) -> None:
        body = {**self._asked(f"{CURATED}:exacto"), "stream": False}
        answer = await self._client.post(f"{self._urls['ours']}/v1/chat/completions", json=body)
        self._count("ours", "curated", answer.status_code)
        if answer.status_code != 404 or b"exacto_no_endpoints" not in answer.content:
            self._found(f"curated: {answer.status_code} {answer.content[:300]!r}")

    async def _leaves(self) -> None:
        """A client that hangs up in the middle of a stream, or before it begins."""
        after = self._random.randrange(4)
        body = {**self._asked(self._random.choice((STEADY, SHAKY))), "stream": True}
        for which, url in self._urls.items():
            async with self._client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                self._count(which, "leaves", answer.status_code)
                seen = 0
                async for _ in answer.aiter_raw():
                    seen += 1
                    if seen > after:
                        break

    async def _uploads(self) -> None:
        """A client that hangs up in the middle of its own body."""
        raw = json.dumps(self._asked(f"{STEADY}:exacto")).encode()
        cut = self._random.randint(0, len(raw))
        length = len(raw) + self._random.randint(1, 9)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MASTER_KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        for which, url in self._urls.items():
            place = httpx.URL(url)
            with suppress(OSError):
                _, writer = await asyncio.open_connection(place.host, place.port)
                writer.write(head.encode() + raw[:cut])
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            self._count(which, "uploads", 0)

    async def _odd(self) -> None:
        """A body with something wrong in it gets the status that bare LiteLLM gives."""
        raw = bytearray(json.dumps({**self._asked(STEADY), "stream": False}).encode())
        for _ in range(self._random.randrange(3)):
            place = self._random.randrange(len(raw))
            junk = self._random.choice((b"", b"\x00", b"\xff", b"NaN", b"{", b"}", b",", b'"', b"\\ud800", b"[" * 300))
            raw[place : place + self._random.randrange(3)] = junk
        kind = self._random.choice(("application/json", "text/plain", "application/x-www-form-urlencoded", "x"))
        await self._alike("odd", bytes(raw), kind)

    async def _strange(self) -> None:
        """JSON in which one field is of a kind that nobody expects, or nested beyond reason."""
        deep = "[" * 800 + "]" * 800
        name = self._random.choice(_FIELDS)
        value = self._random.choice((*_STRANGE, deep, f'[{{"role": "user", "content": {deep}}}]', f'{{"a": {deep}}}'))
        kept = {key: item for key, item in {**self._asked(STEADY), "stream": False}.items() if key != name}
        await self._alike(
            f"strange {name}", f'{json.dumps(kept)[:-1]}, "{name}": {value}}}'.encode(), "application/json"
        )

    async def _alike(self, kind: str, raw: bytes, content_type: str) -> None:
        """The same bytes to both; they must answer with the same status."""
        statuses: dict[str, int] = {}
        for which, url in self._urls.items():
            headers = {"Content-Type": content_type}
            answer = await self._client.post(f"{url}/v1/chat/completions", content=raw, headers=headers)
            statuses[which] = answer.status_code
            self._count(which, kind.split()[0], answer.status_code)
        if statuses["ours"] != statuses["bare"]:
            self._found(f"{kind}: {statuses} for {content_type} {raw[:600]!r}")

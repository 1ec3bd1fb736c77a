"""Providers that answer real clients by a script and keep the truth about every answer.

One server on loopback; each deployment has its own path, and with it its own share of bad answers. Good answers are
calls that the client really runs, until its prompt's number is reached; then text.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict
from random import Random
from typing import TYPE_CHECKING, Final

import orjson
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from exacto_plugin.demo.answer import ChatRequest
from tests.clients.conversation import Conversation, read_request
from tests.clients.repertoire import ScriptedCall, leaked, runnable, spoilt
from tests.clients.truth import BAD, SentAnswer, Truth, marker_of
from tests.clients.wire import Reply
from tests.support.application_thread import ApplicationThread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from starlette.requests import Request

_SURFACES: Final = {
    "chat/completions": "chat",
    "completions": "text",
    "messages": "messages",
    "responses": "responses",
}
_MARKER: Final = re.compile(r"m\d{5}x")
_KEEP_ALIVE_S: Final = 3600
"""A connection closed while a request is under way would be a failed attempt, and no answer of the script."""
CUT_OFF_SHARE: Final = 0.015
"""Part of all providers' calls that the limit cuts off."""


class TruthfulProviders(ApplicationThread):
    """A server in a thread of its own, as a context manager.

    Args:
        rates: share of bad answers among those with calls, by deployment.
        log: gets every request, one a line.
        seed: of the draws.
        texts: of answers without calls, in turn; empty: a text with the answer's marker.
    """

    def __init__(self, rates: Mapping[str, float], log: Path, seed: int = 0, texts: Sequence[str] = ()) -> None:
        self.sent: list[SentAnswer] = []
        self.delivered: set[str] = set()
        """Markers of answers that came back in a later request of the client."""
        self.fixed: int | None = None
        """Number of all answers until it changes, which are then the same from every deployment; None: their own."""
        self._rates = rates
        self._texts = texts
        self._log = log.open("wb")
        self._seed = seed
        self._numbers = itertools.count(1)
        self._turns: dict[str, int] = dict.fromkeys(rates, 0)
        routes = [
            Route(f"/p/{{deployment}}/v1/{path}", self._answer, methods=["POST"], name=surface)
            for path, surface in _SURFACES.items()
        ]
        app = Starlette(routes=routes)
        super().__init__(app, "truthful-providers", timeout_keep_alive=_KEEP_ALIVE_S)
        self.base_url = f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: Request) -> Response:
        raw = await request.body()
        body = orjson.loads(raw)
        self.delivered.update(_MARKER.findall(raw.decode()))
        deployment = request.path_params["deployment"]
        surface = _SURFACES[request.url.path.partition("/v1/")[2]]
        number = self.fixed or next(self._numbers)
        asked = read_request(body)
        truth, detail, reply = self._scripted(deployment, surface, asked, number)
        self.sent.append(SentAnswer(number, deployment, surface, truth, detail, asked.by_agent))
        self._log.write(orjson.dumps({"answer": asdict(self.sent[-1]), "request": body}) + b"\n")
        ask = ChatRequest(str(body.get("model")), stream=body.get("stream") is True, include_usage=True)
        if not ask.stream:
            return JSONResponse(reply.whole(surface, ask, f"{number:024}"))
        events = [event.encoded() for event in reply.events(surface, ask, f"{number:024}")]
        return StreamingResponse(iter(events), media_type="text/event-stream")

    def _scripted(self, deployment: str, surface: str, asked: Conversation, number: int) -> tuple[Truth, str, Reply]:
        """Return the truth, the called tool and the answer."""
        marker = marker_of(number)
        calls = runnable(asked, number, marker) if asked.due else []
        if not calls:
            searched = asked.forced == "web_search" and surface == "messages"
            detail = "compaction" if asked.compacts else f"forced {asked.forced}" if asked.forced else ""
            plain = not self._texts or asked.compacts
            text = f"Done {marker}." if plain else self._texts[number % len(self._texts)]
            return Truth.TEXT, detail, Reply(text, (), "stop", number, searched=searched)
        self._turns[deployment] += 1
        turn = self.fixed or self._turns[deployment]
        random = Random(f"{self._seed}/{'' if self.fixed else deployment}/{turn}")
        bad = random.random() < self._rates[deployment]
        kinds = [kind for kind in BAD if kind is not Truth.MISSING_CALL or surface != "responses"]
        truth = kinds[turn % len(kinds)] if bad else Truth.CUT_OFF if random.random() < CUT_OFF_SHARE else Truth.GOOD
        return self._reply(truth, calls, asked, number)

    def _reply(
        self, truth: Truth, calls: list[ScriptedCall], asked: Conversation, number: int
    ) -> tuple[Truth, str, Reply]:
        marker, first = marker_of(number), calls[0]
        if truth is Truth.LEAKED_MARKUP:
            return truth, first.name, Reply(leaked(first, number), (), "stop", number)
        if truth is Truth.MISSING_CALL:
            return truth, first.name, Reply(f"I will look {marker}.", (), "calls", number)
        if truth is not Truth.GOOD:
            found = ((call, spoilt(call, truth, asked.offers, number)) for call in calls)
            bad = next((one for _, one in found if one is not None), None)
            if bad is not None:
                return truth, bad.name, Reply("", (bad,), "length" if truth is Truth.CUT_OFF else "calls", number)
        if first.search:
            return Truth.SEARCH, first.name, Reply("", calls[:1], "calls", number)
        kept = [call for call in calls if not call.search] if number % 5 == 0 else calls[:1]
        text = f"Now {marker}." if number % 3 == 0 else ""
        return Truth.GOOD, first.name, Reply(text, kept, "calls", number)

    def api_base(self, deployment: str) -> str:
        """Return the address of a deployment, without the version of the API."""
        return f"{self.base_url}/p/{deployment}"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        self._log.close()


def markers_in(text: str) -> set[str]:
    """Return the markers of all answers that a text contains."""
    return set(_MARKER.findall(text))

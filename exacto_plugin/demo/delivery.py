"""Delivery of an answer: paced, hanging, stalling or breaking off."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import Response

from exacto_plugin.demo.behaviour import Act

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from exacto_plugin.demo.wire import StreamEvent

_TOKEN_CHARACTERS: Final = 4


class BrokenConnectionError(Exception):
    """Raised after a part was sent, so that the server closes the connection."""


@dataclass(frozen=True, slots=True)
class DeliverySpeed:
    """The times at which bytes are sent."""

    latency_s: float = 0.0
    """Before the first byte."""
    tokens_per_s: float | None = None
    """None: unlimited."""

    async def until(self, began: float, tokens: float) -> None:
        """Wait until an answer begun at ``began`` (loop time) has generated ``tokens``."""
        due = began + self.latency_s + (tokens / self.tokens_per_s if self.tokens_per_s else 0.0)
        left = due - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)


async def _disconnected(receive: Receive) -> None:
    """Wait until the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Silence(Response):
    """A response that sends no byte until the client disconnects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _disconnected(receive)


class Whole(Response):
    """A JSON body at once; ``drop`` announces all of it and sends half."""

    media_type = "application/json"

    def __init__(self, body: Mapping[str, Any], pace: DeliverySpeed, tokens: int, *, drop: bool = False) -> None:
        super().__init__(orjson.dumps(body))
        self._pace, self._tokens, self._drop = pace, tokens, drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._pace.until(asyncio.get_running_loop().time(), self._tokens)
        if not self._drop:
            return await super().__call__(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        raise BrokenConnectionError


class Streamed(Response):
    """Server-sent events at their pace, broken off as the act requires."""

    media_type = "text/event-stream"

    def __init__(self, events: Sequence[StreamEvent], act: Act, pace: DeliverySpeed) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._events, self._act, self._pace = events, act, pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            began = asyncio.get_running_loop().time()
            await self._pace.until(began, 0)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            characters = 0
            for event in self._events[: self._end()]:
                characters += event.characters
                await self._pace.until(began, characters / _TOKEN_CHARACTERS)
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": event.encoded(), "more_body": True})
            if self._act is Act.DROP:
                raise BrokenConnectionError
            if self._act is Act.STALL:
                await gone
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    def _end(self) -> int:
        """Return the number of events to send.

        All; half of those with content; or up to the first tool's name.
        """
        spoken = [place for place, event in enumerate(self._events) if event.characters]
        if self._act in (Act.DROP, Act.STALL) and spoken:
            return spoken[len(spoken) // 2] + 1
        if self._act is Act.STOP_AFTER_NAME and spoken:
            return next((place for place in spoken if self._events[place].names_tool), spoken[0]) + 1
        return len(self._events)

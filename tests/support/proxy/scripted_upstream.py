"""An upstream that answers word for word what a test says, for answers that simulated providers do not give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from tests.support.application_thread import ApplicationThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

_HEAD: dict[str, Any] = {"id": "chatcmpl-scripted", "created": 1, "model": "scripted"}
_USAGE = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


class ScriptedUpstream(ApplicationThread):
    """Serves OpenAI's chat completions on loopback, as a context manager: one message and finish reason, any mode."""

    def __init__(self) -> None:
        self.message: dict[str, Any] = {"content": ""}
        """Of the next answers, without its role."""
        self.finish_reason = "stop"
        app = Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])
        super().__init__(app, "scripted-upstream")
        self.api_base = f"http://127.0.0.1:{self.port}/v1"

    async def _answer(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        message = {"role": "assistant", **self.message}
        if body.get("stream"):
            return StreamingResponse(self._events(message), media_type="text/event-stream")
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return JSONResponse({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE})

    async def _events(self, message: dict[str, Any]) -> AsyncIterator[bytes]:
        for delta, finish, usage in ((message, None, None), ({}, self.finish_reason, None), (None, None, _USAGE)):
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
            yield _event({**_HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage})
        yield b"data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"

"""An upstream that answers word for word what a test says, for answers that simulated providers do not give."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from exacto_plugin.demo.proxy import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from starlette.requests import Request
    from starlette.responses import Response

_HEAD: dict[str, Any] = {"id": "chatcmpl-scripted", "created": 1, "model": "scripted"}
_USAGE = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}


class ScriptedUpstream:
    """Serves OpenAI's chat completions on loopback, as a context manager: one message and finish reason, any mode."""

    def __init__(self) -> None:
        port = free_port()
        self.api_base = f"http://127.0.0.1:{port}/v1"
        self.message: dict[str, Any] = {"content": ""}
        """Of the next answers, without its role."""
        self.finish_reason = "stop"
        app = Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])
        self._server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
        self._thread = threading.Thread(target=self._server.run, name="scripted-upstream", daemon=True)

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

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the scripted upstream did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"

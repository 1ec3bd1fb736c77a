"""One request through the middleware and without it: what LiteLLM's own reader makes of the body, and what follows."""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import litellm
from litellm.proxy.common_utils.http_parsing_utils import read_request_body
from starlette.requests import ClientDisconnect, Request

from exacto_plugin.config.settings import Settings
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from tests.fuzz.bodies import KNOWN, WILDCARD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from tests.fuzz.bodies import Delivery, Message

    Receive = Callable[[], Awaitable[Message]]


@dataclass
class Read:
    """What an application behind the middleware sees of one request."""

    parsed: Any = None
    """LiteLLM's reading of the body, or type and text of the error that it raises."""
    raw: bytes | None = None
    """The body as bytes; None when the client left before its end."""
    after: tuple[Message, ...] = ()
    """The next two messages of the connection."""
    scope: dict[str, Any] | None = None


@functools.cache
def router() -> Any:
    """A LiteLLM router that knows the names of :mod:`tests.fuzz.bodies`."""
    params = {"model": "openai/x", "api_key": "sk-none", "api_base": "http://127.0.0.1:9"}
    names = [*KNOWN, f"{WILDCARD}*"]
    return litellm.Router([{"model_name": name, "litellm_params": params} for name in names])


@functools.cache
def runtime() -> Runtime:
    """The plugin's parts, shared by all requests as in a proxy."""
    return Runtime(Settings())


@functools.cache
def _quiet() -> None:
    for name in ("LiteLLM Proxy", "python_multipart.multipart"):  # they tell of every broken body
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@functools.cache
def _loop() -> asyncio.Runner:
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


def run(task: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, on the loop that all examples share."""
    return _loop().run(task)


def read(
    delivery: Delivery, types: Sequence[bytes], *, path: str = "/v1/chat/completions", plugin: bool, raw_first: bool
) -> Read:
    """Send one request.

    Args:
        delivery: the body's messages.
        types: the values of ``content-type``.
        path: where to.
        plugin: whether the middleware stands in front.
        raw_first: whether the application reads the bytes before LiteLLM's reader runs.
    """
    _quiet()
    seen = Read()

    async def application(scope: Any, receive: Any, _send: Any) -> None:
        request = Request(scope, receive)
        if raw_first:
            seen.raw = await _bytes(request)
        try:
            parsed: Any = await read_request_body(request)
            seen.parsed = dict(parsed) if isinstance(parsed, dict) else parsed
        except Exception as error:  # whatever it is, it must be the same with the plugin
            seen.parsed = (type(error).__name__, str(error))
        if not raw_first:
            seen.raw = await _bytes(request)
        seen.after = (await receive(), await receive())
        seen.scope = dict(scope)

    messages = iter(delivery.messages)

    async def receive() -> Message:
        return dict(next(messages, {"type": "http.disconnect"}))

    async def send(_message: Any) -> None:
        """Nothing is answered."""

    headers = [(b"content-type", value) for value in types]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": quote(path).encode(), "headers": headers}
    app: Any = middleware_of(runtime(), router)(application) if plugin else application
    run(app({**scope, "query_string": b"", "state": {}}, receive, send))
    return seen


async def _bytes(request: Request) -> bytes | None:
    try:
        return await request.body()
    except (ClientDisconnect, RuntimeError):
        return None  # RuntimeError: a form was read, and its bytes are gone

"""The body of an ASGI request: read to its end, parsed as LiteLLM parses it, and handed on as if nobody had read it.

Whatever comes out of here must be what LiteLLM's own reader (``http_parsing_utils.read_request_body``) would have made
of the same messages. Knows nothing of what a body means.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import orjson
from litellm.constants import MAX_REQUEST_BODY_SIZE_TO_REPAIR_MB

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data")
_BINARY = (b"application/x-protobuf", b"application/protobuf")
"""Types under which LiteLLM reads JSON too, but gives no second try."""


class Body(NamedTuple):
    """A request's body as it came."""

    raw: bytes | None
    """None when the client left before its end; then nobody may take what came for the whole."""
    messages: tuple[Message, ...]
    """What the connection said so far, with all of the body in the first message."""


def is_json(scope: Scope) -> bool:
    """Whether LiteLLM reads this body as JSON: whatever is not a form, also without a content type or under another."""
    return _media_type(scope) not in _FORMS


def _media_type(scope: Scope) -> bytes:
    found = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            found = value  # of several LiteLLM sees the last
    return found.split(b";", 1)[0].strip().lower()


async def read_body(receive: Receive) -> Body:
    """Read a body to its end, or to where its client left."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            part = {"type": "http.request", "body": b"".join(parts), "more_body": True}
            return Body(None, (part, message) if parts else (message,))
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            raw = parts[0] if len(parts) == 1 else b"".join(parts)
            return Body(raw, ({"type": "http.request", "body": raw, "more_body": False},))


def replay(body: Body, changed: dict[str, Any] | None, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once and then whatever the connection says.

    Args:
        body: what was read.
        changed: the object to give instead. It is written as JSON only when somebody reads it: LiteLLM takes the
            parsed one, and writing a long list of tools costs more than all the rest of the middleware.
        receive: of the connection.
    """
    waiting = list(reversed(body.messages))
    last = body.messages[-1] if body.raw is None else None

    async def replayed() -> Message:
        if not waiting:
            return await receive() if last is None else last
        message = waiting.pop()
        if changed is not None:
            message = {**message, "body": _json_bytes(changed, message["body"])}
        return message

    return replayed


def parse_body(raw: bytes, scope: Scope) -> object:
    """The value of a JSON body; None for what LiteLLM refuses, so that it says so itself."""
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None if _media_type(scope) in _BINARY else _parsed_leniently(raw)
    return value


def _parsed_leniently(raw: bytes) -> object:
    """LiteLLM's second try: NaN, infinities and integers beyond 64 bits pass, which orjson refuses."""
    if 0 < MAX_REQUEST_BODY_SIZE_TO_REPAIR_MB * 1024 * 1024 < len(raw):
        return None
    try:
        value: object = json.loads(raw.decode())
        json.dumps(value, ensure_ascii=False).encode()  # fails for lone surrogates, which nothing can carry
    except (ValueError, RecursionError):
        return None
    return value


def _json_bytes(value: dict[str, Any], otherwise: bytes) -> bytes:
    """``value`` as JSON; ``otherwise`` when it is nested too deeply to be written."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError:
        return otherwise

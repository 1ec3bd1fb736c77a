"""Reading, parsing and replaying the body of an ASGI request.

The result must equal that of LiteLLM's own reader (``http_parsing_utils.read_request_body``) for the same messages. The
meaning of the body is not interpreted here.
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
Send = Callable[[Message], Awaitable[None]]

_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data")
_BINARY = (b"application/x-protobuf", b"application/protobuf")
"""Content types under which LiteLLM reads JSON without a lenient second parse."""


class Body(NamedTuple):
    """Unparsed body of a request."""

    raw: bytes | None
    """Whole body; None when the client disconnected before its end."""
    messages: tuple[Message, ...]
    """Messages received so far, with all of the body in the first one."""


def is_json(scope: Scope) -> bool:
    """Return whether LiteLLM reads this body as JSON.

    It does so for every content type except forms, and without a content type.
    """
    return _media_type(scope) not in _FORMS


def _media_type(scope: Scope) -> bytes:
    found = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            found = value  # LiteLLM uses the last of several headers
    return found.split(b";", 1)[0].strip().lower()


async def read_body(receive: Receive) -> Body:
    """Read a body to its end, or until its client disconnects."""
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
    """Return a ``receive`` that yields the body once, then further messages.

    Args:
        body: the body as read.
        changed: the object to yield in its place. It is encoded as JSON only when the body is read: LiteLLM uses the
            parsed object, and encoding a long list of tools takes longer than all the rest of the middleware.
        receive: the connection's ``receive``.
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
    """Return the value of a JSON body; None for a body that LiteLLM refuses.

    LiteLLM then returns its own error.
    """
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None if _media_type(scope) in _BINARY else _parsed_leniently(raw)
    return value


def _parsed_leniently(raw: bytes) -> object:
    """Parse as in LiteLLM's second try, which is more lenient than orjson.

    NaN, infinities and integers beyond 64 bits are accepted.
    """
    if 0 < MAX_REQUEST_BODY_SIZE_TO_REPAIR_MB * 1024 * 1024 < len(raw):
        return None
    try:
        value: object = json.loads(raw.decode())
        json.dumps(value, ensure_ascii=False).encode()  # fails for lone surrogates, which UTF-8 cannot encode
    except (ValueError, RecursionError):
        return None
    return value


def _json_bytes(value: dict[str, Any], otherwise: bytes) -> bytes:
    """Encode ``value`` as JSON; ``otherwise`` when it is nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError:
        return otherwise

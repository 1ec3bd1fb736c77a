"""Rewriting of responses in the ASGI middleware.

An object is added, or the model name is replaced. A whole JSON answer is one message and is encoded again. A stream is
passed on event by event; for an addition an event is delayed only while it may be the last one, until the next event or
the end arrives. On any error the original bytes are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from exacto_plugin.litellm_hooks.request.response_names import rename
from exacto_plugin.litellm_hooks.sse import event_data, split_events

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.http.request_body import Message, Send


Add = Callable[[dict[str, Any]], bool]
"""Changes an answer, or a stream's last event, in place; True if it changed."""

_LARGEST: Final = 32 * 1024 * 1024
"""Most bytes of one stream event to which anything is added.

A Responses stream ends with the whole answer.
"""

_LAST_TYPES: Final = frozenset(
    {"message_stop", "response.completed", "response.incomplete", "response.failed", "error"}
)
"""Types of the events that end a stream of Messages or Responses."""


class JsonBodyRewriter:
    """``send`` that adds an object to one answer.

    Args:
        send: where messages go on.
        add: makes the addition.
        faults: counts errors.
        streams: whether streams are changed too.
        stage: name under which errors are counted.
    """

    def __init__(
        self, send: Send, add: Add, faults: FaultReporter, *, streams: bool = True, stage: str = "metadata"
    ) -> None:
        self._send = send
        self._add = add
        self._faults = faults
        self._streams = streams
        self._stage = stage
        self._start: Message | None = None
        self._events: LastEventRewriter | None = None

    async def __call__(self, message: Message) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            kind = self._faults.guard(self._stage, lambda: _kind(message), b"")
            if kind == b"application/json":
                self._start = message
                return
            if kind == b"text/event-stream" and self._streams:
                self._events = LastEventRewriter(self._rewrite)
        elif message["type"] == "http.response.body":
            if self._start is not None:
                start, self._start = self._start, None
                await self._send_whole(start, message)
                return
            if self._events is not None:
                body = self._events.feed(message.get("body", b""), ends=not message.get("more_body", False))
                message = {**message, "body": body}
        await self._send(message)

    async def _send_whole(self, start: Message, message: Message) -> None:
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):  # else it is longer than one message and is not buffered
            changed = self._rewrite(body)
            if changed is not None:
                headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
                start = {**start, "headers": [*headers, (b"content-length", str(len(changed)).encode())]}
                message = {**message, "body": changed}
        await self._send(start)
        await self._send(message)

    def _rewrite(self, body: bytes) -> bytes | None:
        """Return ``body``, a JSON object, with the addition; None if unchanged."""
        return self._faults.guard(self._stage, lambda: self._written(body), None)

    def _written(self, body: bytes) -> bytes | None:
        answer = orjson.loads(body)
        if not isinstance(answer, dict) or not self._add(answer):
            return None
        return orjson.dumps(answer)


class ModelNameRewriter:
    """``send`` that replaces LiteLLM's model name in one answer.

    Args:
        send: where messages go on.
        name: returns the current name, which changes when a stream changes its deployment; empty for LiteLLM's own
            name.
        faults: counts errors.
    """

    def __init__(self, send: Send, name: Callable[[], str], faults: FaultReporter) -> None:
        self._send = send
        self._name = name
        self._faults = faults
        self._streams = False
        self._rest = b""

    async def __call__(self, message: Message) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            self._faults.guard("names", lambda: self._begin(message), None)
        elif self._streams and message["type"] == "http.response.body":
            name = self._faults.guard("names", self._name, "")
            if name or self._rest:
                message = {**message, "body": self._rename(message, name)}
        await self._send(message)

    def _begin(self, start: Message) -> None:
        kind = _kind(start)
        self._streams = kind == b"text/event-stream"
        name = self._name() if kind == b"application/json" and start["status"] == 200 else ""
        if name:
            self._send = JsonBodyRewriter(
                self._send, partial(rename, name=name), self._faults, streams=False, stage="names"
            )

    def _rename(self, message: Message, name: str) -> bytes:
        """Return the whole events under the new name, and at the end the rest."""
        events, rest = split_events(self._rest + message.get("body", b""))
        self._rest = rest if message.get("more_body", False) and len(rest) <= _LARGEST else b""
        if name:
            events = [self._faults.guard("names", partial(_renamed, event, name), event) for event in events]
        return b"".join(events) + (b"" if self._rest else rest)


def _renamed(event: bytes, name: str) -> bytes:
    """Replace the model name of an event.

    An event with this name already, or without one, is not parsed.
    """
    if event.count(_NAME) == event.count(_NAME + orjson.dumps(name)):
        return event
    data = event_data(event)
    told = orjson.loads(data) if data is not None else None
    if data is None or not isinstance(told, dict) or not rename(told, name):
        return event
    return event.replace(data, orjson.dumps(told), 1)


_NAME: Final = b'"model":'
"""Key of the model name in LiteLLM's events.

Inside a text the quotes would be preceded by backslashes.
"""


def _kind(start: Message) -> bytes:
    headers = {name.lower(): value for name, value in start["headers"]}
    if b"content-encoding" in headers:
        return b""
    kind: bytes = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    return kind


class LastEventRewriter:
    """Finder and rewriter of the last event in a stream of server-sent events.

    Args:
        changed: returns the new data of the last event; None keeps it.
    """

    def __init__(self, changed: Callable[[bytes], bytes | None]) -> None:
        self._changed = changed
        self._rest = b""
        self._held = b""
        self._over = False

    def feed(self, data: bytes, *, ends: bool) -> bytes:
        """Add ``data`` and return the bytes that can be sent now.

        Once the stream ``ends``, that is everything that remains.
        """
        if self._over:
            return data
        events, self._rest = split_events(self._rest + data)
        out = b"".join(self._passed(event) for event in events)
        if ends:
            last, self._held = self._held, b""
            out += (self._last(last) if last else b"") + self._rest
            self._over = True
        elif len(self._rest) > _LARGEST:
            out += self._held + self._rest
            self._held, self._rest, self._over = b"", b"", True
        return out

    def _passed(self, event: bytes) -> bytes:
        """Return the bytes that one whole event releases."""
        data = event_data(event)
        if data is None:  # a comment that keeps the connection open
            if not self._held:
                return event
            self._held += event
            return b""
        before, self._held = self._held, b""
        if data == b"[DONE]":
            return (self._last(before) if before else b"") + event
        if _may_be_last(data):
            self._held = event
            return before
        return before + event

    def _last(self, event: bytes) -> bytes:
        data = event_data(event)
        changed = self._changed(data) if data is not None else None
        return event if data is None or changed is None else event.replace(data, changed, 1)


def _may_be_last(data: bytes) -> bool:
    """Return whether an event may be the last one with data.

    These are the end of an answer or of one choice, its usage, and an error.
    """
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(event, dict):
        return False
    if event.get("type") in _LAST_TYPES or "error" in event:
        return True
    choices = event.get("choices")
    if not isinstance(choices, list):
        return False
    ended = any(isinstance(one, dict) and one.get("finish_reason") for one in choices)
    return ended or not choices or bool(event.get("usage"))

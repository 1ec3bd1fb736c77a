"""The ``send`` of one request: response headers, and the form of a refusal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exacto_plugin.litellm_hooks.http.answer_facts import FACTS, answer_facts
from exacto_plugin.litellm_hooks.refusal import match_refusal

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.http.request_body import Message, Send
    from exacto_plugin.litellm_hooks.request.state import RequestState

_NOT_PRINTABLE = re.compile(rb"[^ -~]")
_NAMES = {name: f"x-exacto-{name}".encode() for name in FACTS}


class Responder:
    """``send`` of one request: adds headers and formats a refusal.

    A refusal gets its own status and body.
    """

    def __init__(self, send: Send, state: RequestState, context: Context, path: str) -> None:
        self._send = send
        self._state = state
        self._context = context
        self._anthropic = "/messages" in path
        self._held: Message | None = None
        self._body = bytearray()
        self._has_answer = False

    async def __call__(self, message: Message) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            self._context.faults.guard("headers", lambda: self._add_headers(message), None)
            self._has_answer = message["status"] == 200 and bool(self._state.surface)
            if self._state.routing.refusals and message["status"] == 400:
                self._held = message
                return
        elif self._held is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._held)
            return
        await self._send(message)
        # At its end, since long streams begin in any number before the first of them is scored.
        if self._has_answer and message["type"] == "http.response.body" and not message.get("more_body", False):
            self._context.faults.guard("score", lambda: self._context.coverage.left(self._state.surface), None)

    async def _finish(self, start: Message) -> None:
        """Send the complete error body; replace it only if it contains the refusal."""
        body = bytes(self._body)
        start, body = self._context.faults.guard("refusal", lambda: self._refused(start, body), (start, body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    def _refused(self, start: Message, body: bytes) -> tuple[Message, bytes]:
        refusal = match_refusal(body, self._state.routing.refusals)
        if refusal is None:
            return start, body
        body = refusal.body(anthropic=self._anthropic)
        kept = [(k, v) for k, v in start["headers"] if k.lower() not in (b"content-length", b"retry-after")]
        kept.append((b"content-length", str(len(body)).encode()))
        return {**start, "status": refusal.status, "headers": [*kept, *refusal.headers()]}, body

    def _add_headers(self, message: Message) -> None:
        settings, state = self._context.settings, self._state
        if not settings.expose.headers or state.routing.policy is None:
            return
        complete = message["status"] != 200
        facts = answer_facts(state, names=settings.expose.providers, complete=complete)
        own = [(_NAMES[name], _header(value)) for name, value in facts.items()]
        message["headers"] = [*message.get("headers", ()), *own]


def _header(value: str | float) -> bytes:
    """Encode ``value`` for a header; other characters become ``?``.

    The key of a wildcard's deployment ends with the model name that the client requested.
    """
    text = f"{value:.9f}" if isinstance(value, float) else str(value)
    if text.isascii() and text.isprintable():
        return text.encode()
    return _NOT_PRINTABLE.sub(b"?", text.encode("ascii", "replace"))

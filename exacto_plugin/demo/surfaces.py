"""The API surfaces of a simulated provider.

Each parses a request's body to a :class:`ChatRequest`, and formats an answer as a response.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.demo.answer import ChatRequest, SimulatedAnswer, offered
from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.chat import chat_events, text_events, whole_chat, whole_text
from exacto_plugin.demo.delivery import DeliverySpeed, Streamed, Whole
from exacto_plugin.demo.messages import message_events, whole_message
from exacto_plugin.demo.responses import response_events, whole_response
from exacto_plugin.demo.wire import StreamEvent

if TYPE_CHECKING:
    from random import Random

    from starlette.responses import Response

_DIMENSIONS: Final = 8
"""Length of an embedding when the request gives none."""
_TOKEN_CHARACTERS: Final = 4

_ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Surface:
    """One generating endpoint."""

    path: str
    whole: Callable[[SimulatedAnswer, ChatRequest, str, int], dict[str, Any]]
    events: Callable[[SimulatedAnswer, ChatRequest, str, int], Iterator[StreamEvent]]
    tools: bool = True
    anthropic: bool = False

    def ask(self, body: Mapping[str, Any], size: int) -> ChatRequest:
        """Parse a request; ``size`` is its length in bytes."""
        tools, forced = offered(body.get("tools"), body.get("tool_choice")) if self.tools else ((), False)
        options = body.get("stream_options")
        usage = isinstance(options, Mapping) and options.get("include_usage") is True
        stream = body.get("stream") is True
        return ChatRequest(str(body.get("model", "")), tools, forced, stream, usage, max(1, size // _TOKEN_CHARACTERS))

    def response(
        self, answer: SimulatedAnswer, ask: ChatRequest, pace: DeliverySpeed, random: Random, created: int
    ) -> Response:
        """Return the response of an answer, broken where its act requires."""
        identity = f"{random.getrandbits(96):024x}"
        if not ask.stream:
            if answer.act is Act.ERROR_BODY:
                return _json(self._error_body("server_error", "simulated failure in an answer", 500), 200, {})
            cut = answer.act in (Act.DROP, Act.STOP_AFTER_NAME)
            return Whole(self.whole(answer, ask, identity, created), pace, answer.completion_tokens, drop=cut)
        if answer.act in (Act.ERROR_FIRST, Act.ERROR_BODY):
            return Streamed([self._error_event()], answer.act, pace)
        return Streamed(list(self.events(answer, ask, identity, created)), answer.act, pace)

    def error(self, status: int, retry_after_s: float | None = None) -> Response:
        """Return an error in the form of the surface."""
        headers = {} if retry_after_s is None or status not in (429, 503) else {"retry-after": f"{retry_after_s:g}"}
        kind = _ERROR_TYPES.get(status, "server_error")
        return _json(self._error_body(kind, f"simulated failure with status {status}", status), status, headers)

    def _error_body(self, kind: str, message: str, status: int) -> dict[str, Any]:
        if self.anthropic:
            return {"type": "error", "error": {"type": kind, "message": message}}
        return {"error": {"message": message, "type": kind, "param": None, "code": status}}

    def _error_event(self) -> StreamEvent:
        body = self._error_body("server_error", "simulated failure before the first chunk", 500)
        if self.path == RESPONSES.path:
            body = {"type": "error", "sequence_number": 0, **body["error"]}
        return StreamEvent(body, "error" if "type" in body else None)


def _json(body: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    response = Whole(body, DeliverySpeed(), 0)
    response.status_code = status
    response.headers.update(headers)
    return response


CHAT: Final = Surface("chat/completions", whole_chat, chat_events)
TEXT: Final = Surface("completions", whole_text, text_events, tools=False)
RESPONSES: Final = Surface("responses", whole_response, response_events)
MESSAGES: Final = Surface(
    "messages",
    lambda answer, ask, identity, _created: whole_message(answer, ask, identity),
    lambda answer, ask, identity, _created: message_events(answer, ask, identity),
    anthropic=True,
)
SURFACES: Final = (CHAT, TEXT, RESPONSES, MESSAGES)
EMBEDDINGS: Final = Surface("embeddings", whole_text, text_events, tools=False)
"""Only its errors and its path are used; its answer is :func:`embeddings`."""


def embeddings(body: Mapping[str, Any], ask: ChatRequest, random: Random) -> dict[str, Any]:
    """Return the body of an embedding answer, as numbers or base64 as requested."""
    given = body.get("input")
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    length = int(body.get("dimensions") or _DIMENSIONS)
    rows: list[Any] = [[random.uniform(-1, 1) for _ in range(length)] for _ in range(count)]
    if body.get("encoding_format") == "base64":
        rows = [base64.b64encode(struct.pack(f"<{length}f", *row)).decode() for row in rows]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": ask.model,
        "usage": {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens},
    }

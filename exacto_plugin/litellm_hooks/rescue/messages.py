"""Buffer for streams of the Messages API: server-sent events as raw bytes.

Chunks may end anywhere in an event. Blocks are numbered. Blocks that the client has already received continue; from the
first call on, new blocks and the end of the message are buffered, so that the numbers stay in order after a
replacement.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import litellm
import orjson
from litellm.llms.anthropic.chat.transformation import AnthropicConfig

from exacto_plugin.litellm_hooks.rescue.streams import StreamBuffer
from exacto_plugin.litellm_hooks.sse import event_data, split_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ANYWHERE: Final = frozenset({"ping", "message_start"})
"""Types of events that are never buffered."""


class MessagesBuffer(StreamBuffer):
    """Buffer for the events of one message."""

    def __init__(self, _stream: Any = None) -> None:
        super().__init__()
        self._rest = b""
        self._blocks: dict[int, dict[str, Any]] = {}
        """Blocks of the message by number, assembled from the events so far."""
        self._known: set[int] = set()
        """Numbers of the blocks that the client has received, at least in part."""
        self._calls = False
        self._ending: dict[str, Any] = {}
        """Stop reason and stop sequence."""
        self._usage: dict[str, Any] = {}
        self._broken = False
        """True after an error event: nothing more is buffered."""
        self._held = False
        """True when nothing was sent: everything is buffered."""
        self._failed = False
        """True when nothing was sent, and the provider reported an error."""
        self._opening = b""
        """Incomplete event at the end of the beginning."""

    def begins(self, chunk: Any) -> bool:
        """Return whether the message has begun well with some bytes."""
        events, self._opening = split_events(self._opening + chunk)
        return any([self._begins_with(read) for event in events if (read := _read(event))])

    def _begins_with(self, event: Mapping[str, Any]) -> bool:
        block, delta = event.get("content_block") or {}, event.get("delta") or {}
        if block.get("type") not in (None, "text", "thinking", "redacted_thinking"):
            return True
        return self.begins_with(f"{block.get('text') or ''}{delta.get('text') or ''}")

    def hold(self, chunks: list[Any]) -> None:
        """Take all bytes of a message of which nothing was sent."""
        self._held = True
        for chunk in chunks:
            self.feed(chunk)

    def feed(self, chunk: Any) -> list[Any]:
        """Return the whole events to send after some bytes."""
        events, rest = split_events(self._rest + chunk)
        now: list[Any] = []
        later: list[Any] = []
        for event in events:
            read = _read(event)
            if read is not None and read.get("type") == "error" and not self._held:  # the answer ends with an error
                now, later, self._broken = [*now, *self.kept, *later], [], True
                self.kept = []
            self._failed = self._failed or (self._held and (read or {}).get("type") == "error")
            waits = not self._broken and read is not None and (self._waits(read) or self._held)
            (later if waits else now).append(event)
        self.kept += later
        self._rest = rest
        return now

    def flush(self) -> list[Any]:
        """Return the buffered events, and the beginning of an incomplete event."""
        return [*self.kept, self._rest] if self._rest else self.kept

    def _waits(self, event: Mapping[str, Any]) -> bool:
        """Record an event and return whether it is buffered."""
        kind, number = event.get("type"), event.get("index")
        if isinstance(number, int):
            return self._block_waits(kind, number, event)
        if kind == "message_start":
            self._usage.update((event.get("message") or {}).get("usage") or {})
        if kind == "message_delta":
            self._ending = dict(event.get("delta") or {})
            self._usage.update(event.get("usage") or {})
            self._calls = self._calls or self._ending.get("stop_reason") == "tool_use"
            self.ended = self.ended or self._calls
        return self._calls and kind not in _ANYWHERE

    def _block_waits(self, kind: object, number: int, event: Mapping[str, Any]) -> bool:
        if kind == "content_block_start":
            self._blocks[number] = dict(event.get("content_block") or {})
        block = self._blocks.setdefault(number, {})
        self._calls = self._calls or block.get("type") == "tool_use"
        if not self._calls and not self._held:
            self._known.add(number)
        delta: Mapping[str, Any] = event.get("delta") or {}
        for piece, whole in _PARTS:
            if isinstance(text := delta.get(piece), str):
                block[whole] = block.get(whole, "") + text
        if number not in self._known:
            # With providers that LiteLLM translates, the log event may come before the end of the message.
            self.ended = self.ended or kind == "content_block_stop"
            return True
        self.has_sent_text = self.has_sent_text or bool(delta.get("text"))
        self.has_sent_signature = (
            self.has_sent_signature or bool(delta.get("signature")) or block.get("type") == "redacted_thinking"
        )
        return False

    def answer(self) -> Any:
        """Return the message; the arguments of its calls are the received text."""
        if self._failed:
            return {"type": "error", "error": True}
        blocks = [block for _, block in sorted(self._blocks.items())]
        content = [
            {**block, "input": block.get(_ARGUMENTS) or block.get("input")}
            if block.get("type") == "tool_use"
            else block
            for block in blocks
        ]
        return {**self._ending, "content": content}

    def priced(self) -> Any:
        """Return the usage as a chat completion, since LiteLLM prices no message."""
        counted = AnthropicConfig().calculate_usage(usage_object=self._usage, reasoning_content=None)
        return litellm.ModelResponse(usage=counted)

    def replacement(self, answer: Any, cost: float | None = None) -> list[Any]:
        """Return the other message's blocks and end as events.

        The blocks are numbered after those that the client has received.
        """
        blocks = [block for block in answer["content"] if not (self.has_sent_text and block.get("type") == "text")]
        ending = {name: answer.get(name) for name in ("stop_reason", "stop_sequence")}
        told = [event for place, block in enumerate(blocks, len(self._known)) for event in _block_events(place, block)]
        end = _written({"type": "message_delta", "delta": ending, "usage": self._usage_of(answer, cost)})
        begun = [self._start(answer)] if self._held else []
        return [
            *begun,
            *map(_written, told),
            *(_as_it_is(end) if _adds_cost() else [end]),
            _written({"type": "message_stop"}),
        ]

    def _start(self, answer: Any) -> bytes:
        """Return the beginning of a message of which nothing was sent."""
        first = next((one for one in self.kept if (_read(one) or {}).get("type") == "message_start"), None)
        if first is not None:
            return bytes(first)
        head = {name: answer.get(name) for name in ("id", "type", "role", "model")}
        usage = {**(answer.get("usage") or {}), "output_tokens": 0}
        empty: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return _written({"type": "message_start", "message": {**head, **empty}})

    def _usage_of(self, answer: Any, cost: float | None) -> dict[str, Any]:
        """Return the usage of the other message.

        The client has the beginning of this one's: a number that the other message does not have becomes 0.
        """
        begun = {name: 0 for name, number in self._usage.items() if type(number) is int}
        added = {"cost": cost} if cost is not None and _adds_cost() else {}
        return {**begun, **(answer.get("usage") or {}), **added}


def _adds_cost() -> bool:
    """Return whether LiteLLM adds the cost to the usage in streams."""
    return bool(getattr(litellm, "include_cost_in_streaming_usage", False))


def _as_it_is(event: bytes) -> list[bytes]:
    """Return an event in two pieces.

    LiteLLM adds the cost to events that come in one, at the price of the first deployment.
    """
    return [event[:-1], event[-1:]]


_ARGUMENTS: Final = "exacto_arguments"
_PARTS: Final = (("text", "text"), ("thinking", "thinking"), ("partial_json", _ARGUMENTS))
"""Maps a field of a delta to the field of the block that it extends."""


def _block_events(number: int, block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a whole block as stream events.

    A block of a type without deltas is one event, as in Anthropic's API.
    """
    begun, deltas = dict(block), []
    kind = block.get("type")
    if kind == "tool_use":
        begun["input"] = {}
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block.get("input") or {})}]
    elif kind == "text":
        begun["text"] = ""
        deltas = [{"type": "text_delta", "text": block.get("text") or ""}]
    elif kind == "thinking":
        begun.update(thinking="", signature="")
        deltas = [{"type": "thinking_delta", "thinking": block.get("thinking") or ""}]
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
    yield {"type": "content_block_start", "index": number, "content_block": begun}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": number, "delta": delta}
    yield {"type": "content_block_stop", "index": number}


def _read(event: bytes) -> Mapping[str, Any] | None:
    """Return the data of an event.

    None for a comment; empty where the data are no JSON object.
    """
    data = event_data(event)
    if data is None:
        return None
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _written(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

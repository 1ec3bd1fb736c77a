"""Streams of the Messages API, as rescue holds them: server-sent events in bytes, cut anywhere.

Blocks are numbered. Those that the client knows of go on; from the first call on, new blocks and the end of the message
wait, so that the numbers stay in order whatever takes the call's place.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import litellm
import orjson

from exacto_plugin.litellm_hooks.rescue.streams import StreamBuffer
from exacto_plugin.litellm_hooks.sse import event_data, split_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ANYWHERE: Final = frozenset({"ping", "message_start"})
"""Events that say nothing of a call."""


class MessagesBuffer(StreamBuffer):
    """The events of one message."""

    def __init__(self, _stream: Any = None) -> None:
        super().__init__()
        self._rest = b""
        self._blocks: dict[int, dict[str, Any]] = {}
        """Every block of the message by its number, put together as far as it came."""
        self._known: set[int] = set()
        """Numbers of the blocks that the client knows of."""
        self._calls = False
        self._ending: dict[str, Any] = {}
        """Stop reason and sequence."""
        self._usage: dict[str, Any] = {}
        self._broken = False
        """An error came: nothing waits any more."""

    def feed(self, chunk: Any) -> list[Any]:
        """What is sent because of some bytes: whole events only."""
        events, rest = split_events(self._rest + chunk)
        now: list[Any] = []
        later: list[Any] = []
        for event in events:
            read = _read(event)
            if read is not None and read.get("type") == "error":  # the answer broke off, and so does this
                now, later, self._broken = [*now, *self.kept, *later], [], True
                self.kept = []
            waits = not self._broken and read is not None and self._waits(read)
            (later if waits else now).append(event)
        self.kept += later
        self._rest = rest
        return now

    def flush(self) -> list[Any]:
        """What waits, and the beginning of an event that has no end."""
        return [*self.kept, self._rest] if self._rest else self.kept

    def _waits(self, event: Mapping[str, Any]) -> bool:
        """Take note of an event, and tell whether it has to wait."""
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
        if not self._calls:
            self._known.add(number)
        delta: Mapping[str, Any] = event.get("delta") or {}
        for piece, whole in _PARTS:
            if isinstance(text := delta.get(piece), str):
                block[whole] = block.get(whole, "") + text
        if number not in self._known:
            # Of the providers that LiteLLM translates, the log event may come before the end of the message does.
            self.ended = self.ended or kind == "content_block_stop"
            return True
        self.has_sent_text = self.has_sent_text or bool(delta.get("text"))
        self.has_sent_signature = (
            self.has_sent_signature or bool(delta.get("signature")) or block.get("type") == "redacted_thinking"
        )
        return False

    def answer(self) -> Any:
        """The message, its arguments as the text that they came in."""
        blocks = [block for _, block in sorted(self._blocks.items())]
        content = [
            {**block, "input": block.get(_ARGUMENTS) or block.get("input")}
            if block.get("type") == "tool_use"
            else block
            for block in blocks
        ]
        return {**self._ending, "content": content}

    def priced(self) -> Any:
        """Its usage as that of a chat completion: LiteLLM tells no price of a message."""
        counted = litellm.Usage(
            prompt_tokens=self._usage.get("input_tokens") or 0, completion_tokens=self._usage.get("output_tokens") or 0
        )
        return litellm.ModelResponse(usage=counted)

    def replacement(self, answer: Any) -> list[Any]:
        """The blocks of the other message after those that the client knows of, and its end."""
        blocks = [block for block in answer["content"] if not (self.has_sent_text and block.get("type") == "text")]
        ending = {name: answer.get(name) for name in ("stop_reason", "stop_sequence")}
        events = [
            *(event for place, block in enumerate(blocks, len(self._known)) for event in _block_events(place, block)),
            {"type": "message_delta", "delta": ending, "usage": answer.get("usage") or {}},
            {"type": "message_stop"},
        ]
        return [_written(event) for event in events]


_ARGUMENTS: Final = "exacto_arguments"
_PARTS: Final = (("text", "text"), ("thinking", "thinking"), ("partial_json", _ARGUMENTS))
"""What pieces of a block bring, and what of the block they make up."""


def _block_events(number: int, block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole block as the events of a stream; a kind that has no pieces comes at once, as at Anthropic."""
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
    """The data of an event; None of a comment, and nothing in it where it is no JSON object."""
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

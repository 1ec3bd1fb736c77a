"""Buffer for streams of the Responses API: numbered events on numbered items.

Text that the client has already received continues; from the first call on, new items, the ends of earlier ones and the
end of the response are buffered, so that numbers and order stay the same, also after a replacement. The first events
without content (``response.created``) are buffered until the first event with content: when nothing was sent, the whole
response is the other deployment's, including its id. Otherwise the client has the id of the response already, and
clients refuse a stream whose id changes. That id leads back to the bad answer, so such a response is replaced only
where nothing can follow it: with ``store: false``, and where neither the provider nor LiteLLM keeps the answer. An
event that is not replaced keeps the number that it came with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litellm.types.llms.openai import BaseLiteLLMOpenAIResponseObject, GenericEvent

from exacto_plugin.litellm_hooks.rescue.attempt_results import priced_usage
from exacto_plugin.litellm_hooks.rescue.streams import StreamBuffer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BEGINS: Final = frozenset({"response.created", "response.in_progress", "response.queued"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that the client answers, with the field that is sent in pieces."""
_SAID: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})


class ResponsesBuffer(StreamBuffer):
    """Buffer for the events of one response."""

    def __init__(self, _stream: Any = None) -> None:
        super().__init__()
        self._begun: list[Any] = []
        """First events of the response, until another event follows."""
        self._opened: list[Any] = []
        """First events of the response, kept to its end."""
        self._known: dict[int, Any] = {}
        """Items that the client has received, by number, in their latest form."""
        self._calls = False
        self._end: Any = None
        self._next = 0
        """Number after that of the newest sent event."""
        self._is_reordered = False
        """True when an event was sent before an earlier one that waits."""
        self._held = False
        """True when nothing was sent: everything is buffered."""
        self._id = ""
        """Id of the response, as it was before LiteLLM encrypts it in place."""

    def begins(self, chunk: Any) -> bool:
        """Return whether the response has begun well with an event."""
        kind = _kind(chunk)
        item = _field(getattr(chunk, "item", None), "type")
        if kind == "response.refusal.delta" or item not in (None, "message", "reasoning"):
            return True
        return self.begins_with(str(chunk.delta or "") if kind == "response.output_text.delta" else "")

    def hold(self, chunks: list[Any]) -> None:
        """Take all events of a response of which nothing was sent."""
        self._held = True
        for chunk in chunks:
            self.feed(chunk)

    def feed(self, chunk: Any) -> list[Any]:
        """Return the events to send after one event."""
        kind = _kind(chunk)
        if kind in _BEGINS and not self.has_sent_id:
            self._begun.append(chunk)
            self._opened.append(chunk)
            self._id = self._id or str(_field(chunk.response, "id") or "")
            return []
        if self._waits(chunk, kind):
            self.kept.append(chunk)
            return []
        now, self._begun = [*self._begun, chunk], []
        self._is_reordered = self._is_reordered or bool(self.kept)
        return [self._unchanged(event) for event in now]

    def flush(self) -> list[Any]:
        """Return the buffered events in their order."""
        return [self._unchanged(event) for event in (*self._begun, *self.kept)]

    def preamble(self) -> list[Any]:
        """Return the first events while no other event has followed."""
        return self._begun

    def _waits(self, event: Any, kind: str) -> bool:
        """Record an event and return whether it is buffered."""
        if self._held:
            self._end = event if kind in _ENDS and kind != "error" else self._end
            return True
        number = getattr(event, "output_index", None)
        if isinstance(number, int):
            item = getattr(event, "item", None)
            self._calls = self._calls or _field(item, "type") in _CALLS
            if self._calls and number not in self._known:
                return True
            self._known[number] = item or self._known.get(number)
            self.has_sent_text = self.has_sent_text or (kind in _SAID and bool(event.delta))
            self.has_sent_signature = self.has_sent_signature or bool(_field(item, "encrypted_content"))
            # LiteLLM ends a text after the calls that follow it.
            return self._calls and not kind.endswith(".delta")
        if kind in _ENDS and self._calls:
            self._end = event
            self.ended = kind != "error"
            return True
        return False

    def answer(self) -> Any:
        """Return the response of the last event; an error without one."""
        return {"error": True} if self._end is None else self._end.response

    def replacement(self, answer: Any, cost: float | None = None) -> list[Any]:
        """Return the other response's items and end as events.

        The items are numbered after those that the client has received, whose ends come first.
        """
        items = [_payload(item) for item in answer.output or ()]
        ends = [event for event in self.kept if getattr(event, "output_index", None) in self._known]
        items = [item for item in items if not (self.has_sent_text and item.get("type") == "message")]
        known = [self._known[number] for number in sorted(self._known)]
        whole = answer.model_copy(update={"output": [*(item for item in known if item), *map(_item, items)]})
        if self.has_sent_id and self._id:
            whole.id = self._id
        if answer.usage is not None:
            replaced = None if self._end is None else getattr(self._end.response, "usage", None)
            whole.usage = priced_usage(answer.usage, replaced, cost)
        started = answer.model_copy(update={"output": [], "status": "in_progress", "usage": None})
        # A response of its own for each event: LiteLLM encrypts ids in place.
        opened = [
            event.model_copy(update={"response": started.model_copy()})
            for event in self._opened
            if not self.has_sent_id
        ]
        if not opened and not self.has_sent_id:
            opened = [_event("response.created", response=started)]
        told = [event for place, item in enumerate(items, len(known)) for event in _item_events(place, item)]
        end = _event("response.completed", response=whole)
        if self._end is not None and not self._held:
            end = self._end.model_copy(update={"response": whole})
        return [self._numbered(event) for event in (*opened, *ends, *told, end)]

    def _unchanged(self, event: Any) -> Any:
        """Return an event with its own number, unless the order has changed."""
        own = getattr(event, "sequence_number", None)
        if self._is_reordered or not isinstance(own, int):
            return self._numbered(event)
        self._next, self.has_sent_id = own + 1, True
        return event

    def _numbered(self, event: Any) -> Any:
        """Set the number after that of the event before, where events have one."""
        number, self._next = self._next, self._next + 1
        self.has_sent_id = True
        told = getattr(event, "sequence_number", None)
        return event if told is None or told == number else event.model_copy(update={"sequence_number": number})


def _kind(event: Any) -> str:
    return str(getattr(event.type, "value", event.type))


def _item_events(number: int, item: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a whole item as stream events.

    An item of a type without pieces that clients need is sent at once.
    """
    kind, name = item.get("type"), item.get("id")
    where = {"output_index": number, "item_id": name}
    begun, pieces = {**item, "status": "in_progress"} if "status" in item else dict(item), []
    if kind in _CALLS:
        field = _CALLS[str(kind)]
        event = f"response.{'function_call_arguments' if field == 'arguments' else 'custom_tool_call_input'}"
        begun[field], text = "", str(item.get(field) or "")
        pieces = [_event(f"{event}.delta", **where, delta=text), _event(f"{event}.done", **where, **{field: text})]
    elif kind == "message":
        begun["content"] = []
        pieces = [
            event for place, part in enumerate(item.get("content") or ()) for event in _part_events(where, place, part)
        ]
    yield _event("response.output_item.added", output_index=number, item=_item(begun))
    yield from pieces
    yield _event("response.output_item.done", output_index=number, item=_item(item))


def _part_events(where: Mapping[str, Any], place: int, part: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a part of a message as events; its text or refusal is one delta."""
    there = {**where, "content_index": place}
    field = {"output_text": "text", "refusal": "refusal"}.get(str(part.get("type")), "")
    yield _event("response.content_part.added", **there, part=_item({**part, field: ""} if field else part))
    if field:
        event = "response.output_text" if field == "text" else "response.refusal"
        yield _event(f"{event}.delta", **there, delta=part[field], logprobs=[])
        yield _event(f"{event}.done", **there, **{field: part[field]}, logprobs=[])
    yield _event("response.content_part.done", **there, part=_item(part))


def _event(kind: str, **fields: Any) -> GenericEvent:
    return GenericEvent.model_validate({"type": kind, "sequence_number": -1, **fields})


def _item(payload: Mapping[str, Any]) -> BaseLiteLLMOpenAIResponseObject:
    return BaseLiteLLMOpenAIResponseObject(**payload)


def _payload(item: Any) -> dict[str, Any]:
    """Return an item of a response as plain data."""
    return dict(item) if isinstance(item, dict) else item.model_dump(exclude_none=True)


def _field(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)

"""Buffer for streams of chat completions: chunks with deltas.

Text is passed on at once, before and after a call. The usage, which clients take from the end of a stream, is buffered
with the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import litellm
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from exacto_plugin.core.scoring.fields import get_attribute
from exacto_plugin.litellm_hooks.rescue.attempt_results import priced_usage
from exacto_plugin.litellm_hooks.rescue.streams import StreamBuffer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_CALLED: Final = frozenset({"tool_calls", "function_call"})
_COUNTED: Final = ("usage", "response_cost")
"""Keys of LiteLLM's own parameters of a chunk that are about a whole answer."""
_OF_CALL: Final = ("tool_calls", "function_call")
_BEGINNINGS: Final = (*_OF_CALL, "refusal", "images", "audio")
"""Parts of a delta, beside text, with which an answer begins."""


class ChatBuffer(StreamBuffer):
    """Buffer for the chunks of one answer.

    Args:
        stream: LiteLLM's stream, which stores all of its chunks.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def begins(self, chunk: Any) -> bool:
        """Return whether the answer has begun well with a chunk."""
        deltas = [choice.delta for choice in chunk.choices]
        if any(get_attribute(delta, name) for delta in deltas for name in _BEGINNINGS):
            return True
        texts = [text for delta in deltas if isinstance(text := get_attribute(delta, "content"), str)]
        return self.begins_with("".join(texts))

    def hold(self, chunks: list[Any]) -> None:
        """Take all chunks of an answer of which nothing was sent."""
        self.kept = chunks

    def feed(self, chunk: Any) -> list[Any]:
        """Return the part of a chunk that is sent now.

        A chunk with both text and a call is split.
        """
        now, later = self._parted(chunk)
        if later is not None:
            self.kept.append(later)
            self.ended = any(choice.finish_reason for choice in later.choices)
        return [] if now is None else [now]

    def _parted(self, chunk: Any) -> tuple[Any, Any]:
        """Split a chunk into the part that is sent now and the part that is buffered."""
        deltas = [choice.delta for choice in chunk.choices]
        calls = any(get_attribute(delta, name) for delta in deltas for name in _OF_CALL)
        ends = _usage(chunk) is not None or not deltas or any(choice.finish_reason for choice in chunk.choices)
        says = any(get_attribute(delta, "content") for delta in deltas)
        if not calls and not (ends and (self.kept or any(c.finish_reason in _CALLED for c in chunk.choices))):
            self.has_sent_text = self.has_sent_text or says
            return chunk, None
        if not says:
            return None, chunk
        self.has_sent_text = True
        return _without(chunk, calls=True), _without(chunk, calls=False)

    def answer(self) -> Any:
        """Return the buffered call and the end; the text was sent."""
        built = litellm.stream_chunk_builder(chunks=list(self.kept)) if self.kept else None
        return litellm.ModelResponse() if built is None else built

    def priced(self) -> Any:
        """Return the whole answer."""
        return litellm.stream_chunk_builder(chunks=list(self._stream.chunks), logging_obj=self._stream.logging_obj)

    def replacement(self, answer: Any, cost: float | None = None) -> list[Any]:
        """Return the replacement as further chunks of the same stream.

        They contain the text and calls of each choice, its finish reason, and the usage if the stream reports it.
        """
        like = self.kept[0] if self.kept else _first_piece(answer)
        pieces = []
        for choice in answer.choices:
            message = choice.message
            calls = [{**call.model_dump(), "index": number} for number, call in enumerate(message.tool_calls or ())]
            legacy = message.function_call.model_dump() if getattr(message, "function_call", None) else None
            content = None if self.has_sent_text else message.content
            delta = Delta(content=content, tool_calls=calls or None, function_call=legacy)
            ending = StreamingChoices(index=choice.index, delta=Delta(), finish_reason=choice.finish_reason)
            pieces += [_piece(like, StreamingChoices(index=choice.index, delta=delta)), _piece(like, ending)]
        if pieces and any("usage" in chunk._hidden_params for chunk in self.kept):
            pieces[-1]._hidden_params["usage"] = answer.usage
        return pieces + _counted(self.kept, answer, cost)


async def as_stream(answer: Any) -> AsyncIterator[Any]:
    """Yield a whole chat completion as the chunks of a stream."""
    for piece in ChatBuffer(None).replacement(answer):
        yield piece


def _first_piece(answer: Any) -> ModelResponseStream:
    """Return a chunk for the place of a stream's first one, where it had none."""
    return ModelResponseStream(id=answer.id, created=answer.created, model=answer.model, choices=[])


def _usage(chunk: Any) -> Any:
    return get_attribute(chunk, "usage")


def _counted(kept: Sequence[Any], answer: Any, cost: float | None) -> list[Any]:
    """Return a usage chunk for ``answer`` like the stream's own; empty without one."""
    counted = next((chunk for chunk in reversed(kept) if _usage(chunk) is not None), None)
    if counted is None or _usage(answer) is None:
        return []
    usage = priced_usage(answer.usage, counted.usage, cost)
    choices = [StreamingChoices(index=choice.index, delta=Delta()) for choice in counted.choices]
    piece = counted.model_copy(update={"usage": usage, "choices": choices})
    piece._hidden_params = _own_parameters(counted)
    return [piece]


def _without(chunk: Any, *, calls: bool) -> Any:
    """Copy a chunk without its call and finish reason, or without its text."""
    copy = chunk.model_copy(deep=True)
    for choice in copy.choices:
        if calls:
            choice.finish_reason = None
        for name in _OF_CALL if calls else ("content",):
            setattr(choice.delta, name, None)
    return copy


def _piece(like: Any, choice: StreamingChoices) -> ModelResponseStream:
    piece = ModelResponseStream(id=like.id, created=like.created, model=like.model, choices=[choice])
    piece._hidden_params = _own_parameters(like)
    return piece


def _own_parameters(chunk: Any) -> dict[str, Any]:
    """Return LiteLLM's parameters of a chunk without those of its answer."""
    return {name: value for name, value in chunk._hidden_params.items() if name not in _COUNTED}

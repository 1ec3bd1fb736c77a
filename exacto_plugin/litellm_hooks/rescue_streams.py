"""Rescue of streamed chat completions (``rescue.streams``): tool calls are held back until they are judged.

Text, reasoning and everything else flow on as they come. The first piece of a tool call and all that ends the answer
after it (finish reason, usage) wait for the end of the stream; then they are sent as they are, or, when the call is bad
and another deployment has a better one, that one is sent in their place, as further pieces of the same stream. So
nothing of a bad call has been sent when it is replaced, and a client cannot tell.

The other deployment is asked for a whole answer: nothing of it could be sent before its end anyway. Responses and
Messages streams are left alone: their events announce the call long before its arguments, and repeat all of it at the
end, so that they cannot be held back without holding back what is not a call.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import litellm
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request_state import CURRENT
from exacto_plugin.litellm_hooks.rescue import ASKED, cost_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from exacto_plugin.core.rescue import Judgement
    from exacto_plugin.litellm_hooks.request_state import Attempt, RequestState
    from exacto_plugin.litellm_hooks.rescue import Asked, Rescue

_CALLED: Final = frozenset({"tool_calls", "function_call"})
_OF_CALL: Final = ("tool_calls", "function_call")


def held(rescue: Rescue, stream: Any) -> Any:
    """``stream`` with its tool calls held back where they may be rescued, else ``stream`` itself.

    Args:
        rescue: of this process.
        stream: LiteLLM's stream of the attempt at hand.
    """
    state, asked = CURRENT.get(), ASKED.get()
    attempt = state.served_by if state is not None else None
    if state is None or asked is None or attempt is None or not rescue.holds(state):
        return stream
    # Its headers are sent before anybody knows whose call the client gets.
    state.may_move = True
    return HeldStream(stream, rescue, state, attempt, asked)


class HeldStream:
    """A stream whose tool calls come at its end, judged; everything else is the stream's own."""

    def __init__(self, stream: Any, rescue: Rescue, state: RequestState, attempt: Attempt, asked: Asked) -> None:
        self.faults = rescue.faults
        self._stream = stream
        self._rescue = rescue
        self._state = state
        self._attempt = attempt
        self._asked = asked
        self._said = False
        """Whether the client has text of this answer."""
        self._pieces = self._run()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> HeldStream:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Close the stream; nobody is asked any more."""
        await self._pieces.aclose()  # type: ignore[attr-defined]
        await self._stream.aclose()

    async def _run(self) -> AsyncIterator[Any]:
        kept: list[Any] = []
        async for chunk in self._stream:
            whole: tuple[Any, Any] = (chunk, None)
            now, later = self.faults.guarded("rescue", partial(self._parted, chunk, bool(kept)), whole)
            if later is not None:
                kept.append(later)
                self.faults.guarded("rescue", partial(self._judge_finished, kept), None)
            if now is not None:
                yield now
        for chunk in await self._released(kept):
            yield chunk

    def _parted(self, chunk: Any, holding: bool) -> tuple[Any, Any]:
        """What of a chunk is sent now, and what waits."""
        deltas = [choice.delta for choice in chunk.choices]
        calls = any(getattr(delta, name, None) for delta in deltas for name in _OF_CALL)
        ends = not chunk.choices or any(choice.finish_reason for choice in chunk.choices)
        says = any(getattr(delta, "content", None) for delta in deltas)
        if not calls and not (ends and (holding or any(c.finish_reason in _CALLED for c in chunk.choices))):
            self._said = self._said or says
            return chunk, None
        if not says:
            return None, chunk
        self._said = True
        return _without(chunk, calls=True), _without(chunk, calls=False)

    def _judge_finished(self, kept: Sequence[Any]) -> None:
        """Judge what is there once a finish reason came: LiteLLM's log event of the answer may follow any moment."""
        if any(choice.finish_reason for choice in kept[-1].choices):
            self._attempt.judged = self._judgement(kept)

    def _judgement(self, kept: Sequence[Any]) -> Judgement:
        built = litellm.stream_chunk_builder(chunks=list(kept))
        return self._rescue.judgement(self._stream.logging_obj.model_call_details, built)

    @fail_open("rescue", otherwise=lambda _self, kept: kept)
    async def _released(self, kept: list[Any]) -> list[Any]:
        """What is sent of the call in the end."""
        judged = self._attempt.judged
        if judged is None or not judged.bad or self._state.served_by is not self._attempt:
            return kept
        logging = self._stream.logging_obj
        whole = litellm.stream_chunk_builder(chunks=list(self._stream.chunks), logging_obj=logging)
        self._attempt.cost = cost_of(logging, whole, self._attempt)
        answer = await self._rescue.better(None, self._state, self._asked, not self._said)
        return kept if answer is None else _pieces(answer, kept, text=not self._said)


def _without(chunk: Any, *, calls: bool) -> Any:
    """A copy of a chunk that carries both text and a call, without the call and the finish, or without the text."""
    copy = chunk.model_copy(deep=True)
    for choice in copy.choices:
        if calls:
            choice.finish_reason = None
        for name in _OF_CALL if calls else ("content",):
            setattr(choice.delta, name, None)
    return copy


def _pieces(answer: Any, kept: Sequence[Any], *, text: bool) -> list[Any]:
    """A whole answer as the end of a stream that another deployment began."""
    like = kept[0]
    pieces = []
    for choice in answer.choices:
        message = choice.message
        calls = [{**call.model_dump(), "index": number} for number, call in enumerate(message.tool_calls or ())]
        legacy = message.function_call.model_dump() if getattr(message, "function_call", None) else None
        delta = Delta(content=message.content if text else None, tool_calls=calls or None, function_call=legacy)
        pieces.append(_piece(like, StreamingChoices(index=choice.index, delta=delta)))
        pieces.append(
            _piece(like, StreamingChoices(index=choice.index, delta=Delta(), finish_reason=choice.finish_reason))
        )
    counted = [chunk for chunk in kept if getattr(chunk, "usage", None) is not None]
    return pieces + [chunk.model_copy(update={"usage": answer.usage}) for chunk in counted[-1:] if not chunk.choices]


def _piece(like: Any, choice: StreamingChoices) -> ModelResponseStream:
    piece = ModelResponseStream(id=like.id, created=like.created, model=like.model, choices=[choice])
    piece._hidden_params = like._hidden_params
    return piece

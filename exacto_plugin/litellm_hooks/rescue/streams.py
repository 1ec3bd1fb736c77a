"""Rescue of streams: tool calls are buffered until they are assessed.

Text, reasoning and everything else is passed on at once. The first piece of a tool call, and everything after it that
ends the answer, is buffered until the end of the stream. Then it is sent unchanged, or, when the call is bad and
another deployment has a better one, that one is sent instead, as the end of the same stream. No part of a bad call has
been sent when it is replaced, so the replacement is not visible to the client.

The other deployment is called without streaming, since nothing could be sent before the end of its answer anyway. The
:class:`StreamBuffer` of each surface handles the form of its events; this module is independent of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from litellm.exceptions import MidStreamFallbackError

from exacto_plugin.litellm_hooks.background import run_in_thread
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request.call_details import CURRENT_ATTEMPT
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.rescue.attempt_results import cost_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.request.call_details import RescuableAttempt
    from exacto_plugin.litellm_hooks.request.state import RequestState
    from exacto_plugin.litellm_hooks.rescue.rescue import AnswerRescue


class StreamBuffer(ABC):
    """Sent and buffered parts of one stream, in the events of one surface.

    Does no I/O.
    """

    def __init__(self) -> None:
        self.kept: list[Any] = []
        """Buffered events."""
        self.has_sent_text = False
        """True when the client has text of this answer."""
        self.has_sent_signature = False
        """True when the client has a part that only this deployment can read."""
        self.has_sent_id = False
        """True when the client has an id of this answer that a later request may point to."""
        self.ended = False
        """True when a call, or the answer, has ended and is to be assessed.

        The reader resets it to False.
        """

    @abstractmethod
    def feed(self, chunk: Any) -> list[Any]:
        """Return the events to send after one chunk; the rest is buffered."""

    @abstractmethod
    def answer(self) -> Any:
        """Return the ended answer in a form that can be assessed."""

    @abstractmethod
    def replacement(self, answer: Any, cost: float | None = None) -> list[Any]:
        """Return another deployment's whole answer as the end of this stream.

        It takes the place of the buffered events, its usage that of the replaced answer.

        Args:
            answer: the whole answer.
            cost: of the answer in USD; None where it is unknown.
        """

    def priced(self) -> Any:
        """Return the answer in a form that LiteLLM can price."""
        return self.answer()

    def flush(self) -> list[Any]:
        """Return the events to send when the buffered part is not replaced."""
        return self.kept

    def preamble(self) -> list[Any]:
        """Return the buffered events without content, which are sent before an error."""
        return []


def buffer_stream(
    rescue: AnswerRescue, stream: Any, make: Callable[[Any], StreamBuffer], *, synchronous: bool = False
) -> Any:
    """Return ``stream`` with its tool calls buffered where they may be rescued.

    Elsewhere ``stream`` itself is returned.

    Args:
        rescue: the rescue of this process.
        stream: LiteLLM's stream of the current attempt.
        make: creates the buffer of the stream's surface.
        synchronous: whether it is read by a program without an event loop.
    """
    state, asked = CURRENT.get(), CURRENT_ATTEMPT.get()
    attempt = state.served_by if state is not None else None
    if state is None or asked is None or attempt is None or not rescue.buffers_stream(state):
        return stream
    if synchronous:
        asked.logging = stream.logging_obj
    if asked.logging is None:
        return stream
    # Its headers are sent before the source of the delivered call is known.
    state.routing.may_move = True
    kind = BufferedSyncStream if synchronous else BufferedStream
    return kind(stream, make(stream), rescue, state, attempt, asked)


class _BufferedStream:
    """Common part of the async and the sync buffered stream."""

    def __init__(
        self,
        stream: Any,
        holding: StreamBuffer,
        rescue: AnswerRescue,
        state: RequestState,
        attempt: Attempt,
        asked: RescuableAttempt,
    ) -> None:
        self.faults = rescue.faults
        self._stream = stream
        self._buffer = holding
        self._rescue = rescue
        self._state = state
        self._attempt = attempt
        self._asked = asked
        self._given_up = False
        """True after an error of the plugin: chunks are then passed on unchanged."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _feed_or_flush(self, chunk: Any) -> list[Any]:
        """Return the chunks to send after a chunk.

        After an error of the plugin, everything buffered is included.
        """
        if self._given_up:
            return [chunk]
        pieces = self.faults.guard("rescue", partial(self._feed, chunk), None)
        if pieces is None:
            self._given_up = True
            return [*self._buffer.flush(), chunk]
        return pieces

    def _feed(self, chunk: Any) -> list[Any]:
        pieces = self._buffer.feed(chunk)
        if self._buffer.ended:  # LiteLLM's log event of the answer may follow at any moment
            self._buffer.ended = False
            details = self._asked.logging.model_call_details
            self._attempt.quality = self._rescue.quality(details, self._buffer.answer())
        return pieces

    def _flush_before_error(self, error: BaseException) -> list[Any]:
        """Return the chunks to send before an error ends the stream."""
        # After this error another deployment may continue the stream.
        return [] if isinstance(error, MidStreamFallbackError) else self._buffer.preamble()

    @property
    def _bad(self) -> bool:
        """True when the buffered part is a bad call that may be replaced."""
        judged = self._attempt.quality
        return judged is not None and judged.bad and self._state.served_by is self._attempt

    @fail_open("rescue", otherwise=lambda self: self._buffer.flush())
    async def _replacement(self) -> list[Any]:
        """Return the chunks to send for a bad call: a better one, or the call itself."""
        holding = self._buffer
        self._attempt.cost = cost_of(self._asked.logging, holding.priced(), self._attempt)
        answer = await self._rescue.replace_answer(
            None,
            self._state,
            self._asked,
            text_welcome=not holding.has_sent_text,
            bound=holding.has_sent_signature,
            named=holding.has_sent_id,
        )
        if answer is None:
            return holding.flush()
        by = self._state.rescue.answered_by if self._state.rescue is not None else None
        return holding.replacement(answer, None if by is None else by.cost)


class BufferedStream(_BufferedStream):
    """Stream whose tool calls are sent at its end, after their assessment.

    All other attributes are those of the wrapped stream.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pieces = self._run()

    def __aiter__(self) -> BufferedStream:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Close the stream; no rescue attempt is made after that."""
        await self._pieces.aclose()  # type: ignore[attr-defined]
        await self._stream.aclose()

    async def _run(self) -> AsyncIterator[Any]:
        try:
            async for chunk in self._stream:
                for piece in self._feed_or_flush(chunk):
                    yield piece
        except Exception as error:
            for piece in self._flush_before_error(error):
                yield piece
            raise
        if not self._given_up:
            for piece in await self._replacement() if self._bad else self._buffer.flush():
                yield piece


class BufferedSyncStream(_BufferedStream):
    """Buffered stream for a program without an event loop."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pieces = self._run()

    def __iter__(self) -> BufferedSyncStream:
        return self

    def __next__(self) -> Any:
        return next(self._pieces)

    def _run(self) -> Iterator[Any]:
        try:
            for chunk in self._stream:
                yield from self._feed_or_flush(chunk)
        except Exception as error:
            yield from self._flush_before_error(error)
            raise
        if self._given_up:
            return
        if self._bad:
            yield from run_in_thread(self._replacement, copy_context(), "exacto-rescue").result()
        else:
            yield from self._buffer.flush()

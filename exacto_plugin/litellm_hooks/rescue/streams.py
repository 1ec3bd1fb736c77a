"""Rescue of streams: their beginning and their tool calls are buffered.

Nothing is sent before the answer has begun as no broken one does: with text, a call or a refusal. A stream that ends or
fails before that is assessed as a whole, and another deployment's answer is sent in its place. From then on text,
reasoning and everything else is passed on at once. The first piece of a tool call, and everything after it that
ends the answer, is buffered until the end of the stream. Then it is sent unchanged, or, when the call is bad and
another deployment has a better one, that one is sent instead, as the end of the same stream. No part of a bad call has
been sent when it is replaced, so the replacement is not visible to the client.

The other deployment is called without streaming, since nothing could be sent before the end of its answer anyway. The
:class:`StreamBuffer` of each surface handles the form of its events; this module is independent of it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from litellm.exceptions import MidStreamFallbackError

from exacto_plugin.core.scoring.broken_answers import has_begun_well
from exacto_plugin.litellm_hooks.background import run_in_thread
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request.call_details import CURRENT_ATTEMPT
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.rescue.attempt_results import cost_of
from exacto_plugin.litellm_hooks.scoring.failures import is_callers_fault

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
        self._said = ""
        """Beginning of the text."""

    @abstractmethod
    def begins(self, chunk: Any) -> bool:
        """Return whether the answer has begun well with a chunk."""

    @abstractmethod
    def hold(self, chunks: list[Any]) -> None:
        """Take all chunks of an answer of which nothing was sent."""

    def begins_with(self, text: str) -> bool:
        """Return whether the text has begun well with its next piece."""
        self._said += text
        return bool(text) and has_begun_well(self._said)

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
    attempt.is_scored_early = True
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
        self._opening: list[Any] | None = []
        """Chunks before the answer has begun well; None once it has."""
        self._began = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _next(self, chunk: Any) -> list[Any]:
        """Return the chunks to send after a chunk: none before the answer has begun."""
        if self._opening is None:
            return self._feed_or_flush(chunk)
        self._opening.append(chunk)
        begun = self.faults.guard("rescue", partial(self._buffer.begins, chunk), True)
        if not begun and time.monotonic() - self._began < self._rescue.hold_s:
            return []
        held, self._opening = self._opening, None
        return [piece for one in held for piece in self._feed_or_flush(one)]

    @fail_open("rescue", otherwise=lambda self: self._opening)
    async def _unbegun(self) -> list[Any]:
        """Return the chunks to send for a stream that ended before it had begun."""
        assert self._opening is not None
        self._buffer.hold([*self._opening])
        details = self._asked.logging.model_call_details
        self._attempt.quality = self._rescue.quality(details, self._buffer.answer())
        return await self._replacement() if self._bad else self._opening

    @fail_open("rescue", otherwise=lambda *_: None)
    async def _instead_of(self, error: BaseException) -> list[Any] | None:
        """Return another answer in the place of an error before the beginning.

        None when there is none, and where the caller is at fault.
        """
        if self._opening is None or self._state.served_by is not self._attempt or is_callers_fault(error):
            return None
        self._buffer.hold([*self._opening])
        self._rescue.record_broken(self._attempt, error)
        return await self._other_answer()

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
        if isinstance(error, MidStreamFallbackError):
            return []
        return self._buffer.preamble() if self._opening is None else self._opening

    @property
    def _bad(self) -> bool:
        """True when the buffered part is a bad call that may be replaced."""
        judged = self._attempt.quality
        return judged is not None and judged.bad and self._state.served_by is self._attempt

    @fail_open("rescue", otherwise=lambda self: self._buffer.flush())
    async def _replacement(self) -> list[Any]:
        """Return the chunks to send for a bad call: a better one, or the call itself."""
        self._attempt.cost = cost_of(self._asked.logging, self._buffer.priced(), self._attempt)
        other = await self._other_answer()
        return self._buffer.flush() if other is None else other

    async def _other_answer(self) -> list[Any] | None:
        """Return another deployment's answer as chunks; None without a better one."""
        holding = self._buffer
        answer = await self._rescue.replace_answer(
            None,
            self._state,
            self._asked,
            text_welcome=not holding.has_sent_text,
            bound=holding.has_sent_signature,
            named=holding.has_sent_id,
        )
        if answer is None:
            return None
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
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()

    async def _run(self) -> AsyncIterator[Any]:
        try:
            async for chunk in self._stream:
                for piece in self._next(chunk):
                    yield piece
        except Exception as error:
            other = await self._instead_of(error)
            for piece in self._flush_before_error(error) if other is None else other:
                yield piece
            if other is None:
                raise
            return
        if self._opening is not None:
            for piece in await self._unbegun():
                yield piece
        elif not self._given_up:
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
                yield from self._next(chunk)
        except Exception as error:
            other = self._wait_for(partial(self._instead_of, error))
            yield from self._flush_before_error(error) if other is None else other
            if other is None:
                raise
            return
        if self._opening is not None:
            yield from self._wait_for(self._unbegun)
            return
        if self._given_up:
            return
        if self._bad:
            yield from self._wait_for(self._replacement)
        else:
            yield from self._buffer.flush()

    @staticmethod
    def _wait_for(make: Callable[[], Any]) -> Any:
        return run_in_thread(make, copy_context(), "exacto-rescue").result()

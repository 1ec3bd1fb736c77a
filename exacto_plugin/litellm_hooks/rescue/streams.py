"""Rescue of streams (``rescue.streams``): tool calls are held back until they are judged, on every surface.

Text, reasoning and everything else flow on as they come. The first piece of a tool call and all that ends the answer
after it wait for the end of the stream; then they are sent as they are, or, when the call is bad and another deployment
has a better one, that one is sent in their place, as the end of the same stream. So nothing of a bad call has been sent
when it is replaced, and a client cannot tell.

The other deployment is asked for a whole answer: nothing of it could be sent before its end anyway. What a surface's
events look like is the business of its :class:`StreamBuffer`; nothing here knows one from the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from litellm.exceptions import MidStreamFallbackError

from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request.call_details import CURRENT_ATTEMPT
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.rescue.rescue import cost_of
from exacto_plugin.litellm_hooks.run_in_thread import run_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from exacto_plugin.litellm_hooks.request.call_details import RescuableAttempt
    from exacto_plugin.litellm_hooks.request.state import Attempt, RequestState
    from exacto_plugin.litellm_hooks.rescue.rescue import AnswerRescue


class StreamBuffer(ABC):
    """What of one stream the client has and what waits, in the events of one surface. No I/O."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        """What waits."""
        self.has_sent_text = False
        """Whether the client has text of this answer."""
        self.has_sent_signature = False
        """Whether the client has something of this answer that only its deployment can read."""
        self.ended = False
        """Whether there is something new to judge since this was last set to False: a call, or the answer, ended."""

    @abstractmethod
    def feed(self, chunk: Any) -> list[Any]:
        """What is sent because of one chunk of the stream; the rest of it waits."""

    @abstractmethod
    def answer(self) -> Any:
        """The answer that has ended, in a form that can be judged."""

    @abstractmethod
    def replacement(self, answer: Any) -> list[Any]:
        """A whole answer of another deployment as the end of this stream, in place of what waits."""

    def priced(self) -> Any:
        """The answer in a form that LiteLLM can tell the price of."""
        return self.answer()

    def flush(self) -> list[Any]:
        """What is sent when nothing replaces what waits."""
        return self.kept

    def preamble(self) -> list[Any]:
        """What waits though it says nothing of a call; it is due before an error."""
        return []


def buffer_stream(
    rescue: AnswerRescue, stream: Any, make: Callable[[Any], StreamBuffer], *, synchronous: bool = False
) -> Any:
    """``stream`` with its tool calls held back where they may be rescued, else ``stream`` itself.

    Args:
        rescue: of this process.
        stream: LiteLLM's stream of the attempt at hand.
        make: makes the holding of its surface from it.
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
    # Its headers are sent before anybody knows whose call the client gets.
    state.may_move = True
    kind = BufferedSyncStream if synchronous else BufferedStream
    return kind(stream, make(stream), rescue, state, attempt, asked)


class _BufferedStream:
    """What both kinds of stream share: what is sent because of a chunk, and what in the end."""

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
        """Something of ours went wrong: what comes is sent as it comes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _feed_or_flush(self, chunk: Any) -> list[Any]:
        """What is sent because of a chunk; everything that waits too, once something of ours went wrong."""
        if self._given_up:
            return [chunk]
        pieces = self.faults.guard("rescue", partial(self._feed, chunk), None)
        if pieces is None:
            self._given_up = True
            return [*self._buffer.flush(), chunk]
        return pieces

    def _feed(self, chunk: Any) -> list[Any]:
        pieces = self._buffer.feed(chunk)
        if self._buffer.ended:  # LiteLLM's log event of the answer may follow any moment
            self._buffer.ended = False
            details = self._asked.logging.model_call_details
            self._attempt.quality = self._rescue.quality(details, self._buffer.answer())
        return pieces

    def _flush_before_error(self, error: BaseException) -> list[Any]:
        """What is sent before an error ends the stream."""
        # Of this one another deployment may make good.
        return [] if isinstance(error, MidStreamFallbackError) else self._buffer.preamble()

    @property
    def _bad(self) -> bool:
        """Whether what waits is a bad call that may be replaced."""
        judged = self._attempt.quality
        return judged is not None and judged.bad and self._state.served_by is self._attempt

    @fail_open("rescue", otherwise=lambda self: self._buffer.flush())
    async def _replacement(self) -> list[Any]:
        """What is sent in the place of a bad call: a better one, or itself."""
        holding = self._buffer
        self._attempt.cost = cost_of(self._asked.logging, holding.priced(), self._attempt)
        welcome = not holding.has_sent_text
        answer = await self._rescue.replace_answer(
            None, self._state, self._asked, text_welcome=welcome, bound=holding.has_sent_signature
        )
        return holding.flush() if answer is None else holding.replacement(answer)


class BufferedStream(_BufferedStream):
    """A stream whose tool calls come at its end, judged; everything else is the stream's own."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pieces = self._run()

    def __aiter__(self) -> BufferedStream:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Close the stream; nobody is asked any more."""
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
    """The same for a program without an event loop."""

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

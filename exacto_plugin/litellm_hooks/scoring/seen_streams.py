"""Readers of the streams that leave for the client.

LiteLLM assembles its own answer of a stream for its log events. That answer lacks calls without an id and joins names,
blocks and items in another way than clients do, so the chunks and events themselves are read. Each attempt has one
reader; chunks of chat are kept by LiteLLM, and events are reduced to calls as they pass.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from exacto_plugin.core.scoring.answers.chat_stream import join_chunks
from exacto_plugin.core.scoring.answers.message_stream import MessageEvents
from exacto_plugin.core.scoring.answers.response_stream import ResponseEvents
from exacto_plugin.core.scoring.fields import get_attribute, get_field
from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.request.state import ATTEMPT_KEY, CURRENT, LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.scoring.log_event import model_info_of
from exacto_plugin.litellm_hooks.sse import event_data, split_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from exacto_plugin.core.scoring.answers.calls import AnswerCalls
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.request.attempts import Attempt

    OnError = Callable[[Attempt], None]
    """Called with the attempt whose provider reported an error."""

CHUNKED: Final = ("chat", "text")
"""Surfaces whose streams are chunks with choices."""


class ChunkReader:
    """Reader of a chat stream.

    Args:
        chunks: of LiteLLM's stream, which appends each one before it leaves.
    """

    def __init__(self, chunks: Sequence[Any]) -> None:
        self._chunks = chunks

    def answer(self) -> AnswerCalls:
        """Return the calls so far."""
        return join_chunks(self._chunks)


class EventReader:
    """Reader of a stream of the Messages or the Responses API.

    Args:
        surface: ``messages`` or ``responses``.
    """

    def __init__(self, surface: str) -> None:
        self._messages = MessageEvents() if surface == "messages" else None
        self._responses = ResponseEvents()
        self._rest = b""
        self.broken = False
        """True after an error of the plugin: the stream is then not read on."""

    def feed(self, chunk: Any) -> bool:
        """Read one chunk: bytes of server-sent events, or an event.

        Returns:
            True, so that a guarded call that failed can be told from one that did not.
        """
        if self._messages is None:
            self._responses.feed(chunk)
        elif isinstance(chunk, bytes | bytearray | str):
            data = chunk.encode() if isinstance(chunk, str) else bytes(chunk)
            events, self._rest = split_events(self._rest + data)
            for event in events:
                if (found := event_data(event)) is not None:
                    self._messages.feed_data(found)
        else:
            self._messages.feed(chunk)
        return True

    @property
    def reports_error(self) -> bool:
        """True once the provider has reported an error in a Messages stream."""
        return self._messages is not None and self._messages.has_error

    def answer(self) -> AnswerCalls | None:
        """Return the calls so far; None after an error of the plugin."""
        if self.broken:
            return None
        return self._responses.answer() if self._messages is None else self._messages.answer()


class WatchedStream:
    """A stream of events that are read as they pass.

    All other attributes are those of the wrapped stream.
    """

    def __init__(self, stream: Any, reader: EventReader, faults: FaultReporter, on_error: Callable[[], None]) -> None:
        self._stream = stream
        self._events = aiter(stream)
        self._reader = reader
        self._faults = faults
        self._on_error = on_error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> WatchedStream:
        return self

    async def __anext__(self) -> Any:
        chunk = await anext(self._events)
        if not self._reader.broken:
            self._reader.broken = not self._faults.guard("score", lambda: self._reader.feed(chunk), False)
            if self._reader.reports_error:
                self._faults.guard("score", self._on_error, None)
        return chunk


class KeptStream:
    """A stream of chunks that are kept as they pass, asynchronous or not.

    LiteLLM's synchronous stream of a compiled router keeps none, nor do its streams of text completions. All other
    attributes are those of the wrapped stream: the proxy bills a stream with ``chunks`` when its client leaves.
    """

    def __init__(self, stream: Any, *, synchronous: bool) -> None:
        self._stream = stream
        self._rest = iter(stream) if synchronous else aiter(stream)
        self.kept: list[Any] = []
        if synchronous:
            self.chunks = self.kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> KeptStream:
        return self

    def __next__(self) -> Any:
        chunk = next(self._rest)
        self.kept.append(chunk)
        return chunk

    def __aiter__(self) -> KeptStream:
        return self

    async def __anext__(self) -> Any:
        chunk = await anext(self._rest)
        self.kept.append(chunk)
        return chunk


def _attempt() -> Attempt | None:
    """Return the attempt whose stream begins."""
    state = CURRENT.get()
    return state.served_by if state is not None else None


def _ignore(_attempt: Attempt) -> None:
    """Ignore an error that the provider reported."""


def watch_chunks(stream: Any) -> None:
    """Read a chat stream of the current attempt.

    Args:
        stream: LiteLLM's; one that keeps no chunks is not read.
    """
    attempt = _attempt()
    chunks = stream.kept if isinstance(stream, KeptStream) else getattr(stream, "chunks", None)
    if attempt is not None and isinstance(chunks, list):
        attempt.stream = ChunkReader(chunks)


def watch_events(stream: Any, surface: str, faults: FaultReporter, on_error: OnError = _ignore) -> Any:
    """Return the stream of events to use from then on.

    Args:
        stream: LiteLLM's stream of the current attempt.
        surface: ``messages`` or ``responses``.
        faults: counts errors of the plugin, after which the stream is passed on unread.
        on_error: called when the provider reports an error in the stream, of which LiteLLM may have no log event.
    """
    attempt = _attempt()
    if attempt is None or not hasattr(stream, "__aiter__"):
        return stream
    reader = EventReader(surface)
    attempt.stream = reader
    return WatchedStream(stream, reader, faults, partial(on_error, attempt))


def watch_stream(
    stream: Any, surface: str, faults: FaultReporter, on_error: OnError = _ignore, *, synchronous: bool = False
) -> Any:
    """Return the stream to use from then on, of any surface."""
    if surface not in CHUNKED:
        return watch_events(stream, surface, faults, on_error)
    if (synchronous or surface != "chat") and _attempt() is not None:
        stream = KeptStream(stream, synchronous=synchronous)
    watch_chunks(stream)
    return stream


def seen_calls(details: Mapping[str, Any]) -> AnswerCalls | None:
    """Return the calls that left for the client in a stream; None where none was seen.

    Args:
        details: LiteLLM's ``model_call_details``.
    """
    attempt = attempt_in(details)
    return attempt.stream.answer() if attempt is not None and attempt.stream is not None else None


def attempt_in(details: Mapping[str, Any]) -> Attempt | None:
    """Return the recorded attempt that LiteLLM's details are about; None if unknown."""
    if (attempt := details.get(ATTEMPT_KEY)) is not None:
        return cast("Attempt", attempt)
    state = details.get(LOG_KEY)
    called_id = litellm_id({"model_info": model_info_of(details)})
    return state.newest_attempt(called_id) if isinstance(state, RequestState) else None


def native_reasons(details: Mapping[str, Any], response: Any) -> Iterator[str]:
    """Yield the finish reasons of an answer in its provider's words.

    Args:
        details: LiteLLM's ``model_call_details``.
        response: the answer.
    """
    attempt = attempt_in(details)
    if attempt is not None and attempt.stream is not None:
        yield from attempt.finish_reasons
    for choice in get_attribute(response, "choices") or ():
        native = get_field(get_field(choice, "provider_specific_fields"), "native_finish_reason")
        if isinstance(native, str):
            yield native

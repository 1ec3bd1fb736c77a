"""How simulated providers fail: by status, by silence, by breaking off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.provider_questions import (
    MESSAGES,
    NAMES,
    TOOLS,
    ask_calls,
    ask_chunks,
    ask_whole,
    both_ways,
    read_into,
    streamed_calls,
    verdict,
)

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders


@both_ways
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (402, openai.APIStatusError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_status_is_what_the_client_gets(
    providers: SimulatedProviders, client: openai.OpenAI, status: int, error: type[openai.APIStatusError], stream: bool
) -> None:
    """Failures come with the status, OpenAI's error shape, and Retry-After where it belongs."""
    providers.control.behave("p", next=[status], retry_after_s=3)
    with pytest.raises(error) as caught:
        ask_calls(client, stream=stream)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == status
    assert caught.value.response.headers.get("retry-after") == ("3" if status == 429 else None)
    assert ask_calls(client, stream=stream)[1] == "tool_calls"
    assert providers.control.acts("p") == {str(status): 1, "valid": 1}


@both_ways
def test_a_hanging_provider_sends_nothing(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """The client's own timeout ends the wait, and the provider serves the next request."""
    providers.control.behave("p", next=["hang"])
    with pytest.raises(openai.APITimeoutError):
        ask_calls(client, stream=stream, timeout=1)
    assert ask_calls(client, stream=stream)[1] == "tool_calls"


def test_a_stalled_stream_falls_silent_in_the_middle(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Some deltas arrive, then nothing, until the client gives up."""
    providers.control.behave("p", next=["stall"])
    stream = client.chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS, stream=True, timeout=1)
    chunks: list[Any] = []
    with pytest.raises((httpx.ReadTimeout, openai.APITimeoutError)):  # the client of openai 2 and of 3
        read_into(chunks, stream)
    assert verdict(*streamed_calls(chunks)[0][1:]) is Act.INVALID_JSON


def test_a_dropped_stream_breaks_in_the_middle_of_the_arguments(
    providers: SimulatedProviders, client: openai.OpenAI
) -> None:
    """The name and a part of the arguments arrive, and the connection breaks."""
    providers.control.behave("p", next=["drop"])
    chunks: list[Any] = []
    stream = client.chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS, stream=True)
    with pytest.raises((httpx.RemoteProtocolError, openai.APIConnectionError)):
        read_into(chunks, stream)
    (_, name, arguments), *_ = streamed_calls(chunks)
    assert name in NAMES
    assert verdict(name, arguments) is Act.INVALID_JSON
    assert arguments


def test_a_dropped_whole_answer_breaks(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Half of the body arrives, and the connection breaks."""
    providers.control.behave("p", next=["drop"])
    with pytest.raises(openai.APIConnectionError):
        ask_whole(client)


def test_an_error_can_be_the_first_event(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """The status is 200 and the stream begins with an error; a whole answer is a 500."""
    providers.control.behave("p", next=["error_first", "error_first"])
    with pytest.raises(openai.APIError, match="before the first chunk") as caught:
        ask_chunks(client)
    assert not isinstance(caught.value, openai.APIStatusError)
    with pytest.raises(openai.InternalServerError):
        ask_whole(client)


def test_a_stream_can_stop_after_the_name(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """The stream ends in good order with a name, no arguments and no finish reason."""
    providers.control.behave("p", next=["stop_after_name"])
    calls, finish, _ = ask_calls(client, stream=True)
    assert [(name in NAMES, arguments) for _, name, arguments in calls] == [(True, "")]
    assert finish is None

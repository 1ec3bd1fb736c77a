"""What simulated providers say: calls good and bad, text, usage."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import openai
import pytest

from exacto_plugin.demo.behaviour import BAD_CALLS, Act
from tests.support.provider_questions import (
    NAMES,
    ask_calls,
    ask_chunks,
    ask_whole,
    both_ways,
    verdict,
)

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders


@both_ways
@pytest.mark.parametrize("act", [Act.VALID, *BAD_CALLS])
def test_a_call_is_what_was_asked_for(
    providers: SimulatedProviders, client: openai.OpenAI, act: Act, stream: bool
) -> None:
    """Valid calls are valid, and each kind of bad call is bad in its own way, whole and streamed."""
    providers.control.behave("p", always=act)
    for _ in range(10):
        calls, finish, _ = ask_calls(client, stream=stream)
        assert [verdict(name, arguments) for _, name, arguments in calls] == [act]
        assert finish == "tool_calls"
    assert providers.control.acts("p") == {act.value: 10}


@both_ways
def test_markup_leaks_into_the_text(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """A leaked call is text that ends with stop, with the call's name and arguments somewhere in it."""
    providers.control.behave("p", always=Act.LEAKED_MARKUP)
    calls, finish, text = ask_calls(client, stream=stream)
    assert (calls, finish) == ([], "stop")
    assert any(name in text for name in NAMES)
    assert '"city"' in text


@both_ways
def test_a_call_can_be_missing(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """The finish reason promises calls, and there are none."""
    providers.control.behave("p", always=Act.MISSING_CALL)
    assert ask_calls(client, stream=stream) == ([], "tool_calls", "")


@both_ways
def test_ids_can_be_duplicates(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """Two good calls share one id."""
    providers.control.behave("p", always=Act.DUPLICATE_IDS)
    calls, _, _ = ask_calls(client, stream=stream)
    assert len(calls) == 2
    assert calls[0][0] == calls[1][0]
    assert all(verdict(name, arguments) is Act.VALID for _, name, arguments in calls)


@both_ways
def test_arguments_can_be_empty(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """An empty text instead of an object."""
    providers.control.behave("p", always=Act.EMPTY_ARGUMENTS)
    calls, finish, _ = ask_calls(client, stream=stream)
    assert ([arguments for _, _, arguments in calls], finish) == ([""], "tool_calls")


@both_ways
def test_an_answer_can_be_truncated(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """The token limit cuts the arguments, and the finish reason says so."""
    providers.control.behave("p", always=Act.TRUNCATED)
    calls, finish, _ = ask_calls(client, stream=stream)
    assert finish == "length"
    assert [verdict(name, arguments) for _, name, arguments in calls] == [Act.INVALID_JSON]


@both_ways
def test_several_calls_in_one_answer(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """An answer may hold several calls with ids of their own; one of them is bad when the answer is."""
    providers.control.behave("p", calls=3, next=["valid", "schema_mismatch"])
    calls, _, _ = ask_calls(client, stream=stream)
    assert len({identity for identity, _, _ in calls}) == 3
    calls, _, _ = ask_calls(client, stream=stream)
    assert Counter(verdict(name, arguments) for _, name, arguments in calls) == {
        Act.VALID: 2,
        Act.SCHEMA_MISMATCH: 1,
    }


@both_ways
def test_text_is_the_answer_without_tools(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """No tools, or tools that may not be used, mean text, even from a provider that breaks calls."""
    providers.control.behave("p", always=Act.INVALID_JSON)
    for more in ({"tools": openai.NOT_GIVEN}, {"tool_choice": "none"}):
        calls, finish, text = ask_calls(client, stream=stream, **more)
        assert (calls, finish) == ([], "stop")
        assert text.endswith(".")


@both_ways
def test_a_forced_tool_is_the_one_called(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """A named tool is called, and a required call is made by a provider that rarely calls."""
    providers.control.behave("p", propensity=0.0)
    named = {"type": "function", "function": {"name": "get_tides"}}
    for _ in range(5):
        assert [name for _, name, _ in ask_calls(client, stream=stream, tool_choice=named)[0]] == ["get_tides"]
    assert len(ask_calls(client, stream=stream, tool_choice="required")[0]) == 1
    assert ask_calls(client, stream=stream, tool_choice="auto")[0] == []


def test_a_stream_has_the_chunks_of_a_real_one(client: openai.OpenAI) -> None:
    """Role, name, several argument deltas, finish, and the usage only when it was asked for."""
    chunks = ask_chunks(client, stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[1].choices[0].delta.tool_calls[0].function.name in NAMES
    assert chunks[1].choices[0].delta.tool_calls[0].function.arguments == ""
    assert all(chunk.choices[0].delta.tool_calls[0].function.name is None for chunk in chunks[2:-2])
    assert len(chunks) > 5
    assert chunks[-2].choices[0].finish_reason == "tool_calls"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
    assert all(chunk.usage is None for chunk in ask_chunks(client))


def test_usage_can_be_set(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Token counts are estimated from the texts unless they are given."""
    assert ask_whole(client).usage.prompt_tokens > 50
    providers.control.behave("p", prompt_tokens=7, completion_tokens=1234)
    usage = ask_whole(client).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 1234, 1241)

"""The other APIs of simulated providers, asked by the real clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from exacto_plugin.demo.behaviour import BAD_CALLS, Act
from tests.support.provider_questions import (
    ANTHROPIC_TOOLS,
    MESSAGES,
    RESPONSES_TOOLS,
    both_ways,
    verdict,
)

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders


def test_text_completions(client: openai.OpenAI) -> None:
    """The legacy surface answers with text, whole and streamed."""
    whole = client.completions.create(model="m", prompt="Once")
    assert whole.choices[0].text
    chunks = list(client.completions.create(model="m", prompt="Once", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_embeddings(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Numbers and base64 mean the same length, one vector for each input; failures as everywhere."""
    for encoding in ("float", "base64"):
        answer = client.embeddings.create(model="m", input=["a", "b"], dimensions=5, encoding_format=encoding)
        assert [row.index for row in answer.data] == [0, 1]
    assert [len(row.embedding) for row in client.embeddings.create(model="m", input="a", dimensions=5).data] == [5]
    providers.control.behave("p", next=[500])
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model="m", input="a")


@both_ways
@pytest.mark.parametrize("act", [Act.VALID, *BAD_CALLS, Act.TRUNCATED, Act.TEXT])
def test_responses(providers: SimulatedProviders, client: openai.OpenAI, act: Act, stream: bool) -> None:
    """The Responses API says the same things in its own words; the client accepts whole answers and all events."""
    providers.control.behave("p", always=act)
    if stream:
        deltas = ""
        with client.responses.stream(model="m", input="hi", tools=RESPONSES_TOOLS) as events:
            for event in events:
                if event.type == "response.function_call_arguments.delta":
                    deltas += event.delta
                if event.type in ("response.completed", "response.incomplete"):
                    answer: Any = event.response
        calls = [item for item in answer.output if item.type == "function_call"]
        assert deltas == "".join(call.arguments for call in calls)
    else:
        answer = client.responses.create(model="m", input="hi", tools=RESPONSES_TOOLS)
        calls = [item for item in answer.output if item.type == "function_call"]
    assert answer.status == ("incomplete" if act is Act.TRUNCATED else "completed")
    assert answer.usage.output_tokens > 0
    if act is Act.TEXT:
        assert (calls, answer.output_text.endswith(".")) == ([], True)
    else:
        expected = Act.INVALID_JSON if act is Act.TRUNCATED else act
        assert [verdict(call.name, call.arguments) for call in calls] == [expected]


@both_ways
@pytest.mark.parametrize("act", [Act.VALID, Act.UNKNOWN_NAME, Act.SCHEMA_MISMATCH, Act.TEXT, Act.TRUNCATED])
def test_messages(providers: SimulatedProviders, act: Act, stream: bool) -> None:
    """The Messages API says the same things in its own words."""
    providers.control.behave("p", always=act)
    with anthropic.Anthropic(api_key="sk-p", base_url=f"{providers.base_url}/p/p", max_retries=0) as client:
        wanted: Any = {"model": "m", "max_tokens": 99, "messages": MESSAGES, "tools": ANTHROPIC_TOOLS}
        if stream:
            with client.messages.stream(**wanted) as events:
                answer = events.get_final_message()
        else:
            answer = client.messages.create(**wanted)
    calls = [block for block in answer.content if block.type == "tool_use"]
    reason = {Act.TEXT: "end_turn", Act.TRUNCATED: "max_tokens"}.get(act, "tool_use")
    assert (answer.stop_reason, answer.usage.output_tokens > 0) == (reason, True)
    if act is Act.TEXT:
        assert calls == []
    elif act is not Act.TRUNCATED:
        assert [verdict(call.name, json.dumps(call.input)) for call in calls] == [act]


def test_messages_fail_in_their_own_words(providers: SimulatedProviders) -> None:
    """Errors of the Messages API have Anthropic's shape, also before the first event of a stream."""
    with anthropic.Anthropic(api_key="sk-p", base_url=f"{providers.base_url}/p/p", max_retries=0) as client:
        wanted: Any = {"model": "m", "max_tokens": 99, "messages": MESSAGES}
        providers.control.behave("p", next=[429, "error_first"])
        with pytest.raises(anthropic.RateLimitError) as limited:
            client.messages.create(**wanted)
        assert isinstance(limited.value.body, dict)
        assert limited.value.body["error"]["type"] == "rate_limit_error"
        with pytest.raises(anthropic.APIStatusError, match="before the first chunk"):
            list(client.messages.create(**wanted, stream=True))

"""Simulated providers over real HTTP, asked by the real clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import pytest
from jsonschema import Draft7Validator

from exacto_plugin.demo.behaviour import BAD_CALLS, Act, Behaviour
from exacto_plugin.demo.k2vv import table
from exacto_plugin.demo.provider import SimulatedProviders

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "get_tides", "description": "Tides", "parameters": PARAMETERS}},
]
RESPONSES_TOOLS: list[Any] = [{"type": "function", **tool["function"]} for tool in TOOLS]
ANTHROPIC_TOOLS: list[Any] = [{"name": tool["function"]["name"], "input_schema": PARAMETERS} for tool in TOOLS]
NAMES = {"get_weather", "get_tides"}
MESSAGES: list[Any] = [{"role": "user", "content": "What is the weather in Lisbon?"}]


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedProviders]:
    """One server for all tests of this module; each test puts it back to the beginning."""
    with SimulatedProviders({"bad": Behaviour(error_rate=1.0)}) as running:
        yield running


@pytest.fixture(autouse=True)
def providers(server: SimulatedProviders) -> SimulatedProviders:
    """The server as it began."""
    server.control.reset()
    return server


@pytest.fixture(scope="module")
def client(server: SimulatedProviders) -> Iterator[openai.OpenAI]:
    """An OpenAI client of the provider ``p`` that does not retry."""
    with openai.OpenAI(api_key="sk-p", base_url=server.api_base("p"), max_retries=0, timeout=10.0) as made:
        yield made


def _whole(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="m", messages=MESSAGES, **{"tools": TOOLS, **more})


def _chunks(client: openai.OpenAI, **more: Any) -> list[Any]:
    return list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **{"tools": TOOLS, **more}))


def _streamed_calls(chunks: list[Any]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls in a stream, put together as a client does it."""
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for delta in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            call = calls.setdefault(delta.index, ["", "", ""])
            call[0] += delta.id or ""
            call[1] += delta.function.name or ""
            call[2] += delta.function.arguments or ""
    return [(call[0], call[1], call[2]) for _, call in sorted(calls.items())]


def _read_into(chunks: list[Any], stream: Any) -> None:
    """Read a stream to its end or fault, keeping what came before it."""
    for chunk in stream:
        chunks.append(chunk)  # noqa: PERF402 -- extend() would lose what came before the fault


def _calls(client: openai.OpenAI, *, stream: bool, **more: Any) -> tuple[list[tuple[str, str, str]], str | None, str]:
    """The calls, the finish reason and the text of one answer, whole or streamed."""
    if stream:
        chunks = _chunks(client, **more)
        finish = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        return _streamed_calls(chunks), finish[-1] if finish else None, text
    choice = _whole(client, **more).choices[0]
    found = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
    return found, choice.finish_reason, choice.message.content or ""


def _verdict(name: str, arguments: str) -> Act:
    """An independent reading of one call."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return Act.INVALID_JSON
    if name not in NAMES:
        return Act.UNKNOWN_NAME
    return Act.VALID if Draft7Validator(PARAMETERS).is_valid(value) else Act.SCHEMA_MISMATCH


both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@both_ways
@pytest.mark.parametrize("act", [Act.VALID, *BAD_CALLS])
def test_a_call_is_what_was_asked_for(
    providers: SimulatedProviders, client: openai.OpenAI, act: Act, stream: bool
) -> None:
    """Valid calls are valid, and each kind of bad call is bad in its own way, whole and streamed."""
    providers.control.behave("p", always=act)
    for _ in range(10):
        calls, finish, _ = _calls(client, stream=stream)
        assert [_verdict(name, arguments) for _, name, arguments in calls] == [act]
        assert finish == "tool_calls"
    assert providers.control.acts("p") == {act.value: 10}


@both_ways
def test_markup_leaks_into_the_text(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """A leaked call is text that ends with stop, with the call's name and arguments somewhere in it."""
    providers.control.behave("p", always=Act.LEAKED_MARKUP)
    calls, finish, text = _calls(client, stream=stream)
    assert (calls, finish) == ([], "stop")
    assert any(name in text for name in NAMES)
    assert '"city"' in text


@both_ways
def test_a_call_can_be_missing(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """The finish reason promises calls, and there are none."""
    providers.control.behave("p", always=Act.MISSING_CALL)
    assert _calls(client, stream=stream) == ([], "tool_calls", "")


@both_ways
def test_ids_can_be_duplicates(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """Two good calls share one id."""
    providers.control.behave("p", always=Act.DUPLICATE_IDS)
    calls, _, _ = _calls(client, stream=stream)
    assert len(calls) == 2
    assert calls[0][0] == calls[1][0]
    assert all(_verdict(name, arguments) is Act.VALID for _, name, arguments in calls)


@both_ways
def test_arguments_can_be_empty(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """An empty text instead of an object."""
    providers.control.behave("p", always=Act.EMPTY_ARGUMENTS)
    calls, finish, _ = _calls(client, stream=stream)
    assert ([arguments for _, _, arguments in calls], finish) == ([""], "tool_calls")


@both_ways
def test_an_answer_can_be_truncated(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """The token limit cuts the arguments, and the finish reason says so."""
    providers.control.behave("p", always=Act.TRUNCATED)
    calls, finish, _ = _calls(client, stream=stream)
    assert finish == "length"
    assert [_verdict(name, arguments) for _, name, arguments in calls] == [Act.INVALID_JSON]


@both_ways
def test_several_calls_in_one_answer(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """An answer may hold several calls with ids of their own; one of them is bad when the answer is."""
    providers.control.behave("p", calls=3, next=["valid", "schema_mismatch"])
    calls, _, _ = _calls(client, stream=stream)
    assert len({identity for identity, _, _ in calls}) == 3
    calls, _, _ = _calls(client, stream=stream)
    assert Counter(_verdict(name, arguments) for _, name, arguments in calls) == {
        Act.VALID: 2,
        Act.SCHEMA_MISMATCH: 1,
    }


@both_ways
def test_text_is_the_answer_without_tools(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """No tools, or tools that may not be used, mean text, even from a provider that breaks calls."""
    providers.control.behave("p", always=Act.INVALID_JSON)
    for more in ({"tools": openai.NOT_GIVEN}, {"tool_choice": "none"}):
        calls, finish, text = _calls(client, stream=stream, **more)
        assert (calls, finish) == ([], "stop")
        assert text.endswith(".")


@both_ways
def test_a_forced_tool_is_the_one_called(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """A named tool is called, and a required call is made by a provider that rarely calls."""
    providers.control.behave("p", propensity=0.0)
    named = {"type": "function", "function": {"name": "get_tides"}}
    for _ in range(5):
        assert [name for _, name, _ in _calls(client, stream=stream, tool_choice=named)[0]] == ["get_tides"]
    assert len(_calls(client, stream=stream, tool_choice="required")[0]) == 1
    assert _calls(client, stream=stream, tool_choice="auto")[0] == []


def test_a_stream_has_the_chunks_of_a_real_one(client: openai.OpenAI) -> None:
    """Role, name, several argument deltas, finish, and the usage only when it was asked for."""
    chunks = _chunks(client, stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[1].choices[0].delta.tool_calls[0].function.name in NAMES
    assert chunks[1].choices[0].delta.tool_calls[0].function.arguments == ""
    assert all(chunk.choices[0].delta.tool_calls[0].function.name is None for chunk in chunks[2:-2])
    assert len(chunks) > 5
    assert chunks[-2].choices[0].finish_reason == "tool_calls"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
    assert all(chunk.usage is None for chunk in _chunks(client))


def test_usage_can_be_set(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Token counts are estimated from the texts unless they are given."""
    assert _whole(client).usage.prompt_tokens > 50
    providers.control.behave("p", prompt_tokens=7, completion_tokens=1234)
    usage = _whole(client).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 1234, 1241)


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
        _calls(client, stream=stream)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == status
    assert caught.value.response.headers.get("retry-after") == ("3" if status == 429 else None)
    assert _calls(client, stream=stream)[1] == "tool_calls"
    assert providers.control.acts("p") == {str(status): 1, "valid": 1}


@both_ways
def test_a_hanging_provider_sends_nothing(providers: SimulatedProviders, client: openai.OpenAI, stream: bool) -> None:
    """The client's own timeout ends the wait, and the provider serves the next request."""
    providers.control.behave("p", next=["hang"])
    with pytest.raises(openai.APITimeoutError):
        _calls(client, stream=stream, timeout=0.2)
    assert _calls(client, stream=stream)[1] == "tool_calls"


def test_a_stalled_stream_falls_silent_in_the_middle(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Some deltas arrive, then nothing, until the client gives up."""
    providers.control.behave("p", next=["stall"])
    stream = client.chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS, stream=True, timeout=0.3)
    chunks: list[Any] = []
    with pytest.raises(httpx.ReadTimeout):
        _read_into(chunks, stream)
    assert _verdict(*_streamed_calls(chunks)[0][1:]) is Act.INVALID_JSON


def test_a_dropped_stream_breaks_in_the_middle_of_the_arguments(
    providers: SimulatedProviders, client: openai.OpenAI
) -> None:
    """The name and a part of the arguments arrive, and the connection breaks."""
    providers.control.behave("p", next=["drop"])
    chunks: list[Any] = []
    stream = client.chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS, stream=True)
    with pytest.raises(httpx.RemoteProtocolError):
        _read_into(chunks, stream)
    (_, name, arguments), *_ = _streamed_calls(chunks)
    assert name in NAMES
    assert _verdict(name, arguments) is Act.INVALID_JSON
    assert arguments


def test_a_dropped_whole_answer_breaks(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Half of the body arrives, and the connection breaks."""
    providers.control.behave("p", next=["drop"])
    with pytest.raises(openai.APIConnectionError):
        _whole(client)


def test_an_error_can_be_the_first_event(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """The status is 200 and the stream begins with an error; a whole answer is a 500."""
    providers.control.behave("p", next=["error_first", "error_first"])
    with pytest.raises(openai.APIError, match="before the first chunk") as caught:
        _chunks(client)
    assert not isinstance(caught.value, openai.APIStatusError)
    with pytest.raises(openai.InternalServerError):
        _whole(client)


def test_a_stream_can_stop_after_the_name(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """The stream ends in good order with a name, no arguments and no finish reason."""
    providers.control.behave("p", next=["stop_after_name"])
    calls, finish, _ = _calls(client, stream=True)
    assert [(name in NAMES, arguments) for _, name, arguments in calls] == [(True, "")]
    assert finish is None


def test_rates_are_met(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Error rate, kinds and propensity come out as they were set; what was served is counted as it was served."""
    providers.control.behave("p", error_rate=0.5, error_mix={"unknown_name": 3, "invalid_json": 1}, propensity=0.5)
    found: Counter[Act] = Counter()
    for _ in range(200):
        calls, _, _ = _calls(client, stream=False)
        found[_verdict(*calls[0][1:]) if calls else Act.TEXT] += 1
    assert {act.value: count for act, count in found.items()} == providers.control.acts("p")
    assert 75 <= found[Act.TEXT] <= 125
    assert 25 <= found[Act.UNKNOWN_NAME] + found[Act.INVALID_JSON] <= 75
    assert found[Act.UNKNOWN_NAME] > found[Act.INVALID_JSON] > 0
    assert found[Act.SCHEMA_MISMATCH] == 0


def test_failures_have_a_rate_too(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """A share of the requests fails with the status that was set."""
    providers.control.behave("p", failure_rate=0.3, failure_status=503)
    outcomes: Counter[int] = Counter()
    for _ in range(100):
        try:
            _whole(client)
            outcomes[200] += 1
        except openai.InternalServerError as error:
            outcomes[error.status_code] += 1
    assert outcomes[200] + outcomes[503] == 100
    assert 15 <= outcomes[503] <= 45


def test_the_same_traffic_gets_the_same_answers(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Everything that is drawn follows from the seed, the name and the number of the request."""

    def run(seed: int) -> list[tuple[str, str]]:
        providers.control.reset("p")
        providers.control.behave("p", seed=seed, error_rate=0.5)
        return [_calls(client, stream=False)[0][0][1:] for _ in range(20)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_script_is_played_once_and_in_order(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Each request takes one entry; then the other rules hold again."""
    providers.control.behave("p", always="text", next=["valid", "invalid_json"])
    kinds = []
    for _ in range(4):
        calls, _, _ = _calls(client, stream=False)
        kinds.append(_verdict(*calls[0][1:]) if calls else Act.TEXT)
    assert kinds == [Act.VALID, Act.INVALID_JSON, Act.TEXT, Act.TEXT]
    assert providers.control.state("p")["script_left"] == 0


def test_a_change_keeps_what_it_does_not_name(providers: SimulatedProviders) -> None:
    """POST changes the named fields, PUT replaces everything, reset brings back the beginning."""
    control = providers.control
    control.behave("bad", latency_s=0.5)
    behaviour = control.state("bad")["behaviour"]
    assert (behaviour["error_rate"], behaviour["latency_s"]) == (1.0, 0.5)
    control.replace("bad", Behaviour(propensity=0.25))
    behaviour = control.state("bad")["behaviour"]
    assert (behaviour["error_rate"], behaviour["propensity"]) == (0.0, 0.25)
    control.reset("bad")
    assert control.state("bad")["behaviour"]["error_rate"] == 1.0


@pytest.mark.parametrize("fields", [{"error_rat": 1}, {"error_rate": 2}, {"next": ["explode"]}, {"always": 200}])
def test_a_malformed_behaviour_is_refused(providers: SimulatedProviders, fields: dict[str, Any]) -> None:
    """A typing error in a test is told, and changes nothing."""
    before = providers.control.state("p")
    with pytest.raises(ValueError, match=next(iter(fields))):
        providers.control.behave("p", **fields)
    assert providers.control.state("p") == before


def test_what_was_asked_can_be_read(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Path, headers and body of the latest requests are kept, word for word and bounded."""
    _whole(client, extra_body={"provider": {"sort": "price"}}, extra_headers={"x-test": "yes"})
    (seen,) = providers.control.seen("p")
    assert seen["path"] == "/p/p/v1/chat/completions"
    assert seen["headers"]["x-test"] == "yes"
    assert seen["headers"]["authorization"] == "Bearer sk-p"
    assert seen["body"]["provider"] == {"sort": "price"}
    assert seen["body"]["tools"] == TOOLS
    assert providers.control.seen("other") == []
    providers.control.forget_seen("p")
    assert (providers.control.seen("p"), providers.control.requests("p")) == ([], 1)
    for _ in range(220):
        _whole(client)
    assert len(providers.control.seen("p")) == 200


@both_ways
def test_an_answer_is_not_faster_than_its_speed(
    providers: SimulatedProviders, client: openai.OpenAI, stream: bool
) -> None:
    """An answer of 20 tokens at 200 tokens/s that waits 50 ms for its first byte cannot be there before 150 ms."""
    providers.control.behave("p", latency_s=0.05, tokens_per_s=200.0, content="x" * 80)
    answer = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, stream=stream)
    if stream:
        list(answer.parse())
    assert answer.http_response.elapsed.total_seconds() >= 0.15


def test_a_broken_body_is_a_400(providers: SimulatedProviders) -> None:
    """What is no JSON object is refused as a provider would."""
    for content in (b"{", b"[]"):
        answer = httpx.post(f"{providers.api_base('p')}/chat/completions", content=content, trust_env=False)
        assert answer.status_code == 400


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
        assert [_verdict(call.name, call.arguments) for call in calls] == [expected]


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
        assert [_verdict(call.name, json.dumps(call.input)) for call in calls] == [act]


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


def test_it_runs_as_a_process_of_its_own() -> None:
    """The first line on stdout is the base URL, and the process ends when it is told to."""
    command = [sys.executable, "-m", "exacto_plugin.demo.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        try:
            with openai.OpenAI(api_key="sk", base_url=f"{base_url}/p/x/v1") as client:
                assert _whole(client).choices[0].finish_reason == "tool_calls"
        finally:
            process.terminate()
        assert process.wait(timeout=10) in (0, -15)


def test_measured_error_rates() -> None:
    """The newest published table: sixteen providers, seven without a bad call, the worst at 28 %."""
    rows = {row.slug: row for row in table()}
    assert len(rows) == 16
    assert sum(row.error_rate == 0 for row in rows.values()) == 7
    assert max(row.error_rate for row in rows.values()) == pytest.approx(0.2804, abs=1e-4)
    assert rows["moonshot-ai-turbo"].behaviour(seed=3) == Behaviour(seed=3)
    assert rows["vllm"].behaviour().error_rate == pytest.approx(318 / 1325)
    assert rows["groq"].propensity == pytest.approx(0.261, abs=1e-3)

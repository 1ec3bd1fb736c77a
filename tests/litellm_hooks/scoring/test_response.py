"""Reading LiteLLM's events: which calls an answer carries, and what must not be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from litellm import ModelResponse, Usage
from litellm.litellm_core_utils.redact_messages import REDACTED_BY_LITELLM
from litellm.types.llms.openai import ResponsesAPIResponse

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.scoring.answers.calls import AnswerCalls
from exacto_plugin.core.scoring.attribution import Ending
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.scoring.response import (
    REDACTED,
    ParsedResponse,
    is_health_check,
    parse_response,
    texts_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CALL = ToolCall("f", '{"a": 1}')


def chat(*calls: ToolCall, finish: str = "tool_calls", content: str | None = None) -> ModelResponse:
    """A chat completion as LiteLLM logs it."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{place}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for place, call in enumerate(calls)
        ]
    return ModelResponse(choices=[{"index": 0, "message": message, "finish_reason": finish}])


def responses(*calls: ToolCall, status: str = "completed", plain: bool = False) -> Any:
    """An answer in the form of the Responses API."""
    output = [
        {"type": "function_call", "id": "i", "call_id": "c", "name": call.name, "arguments": call.arguments}
        for call in calls
    ]
    if plain:  # dictionaries inside, as LiteLLM leaves items that it does not know
        made = ResponsesAPIResponse.model_construct(id="r", created_at=1, output=output, status=status)
    else:
        made = ResponsesAPIResponse(id="r", created_at=1, output=output, status=status)  # type: ignore[arg-type]
    return made


def test_the_sentinel_is_litellms() -> None:
    """What marks redacted arguments is what LiteLLM writes."""
    assert REDACTED == REDACTED_BY_LITELLM


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (chat(CALL), ParsedResponse((CALL,), ending=Ending.CALLS)),
        (chat(CALL, ToolCall("g", "")), ParsedResponse((CALL, ToolCall("g", "")), ending=Ending.CALLS)),
        (chat(finish="stop", content="hello"), ParsedResponse()),
        (chat(finish="tool_calls"), ParsedResponse(ending=Ending.CALLS)),
        (chat(CALL, finish="length"), ParsedResponse((CALL,), "cut_short", Ending.LENGTH)),
        (chat(CALL, finish="content_filter"), ParsedResponse((CALL,), "cut_short", Ending.FILTER)),
        (
            chat(CALL, ToolCall("g", REDACTED)),
            ParsedResponse((CALL, ToolCall("g", REDACTED)), "redacted", Ending.CALLS),
        ),
        (responses(CALL), ParsedResponse((CALL,))),
        (responses(CALL, plain=True), ParsedResponse((CALL,))),
        (responses(CALL, status="incomplete"), ParsedResponse((CALL,), "cut_short", Ending.LENGTH)),
        (responses(status="failed"), ParsedResponse(skip_reason="cut_short")),
        (responses(), ParsedResponse()),
        (None, ParsedResponse()),
        ("text", ParsedResponse()),
        ({"choices": "none of ours"}, ParsedResponse()),
    ],
    ids=lambda value: (value.skip_reason or "judged") if isinstance(value, ParsedResponse) else type(value).__name__,
)
def test_answers(response: Any, answer: ParsedResponse) -> None:
    """Chat and Responses forms give the same calls, and say when they may not be judged."""
    assert parse_response({}, response) == answer


def test_the_older_form_is_a_call() -> None:
    """``function_call`` of OpenAI's first form is a call like any other."""
    message = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}}
    response = ModelResponse(choices=[{"index": 0, "message": message, "finish_reason": "function_call"}])
    assert parse_response({}, response) == ParsedResponse((CALL,), ending=Ending.CALLS)


ANTHROPIC = {
    "type": "message",
    "content": [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "tool_use",
}
PLAIN = ToolCall("f", {"a": 1})


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (ANTHROPIC, ParsedResponse((PLAIN,), ending=Ending.CALLS)),
        ({**ANTHROPIC, "stop_reason": "max_tokens"}, ParsedResponse((PLAIN,), "cut_short", Ending.LENGTH)),
        ({**ANTHROPIC, "content": [], "stop_reason": "refusal"}, ParsedResponse(ending=Ending.REFUSAL)),
        ({**ANTHROPIC, "content": []}, ParsedResponse(ending=Ending.CALLS)),
        ({**ANTHROPIC, "content": [*ANTHROPIC["content"]] * 2}, ParsedResponse((PLAIN,) * 2, "", Ending.CALLS, True)),
    ],
)
def test_answers_in_anthropics_form(response: Any, answer: ParsedResponse) -> None:
    """Before LiteLLM rebuilds them for its log, they are dictionaries with blocks."""
    assert parse_response({}, response) == answer


def test_calls_that_share_an_id_are_told() -> None:
    """In chat and in Responses, within one choice; calls of several choices may number from the start."""
    twice: Any = chat(CALL, CALL)
    assert not parse_response({}, twice).duplicate_ids
    for call in twice.choices[0].message.tool_calls:
        call.id = "same"
    assert parse_response({}, twice).duplicate_ids
    assert parse_response({}, responses(CALL, CALL)).duplicate_ids
    apart = ModelResponse(choices=[chat(CALL).choices[0], chat(CALL).choices[0]])
    assert not parse_response({}, apart).duplicate_ids


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ([{"type": "web_search_call", "id": "w", "status": "completed"}], ParsedResponse(others=True)),
        ([{"type": "mcp_approval_request", "id": "m"}], ParsedResponse(others=True)),
        (
            [{"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "S"}],
            ParsedResponse((ToolCall("sql", "S"),)),
        ),
        (
            [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}],
            ParsedResponse(ending=Ending.REFUSAL),
        ),
    ],
)
def test_items_of_responses(output: Any, answer: ParsedResponse) -> None:
    """What the provider runs itself is no call to be judged; free-text calls and refusals are told apart."""
    made = ResponsesAPIResponse.model_construct(id="r", created_at=1, output=output, status="completed")
    assert parse_response({}, made) == answer


def test_what_is_said_beside_calls() -> None:
    """Text in every form; thoughts only where there is nothing else, since a rehearsed call is none that leaked."""
    said = [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]
    made = ResponsesAPIResponse.model_construct(output=[{"type": "reasoning", "content": [{"text": "Hm"}]}, *said])
    assert [*texts_of(made)] == ["Hi"]
    assert [*texts_of(ANTHROPIC)] == ["Let me see."]
    assert [*texts_of(chat(CALL, content="Hi"))] == ["Hi"]
    assert [*texts_of(None)] == []
    for content, calls, texts in (("", (), ["Hm"]), (" ", (), ["Hm"]), ("Hi", (), ["Hi"]), (None, (CALL,), [])):
        thinking: Any = chat(*calls, content=content)
        thinking.choices[0].message.reasoning_content = "Hm"
        assert [*texts_of(thinking)] == texts


@pytest.mark.parametrize(
    ("finish", "stream", "call_type", "skip"),
    [
        ("stop", True, "anthropic_messages", "cut_short"),
        ("stop", False, "anthropic_messages", ""),
        ("stop", True, "acompletion", ""),
        ("tool_calls", True, "anthropic_messages", ""),
    ],
)
def test_half_a_stream_of_messages(finish: str, stream: bool, call_type: str, skip: str) -> None:
    """A Messages stream that ended before its stop reason is not judged, and any other is."""
    half = ToolCall("f", '{"a')
    assert parse_response({"stream": stream, "call_type": call_type}, chat(half, finish=finish)).skip_reason == skip


def test_a_filter_is_told_from_a_length() -> None:
    """Responses name both as incomplete."""
    details: Any = {"reason": "content_filter"}
    made = ResponsesAPIResponse.model_construct(output=[], status="incomplete", incomplete_details=details)
    assert parse_response({}, made) == ParsedResponse((), "cut_short", Ending.FILTER)


def test_a_free_text_call_in_chat_is_a_call() -> None:
    """OpenAI's custom tools carry no function."""
    call = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    response = ModelResponse(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    assert parse_response({}, response) == ParsedResponse((ToolCall("sql", "SELECT 1"),), ending=Ending.CALLS)


@pytest.mark.parametrize(
    ("kwargs", "skip"),
    [
        ({"cache_hit": True}, "cache_hit"),
        ({"cache_hit": False}, ""),
        ({"litellm_params": {"metadata": {"client_disconnected": True}}}, "client_disconnect"),
        ({"litellm_params": {"metadata": {}, "litellm_metadata": {"client_disconnected": True}}}, "client_disconnect"),
        ({"litellm_params": {"metadata": None, "litellm_metadata": None}}, ""),
        ({"litellm_params": None}, ""),
        ({"litellm_params": {"litellm_metadata": {"tags": ["litellm-internal-health-check"]}}}, "health_check"),
        ({"litellm_params": {"metadata": {"tags": None}}}, ""),
        ({"litellm_params": {"metadata": {"tags": ["paid"]}}}, ""),
    ],
)
def test_what_must_not_be_judged(kwargs: Mapping[str, Any], skip: str) -> None:
    """Cache hits, clients that left and LiteLLM's own checks are told by the event, whatever the answer is."""
    assert parse_response(kwargs, chat(CALL)).skip_reason == skip


@pytest.mark.parametrize("name", ["metadata", "litellm_metadata"])
def test_health_checks_are_told_before_they_are_sent(name: str) -> None:
    """The call itself carries the mark at its top, the event in its parameters."""
    mark = {name: {"tags": ["litellm-internal-health-check"]}}
    assert is_health_check(mark)
    assert is_health_check({"litellm_params": mark})
    assert not is_health_check({})


LIMITED = {"optional_params": {"max_tokens": 16}, TOOLS_KEY: [{"type": "function", "function": {"name": "f"}}]}


@pytest.mark.parametrize(
    ("arguments", "tokens", "ending"),
    [
        ('{"a": 1', 16, Ending.LENGTH),
        ('{"a": 1', 20, Ending.LENGTH),
        ("", 16, Ending.LENGTH),
        ('{"a": 1', 15, Ending.CALLS),
        ('{"a": 1', 0, Ending.CALLS),
        ('{"a": 1}', 16, Ending.CALLS),
        ('{"a": 1}}', 16, Ending.CALLS),
        ("{'a': 1", 16, Ending.CALLS),
    ],
)
def test_the_callers_limit_cuts_a_call(arguments: str, tokens: int, ending: Ending) -> None:
    """Whatever the finish reason; below the limit, or where the arguments are wrong, the call is judged."""
    response = chat(ToolCall("f", arguments))
    response.usage = Usage(completion_tokens=tokens)  # type: ignore[attr-defined]
    assert parse_response(LIMITED, response).ending is ending
    assert parse_response({TOOLS_KEY: LIMITED[TOOLS_KEY]}, response).ending is Ending.CALLS


@pytest.mark.parametrize(("tokens", "ending"), [(13, Ending.LENGTH), (12, Ending.CALLS)])
def test_estimated_tokens_are_read_generously(tokens: int, ending: Ending) -> None:
    """LiteLLM counts the tokens of a stream without usage, with another tokenizer than the model's."""
    attempt = Attempt(Candidate(LiteLLMId("id"), DeploymentKey("key")), "g")
    cut = ToolCall("f", '{"a": 1')
    kwargs = {**LIMITED, LOG_KEY: RequestState(attempts=[attempt])}
    response = chat(cut)
    response.usage = Usage(completion_tokens=tokens)  # type: ignore[attr-defined]
    attempt.stream = Seen(AnswerCalls(((cut,),), reasons=frozenset({"tool_calls"}), estimated=True))
    assert parse_response(kwargs, response).ending is ending
    attempt.stream = Seen(AnswerCalls(((cut,),), reasons=frozenset({"tool_calls"}), output_tokens=tokens))
    assert parse_response(kwargs, response).ending is Ending.CALLS
    attempt.stream = Seen(AnswerCalls(((),), reasons=frozenset({"stop"}), estimated=True))
    said = chat(finish="stop", content="Hello")
    said.usage = response.usage  # type: ignore[attr-defined]
    assert parse_response(kwargs, said).ending is Ending.STOP


@pytest.mark.parametrize(("tokens", "ending"), [(16, Ending.LENGTH), (15, Ending.STOP)])
def test_an_answer_without_a_call_may_end_at_the_limit(tokens: int, ending: Ending) -> None:
    """A required call may then be missing for that reason."""
    response = chat(finish="stop", content="Well")
    response.usage = Usage(completion_tokens=tokens)  # type: ignore[attr-defined]
    assert parse_response(LIMITED, response).ending is ending


@pytest.mark.parametrize(
    ("native", "ending"),
    [
        ("model_length", Ending.LENGTH),
        ("MALFORMED_FUNCTION_CALL", Ending.CALLS),
        ("UNEXPECTED_TOOL_CALL", Ending.CALLS),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", Ending.CALLS),
        ("STOP", Ending.STOP),
        ("end_turn", Ending.STOP),
    ],
)
def test_the_providers_own_finish_reason_counts(native: str, ending: Ending) -> None:
    """LiteLLM reports unknown ones as an ordinary end."""
    fields = {"native_finish_reason": native}
    choice = {"message": {"content": None}, "finish_reason": "stop", "provider_specific_fields": fields}
    answer = parse_response({}, ModelResponse(choices=[{"index": 0, **choice}]))
    assert answer.ending is ending
    assert answer.lost is (ending is Ending.CALLS)


def test_calls_that_the_provider_runs_itself_are_no_calls() -> None:
    """They are told, and what is beside them is judged."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    calls = [
        {"id": identity, "type": "function", "function": {"name": name, "arguments": '{"a": 1}'}}
        for identity, name in (("srvtoolu_1", "web_search"), ("call_1", "f"), ("call_2", "web_search"))
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    response = ModelResponse(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    answer = parse_response({TOOLS_KEY: tools}, response)
    assert (answer.calls, answer.others) == ((CALL, ToolCall("web_search", '{"a": 1}')), True)
    assert [call.id for call in answer.calls] == ["call_1", "call_2"]
    searching = {TOOLS_KEY: tools, "optional_params": {"tools": [*tools, {"type": "web_search", "name": "web_search"}]}}
    assert parse_response(searching, response).calls == (CALL,)


def test_what_left_for_the_client_counts() -> None:
    """A stream's calls are those that were seen, not those that LiteLLM assembled."""
    attempt = Attempt(Candidate(LiteLLMId("id"), DeploymentKey("key")), "g")
    kwargs = {LOG_KEY: RequestState(attempts=[attempt]), "stream": True, "call_type": "anthropic_messages"}
    attempt.stream = Seen(AnswerCalls(((CALL,),), reasons=frozenset({"end_turn"})))
    assert parse_response(kwargs, chat(finish="stop")) == ParsedResponse((CALL,))
    attempt.stream = Seen(AnswerCalls(((CALL,),)))
    assert parse_response(kwargs, chat(finish="stop")).skip_reason == "cut_short"
    attempt.stream = Seen(AnswerCalls(((),)))
    assert parse_response(kwargs, chat(CALL, finish="stop")).skip_reason == "cut_short"
    assert parse_response(kwargs, chat(finish="stop")).skip_reason == ""
    assert parse_response(kwargs, chat(CALL)) == ParsedResponse(ending=Ending.CALLS)
    attempt.stream = Seen(None)
    assert parse_response(kwargs, chat(CALL)) == ParsedResponse((CALL,), ending=Ending.CALLS)
    attempt.stream = Seen(AnswerCalls(((),)))
    assert parse_response(kwargs, responses(CALL)).calls == (CALL,)


@pytest.mark.parametrize("begun", [(), (ToolCall("f", '{"a"'),), (CALL,)])
def test_a_log_event_may_precede_the_last_events(begun: tuple[ToolCall, ...]) -> None:
    """The rest is then known from LiteLLM's own assembly, unless that has fewer calls."""
    attempt = Attempt(Candidate(LiteLLMId("id"), DeploymentKey("key")), "g")
    kwargs = {LOG_KEY: RequestState(attempts=[attempt]), "stream": True}
    attempt.stream = Seen(AnswerCalls((begun,), complete=False))
    assert parse_response(kwargs, chat(CALL)) == ParsedResponse((CALL,), ending=Ending.CALLS)
    attempt.stream = Seen(AnswerCalls(((CALL, CALL),), complete=False))
    assert parse_response(kwargs, chat(CALL)).calls == (CALL, CALL)


class Seen:
    """A reader of a stream that has ended."""

    def __init__(self, answer: AnswerCalls | None) -> None:
        self._answer = answer

    def answer(self) -> AnswerCalls | None:
        """The calls."""
        return self._answer

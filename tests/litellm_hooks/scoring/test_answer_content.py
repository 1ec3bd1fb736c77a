"""Every surface's answers, whole and streamed: their flaws, and none in good answers, however odd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Blame, Candidate, DeploymentKey, Flaw, LiteLLMId
from exacto_plugin.core.scoring.attribution import Attribution
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.scoring.failures import is_error_in_answer
from exacto_plugin.litellm_hooks.scoring.response import parse_response
from exacto_plugin.litellm_hooks.scoring.seen_streams import ChunkReader, EventReader
from tests.support import odd_answers as odd
from tests.support.odd_answers import OddAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.core.scoring.answers.calls import StreamReader

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
SURFACES: dict[str, tuple[str, Callable[[OddAnswer], Any]]] = {
    "chat": ("acompletion", odd.chat),
    "text": ("atext_completion", odd.text),
    "responses": ("aresponses", odd.response),
    "messages": ("anthropic_messages", odd.message),
}
CALLBACK = ExactoCallback(Runtime(Settings.model_validate({})))
NOTHING = OddAnswer("", "")


def read(surface: str, answer: OddAnswer) -> StreamReader:
    """A reader that has read the whole stream of an answer."""
    if surface in ("chat", "text"):
        return ChunkReader(odd.chat_chunks(answer))
    reader = EventReader(surface)
    for event in odd.response_events(answer) if surface == "responses" else odd.message_events(answer):
        reader.feed(event)
    return reader


def attribution(surface: str, answer: OddAnswer, *, stream: bool, tools: bool = False, **more: Any) -> Attribution:
    """What is found in an answer, as its log event has it."""
    call_type, whole = SURFACES[surface]
    attempt = Attempt(Candidate(LiteLLMId("a"), DeploymentKey("a"), "p"), "group")
    if stream:
        attempt.stream = read(surface, answer)
    details = {**answer.details(call_type, stream=stream), LOG_KEY: RequestState(attempts=[attempt]), **more}
    details |= {TOOLS_KEY: TOOLS} if tools else {}
    assembled = odd.chat(answer) if stream and surface == "messages" else whole(answer)
    parsed = parse_response(details, assembled)
    return CALLBACK.scoring.evaluate(details, details.get(TOOLS_KEY) or (), parsed, assembled)[1]


def test_the_corpus_is_large() -> None:
    """At least 200 answers of all kinds."""
    answers = odd.odd_answers()
    assert len(answers) >= 200
    assert len({answer.kind for answer in answers}) >= 12


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
def test_good_answers_have_no_flaw(surface: str, stream: bool) -> None:
    """However odd, with tools or without; what a limit or a filter cut off has that flaw, and no provider's."""
    for answer in odd.odd_answers():
        if surface == "text" and (answer.calls or answer.refusal):
            continue
        for tools in (False, True) if surface != "text" else (False,):
            found = attribution(surface, answer, stream=stream, tools=tools)
            cut = answer.finish != "stop" or answer.refusal
            assert found == Attribution() or (cut and found.blame is Blame.LIMIT), (answer, found.flaws)


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
def test_broken_answers_are_found(surface: str, stream: bool, tools: bool) -> None:
    """The flaw is named, and the provider is to blame."""
    broken = [
        (NOTHING, Flaw.EMPTY),
        (OddAnswer("", " \n"), Flaw.EMPTY),
        (OddAnswer("", "\ufffd\ufffd\ufffd\ufffd"), Flaw.CORRUPT),
        (OddAnswer("", "Insufficient credits, please add some."), Flaw.PROVIDER_ERROR),
        (OddAnswer("", "<think>Let me see"), Flaw.REASONING_ONLY),
    ]
    if surface != "text":
        broken.append((OddAnswer("", "", reasoning="Let me see"), Flaw.REASONING_ONLY))
    for answer, flaw in broken:
        found = attribution(surface, answer, stream=stream, tools=tools and surface != "text")
        assert found == Attribution((flaw,), Blame.PROVIDER), (answer, found)


@pytest.mark.parametrize(
    "asked", [{"stop": ["\n"]}, {"stop_sequences": ["x"]}, {"max_tokens": 1}, {"logprobs": True, "max_tokens": 5}]
)
@pytest.mark.parametrize("surface", SURFACES)
def test_what_a_caller_asked_for_excuses_an_empty_answer(surface: str, asked: dict[str, Any]) -> None:
    """Stop sequences, a limit of one token, log probabilities only."""
    assert attribution(surface, OddAnswer("", "", request=asked), stream=False).blame is not Blame.PROVIDER


@pytest.mark.parametrize("surface", ["responses", "messages"])
def test_litellm_raises_the_limit_of_one_token(surface: str) -> None:
    """OpenAI's Responses allow no limit below 16 tokens, so that one of 1 arrives as 16, and one of 17 as it is."""
    raised, own = ({"max_output_tokens": limit} for limit in (16, 17))
    assert attribution(surface, OddAnswer("", "", request=raised), stream=False) == Attribution()
    found = attribution(surface, OddAnswer("", "", request=own), stream=False)
    assert found == Attribution((Flaw.EMPTY,), Blame.PROVIDER)
    chat = attribution("chat", OddAnswer("", "", request={"max_tokens": 16}), stream=False)
    assert chat == Attribution((Flaw.EMPTY,), Blame.PROVIDER)


@pytest.mark.parametrize("call_type", ["aembedding", "aimage_generation", "arerank", "_arealtime", None])
def test_other_calls_have_no_text(call_type: str | None) -> None:
    """Nothing is looked for in their answers."""
    assert attribution("chat", NOTHING, stream=False, call_type=call_type) == Attribution()


def test_some_choices_may_be_empty() -> None:
    """Of several answers one with text is enough."""
    both = odd.chat(OddAnswer("", "Paris"))
    both.choices.append(odd.chat(NOTHING).choices[0])
    details = NOTHING.details("acompletion", stream=False)
    parsed = parse_response(details, both)
    assert CALLBACK.scoring.evaluate(details, (), parsed, both)[1] == Attribution()


def test_usage_is_expected_where_it_was_asked_for() -> None:
    """Of whole answers always, of chat streams with ``include_usage`` only."""
    answer = OddAnswer("", "Paris")
    without = odd.chat(answer)
    without.usage = None  # type: ignore[attr-defined]
    details = answer.details("acompletion", stream=False)
    found = CALLBACK.scoring.evaluate(details, (), parse_response(details, without), without)[1]
    assert found == Attribution((Flaw.NO_USAGE,), Blame.PROVIDER)
    asked = {"stream_options": {"include_usage": True}}
    streamed = attribution("chat", OddAnswer("", "Paris", request=asked), stream=True)
    assert streamed == Attribution((Flaw.NO_USAGE,), Blame.PROVIDER)
    assert attribution("chat", answer, stream=True) == Attribution()


def test_the_providers_own_finish_reason_counts() -> None:
    """LiteLLM reports ``error`` as ``stop``, and keeps the word where it can."""
    failed = odd.chat(NOTHING)
    failed.choices[0].provider_specific_fields = {"native_finish_reason": "error"}
    details = NOTHING.details("acompletion", stream=False)
    found = CALLBACK.scoring.evaluate(details, (), parse_response(details, failed), failed)[1]
    assert found == Attribution((Flaw.PROVIDER_ERROR,), Blame.PROVIDER)


class StatusError(Exception):
    """An error with a status, as LiteLLM raises it."""

    def __init__(self, status: int, cause: BaseException | None = None) -> None:
        super().__init__(str(status))
        self.status_code = status
        self.__cause__ = cause


def test_errors_in_answers_are_told_from_failures() -> None:
    """The status was 200, or the stream had begun and its connection did not break off."""
    made_up = Exception()
    made_up.status_code = 500  # type: ignore[attr-defined]
    assert is_error_in_answer(StatusError(500, made_up), streamed=False)
    assert is_error_in_answer(StatusError(500, StatusError(200)), streamed=False)
    assert is_error_in_answer(StatusError(429), streamed=True)
    assert not is_error_in_answer(StatusError(500), streamed=False)
    assert not is_error_in_answer(StatusError(500, TimeoutError()), streamed=True)
    assert not is_error_in_answer(None, streamed=True)
    repeating = StatusError(500, Exception("litellm.InternalServerError: The model is repeating the same chunk = -."))
    assert not is_error_in_answer(repeating, streamed=True)

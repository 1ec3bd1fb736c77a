"""The reader of ordinary answers: what it reads, every other reader reads too."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import TYPE_CHECKING, Any

from litellm import ModelResponse, Usage

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.scoring.call_formats import FORMATS
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.leaked_calls import find_leaked_calls, may_have_call
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.call_details import CHOICE_KEY, TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import ATTEMPT_KEY, LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.scoring import answer_evaluation, response
from exacto_plugin.litellm_hooks.scoring.answer_evaluation import evaluate_answer
from exacto_plugin.litellm_hooks.scoring.plain_chat import plain_chat
from exacto_plugin.litellm_hooks.scoring.response import REDACTED, parse_response, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

LONG = "x" * 80
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["a"]}}},
    {"type": "function", "name": LONG, "parameters": {}},
]
LEAKED = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'


def call(name: str = "f", arguments: str | None = '{"a": 1}', identity: str = "c") -> dict[str, Any]:
    """One call of an answer."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"content": "It is sunny."},
    "blank": {"content": " \n"},
    "empty": {"content": ""},
    "none": {"content": None},
    "leaked": {"content": LEAKED},
    "json": {"content": '{"name": "f", "arguments": {"a": 1}}'},
    "corrupt": {"content": "Na \ufffd\ufffd\ufffd\ufffd"},
    "error": {"content": "Insufficient credits. Please visit https://openrouter.ai/credits"},
    "reasoned": {"content": None, "reasoning_content": LEAKED},
    "thought": {"content": "Sunny.", "reasoning_content": "Hm."},
    "blocks": {"content": "Sunny.", "thinking_blocks": [{"type": "thinking", "thinking": "Hm."}]},
    "call": {"content": None, "tool_calls": [call()]},
    "bad call": {"content": "I look.", "tool_calls": [call(arguments="{")]},
    "mismatch": {"content": None, "tool_calls": [call(arguments="{}")]},
    "unknown": {"content": None, "tool_calls": [call("g")]},
    "server's": {"content": None, "tool_calls": [call("g", identity="srvtoolu_1")]},
    "twice": {"content": None, "tool_calls": [call(), call()]},
    "two": {"content": None, "tool_calls": [call(), call(identity="d")]},
    "redacted": {"content": REDACTED, "tool_calls": [call(arguments=REDACTED)]},
    "legacy": {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
    "refusal": {"content": None, "refusal": "No."},
    "annotated": {"content": "Sunny.", "annotations": [{"type": "url_citation"}]},
    "native": {"content": "Sunny.", "provider_specific_fields": {"native_finish_reason": "length"}},
}
CHOICES: dict[str, dict[str, Any]] = {
    "plain": {},
    "calls": {"finish_reason": "tool_calls"},
    "length": {"finish_reason": "length"},
    "filter": {"finish_reason": "content_filter"},
    "native stop": {"provider_specific_fields": {"native_finish_reason": "STOP"}},
    "native length": {"provider_specific_fields": {"native_finish_reason": "MAX_TOKENS"}},
    "native failure": {"provider_specific_fields": {"native_finish_reason": "error"}},
    "probabilities": {"logprobs": {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": []}]}},
}
FIELDS: dict[str, dict[str, Any]] = {
    "usage": {"usage": Usage(prompt_tokens=10, completion_tokens=5)},
    "no usage": {"usage": None},
    "zero": {"usage": Usage(prompt_tokens=0, completion_tokens=0)},
    "status": {"status": "incomplete"},
    "output": {"output": [{"type": "message", "content": [{"type": "output_text", "text": LEAKED}]}]},
}
DETAILS: dict[str, dict[str, Any]] = {
    "ordinary": {},
    "limit": {"optional_params": {"max_tokens": 5}},
    "far limit": {"optional_params": {"extra_body": {"max_tokens": 6}}, "additional_args": {"complete_input_dict": {}}},
    "logged limit": {"additional_args": {"complete_input_dict": {"options": {"num_predict": 3}}}},
    "left": {"litellm_params": {"metadata": {"client_disconnected": True}}},
    "cached": {"cache_hit": True},
    "streamed": {"stream": True},
    "other kind": {"call_type": "aembedding"},
    "required": {CHOICE_KEY: "required"},
    "none": {CHOICE_KEY: "none"},
    "free": {CHOICE_KEY: "auto", "messages": [{"role": "user", "content": "Hi"}]},
    "searches": {"optional_params": {"web_search_options": {}}},
    "no tools": {TOOLS_KEY: None},
    "no attempt": {ATTEMPT_KEY: None},
}


def answers() -> Iterator[tuple[dict[str, Any], ModelResponse]]:
    """Yield details and answers that differ from an ordinary one in at most two of four ways."""
    ways: list[dict[str, dict[str, Any]]] = [MESSAGES, CHOICES, FIELDS, DETAILS]
    for one, other in combinations(range(4), 2):
        for first in ways[one].values():
            for second in ways[other].values():
                picked = [next(iter(way.values())) for way in ways]
                picked[one], picked[other] = first, second
                yield made(*picked)


def made(
    message: dict[str, Any], choice: dict[str, Any], fields: dict[str, Any], details: dict[str, Any]
) -> tuple[dict[str, Any], ModelResponse]:
    """Return LiteLLM's details of a call, and its answer."""
    answer = ModelResponse(choices=[{"index": 0, "finish_reason": "stop", "message": dict(message)} | choice])
    for name, value in fields.items():
        setattr(answer, name, value)
    attempt = Attempt(Candidate(LiteLLMId("i"), DeploymentKey("d")), "kimi")
    known = {LOG_KEY: RequestState(), ATTEMPT_KEY: attempt, TOOLS_KEY: TOOLS, "call_type": "acompletion"}
    return known | details, answer


def test_an_ordinary_answer_has_the_same_parts_for_both_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the short reader returns, the reader of every form returns as well: parts, texts and flaws."""
    evaluator, read = Evaluator(), 0
    for details, answer in answers():
        tools = details[TOOLS_KEY] or ()
        short = parse_response(details, answer)
        verdicts = evaluate_answer(evaluator, details, tools, short, answer)
        with monkeypatch.context() as patch:
            patch.setattr(response, "plain_chat", lambda *_: None)
            patch.setattr(answer_evaluation, "_is_flawless", lambda *_: False)
            patch.setattr(answer_evaluation, "may_have_call", lambda _: True)
            whole = parse_response(details, answer)
            expected = evaluate_answer(evaluator, details, tools, whole, answer)
        assert dataclasses.replace(short, texts=None) == whole
        assert (short.content, verdicts) == (whole.content, expected)
        if short.texts is not None:
            read += 1
            assert list(short.texts) == list(texts_of(answer, short.calls))
    assert read > 200


def test_the_short_reader_reads_the_ordinary_answers() -> None:
    """Text, calls and reasoning, with and without a limit of tokens, are read by it; other forms are not."""
    choice, fields = CHOICES["plain"], FIELDS["usage"]
    for name in ("text", "call", "two", "reasoned", "thought"):
        assert plain_chat(*made(MESSAGES[name], choice, fields, {})) is not None, name
    assert plain_chat(*made(MESSAGES["text"], choice, fields, DETAILS["far limit"])) is not None
    for name in ("limit", "left", "cached", "streamed", "other kind", "no attempt"):
        assert plain_chat(*made(MESSAGES["text"], choice, fields, DETAILS[name])) is None, name


def test_every_form_of_a_call_in_a_text_has_a_sign() -> None:
    """A text without the signs has no call in any form."""
    assert all(may_have_call(form.marker) for form in FORMATS)
    for text in ("[f(a=1)]", '{"name": "f", "arguments": {"a": 1}}', "```tool_code\nf(a=1)\n```", LEAKED):
        assert [*find_leaked_calls(text, TOOLS)], text
        assert may_have_call(text)
    assert not may_have_call("The function f is called with a = 1 (see above); `print(f(1))`.")

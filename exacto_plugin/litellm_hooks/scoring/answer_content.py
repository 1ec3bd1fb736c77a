"""Reads the content of answers, and the excuses in requests, on every surface.

Of streams the texts are those of LiteLLM's assembly; whether there was any text, reasoning or usage is read from what
left for the client, since an assembly may lack it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.core.scoring.answers.calls import CALL_BLOCK, CALL_ITEMS
from exacto_plugin.core.scoring.broken_answers import AnswerContent, ContentExpectations, is_blank
from exacto_plugin.core.scoring.fields import get_field, get_list, get_text, has_any
from exacto_plugin.litellm_hooks.scoring.sent_request import SentRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exacto_plugin.core.scoring.answers.calls import AnswerCalls

CALL_TYPES: Final = frozenset({
    "completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses",
    "anthropic_messages", "aanthropic_messages",
})  # fmt: skip
"""LiteLLM's types of the calls whose answers are text."""
_EVENTS: Final = ("responses", "aresponses", "anthropic_messages", "aanthropic_messages")
"""Types of calls whose streams always end with the usage; those of chunks have it on request."""

_REASONING: Final = ("reasoning_content", "reasoning", "thinking_blocks")
_OTHER_PARTS: Final = ("tool_calls", "function_call", "images", "audio", "annotations")
"""Parts of a chat message, beside its text, that a client can use."""
_PLAIN_ITEMS: Final = ("message", "reasoning", "compaction")
_PLAIN_BLOCKS: Final = ("text", "thinking", "redacted_thinking")
_ENDLESS: Final = ("queued", "in_progress")
"""Status of a Responses answer that runs in the background."""
_STOPS: Final = ("stop", "stop_sequences", "stop_token_ids")
_PROBABILITIES: Final = ("logprobs", "prompt_logprobs", "echo")
_FEW_TOKENS: Final = 1
"""Token limit with which a request asks for log probabilities, not for text."""
_LEAST_OF_RESPONSES: Final = 16
"""OpenAI's least limit of a response, to which LiteLLM raises lower ones, those of Messages requests too."""


def content_of(
    details: Mapping[str, Any], response: Any, seen: AnswerCalls, reasons: Iterable[str]
) -> AnswerContent | None:
    """Return the content of an answer; None where it is not judged.

    Not judged are other kinds of calls, streams whose end was not seen and answers that are made in the background.

    Args:
        details: LiteLLM's ``model_call_details``.
        response: the answer.
        seen: the calls of the answer, as they left for the client.
        reasons: the finish reasons, mapped and native.
    """
    status = get_field(response, "status")
    if details.get("call_type") not in CALL_TYPES or status in _ENDLESS:
        return None
    error = _is_error(response)
    if not (seen.complete or error):
        return None
    choices = get_field(response, "choices") or ()
    parts = [*_choice_parts(choices), *_item_parts(get_list(response, "output"))]
    if not choices:
        parts += _block_parts(get_list(response, "content"))
    found = {kind for kind, _ in parts}
    known = {reason.lower() for reason in reasons} | {status if isinstance(status, str) else ""}
    texts = tuple(text for kind, text in parts if kind == "text" and text)
    return AnswerContent(
        texts=texts,
        spoke=seen.spoke and not texts,
        reasoned=seen.reasoned or "reasoning" in found,
        others=seen.others or bool(seen.calls) or "other" in found,
        refused="refusal" in found or "refusal" in known,
        error=error,
        reasons=frozenset(known),
        reports_usage=_reports_usage(details, response, seen),
    )


def content_expectations(details: Mapping[str, Any]) -> ContentExpectations:
    """Return the parts of a request that excuse flaws of its answer's content."""
    return ContentExpectations(partial(_may_be_empty, details), partial(last_message, details))


Part = tuple[str, str]
"""Kind of a part (text, reasoning, refusal, other), and its text."""


def _choice_parts(choices: Iterable[Any]) -> Iterator[Part]:
    for choice in choices:
        message = get_field(choice, "message")
        if has_any(get_field(choice, "logprobs"), ("content", "tokens")):
            yield "probabilities", ""
        if message is None:  # a text completion
            yield "text", get_text(choice, "text")
            continue
        content = get_field(message, "content")
        yield from _block_parts(content) if isinstance(content, list) else [("text", get_text(message, "content"))]
        if has_any(message, _REASONING):
            yield "reasoning", ""
        if get_field(message, "refusal"):
            yield "refusal", ""
        if has_any(message, _OTHER_PARTS):
            yield "other", ""


def _item_parts(items: Iterable[Any]) -> Iterator[Part]:
    for item in items:
        kind = get_text(item, "type")
        if kind == "reasoning":
            yield "reasoning", ""
        elif kind not in _PLAIN_ITEMS or kind in CALL_ITEMS:
            yield "other", ""
        for part in get_list(item, "content") if kind == "message" else ():
            refuses = get_text(part, "type") == "refusal"
            yield ("refusal", "") if refuses else ("text", get_text(part, "text"))


def _block_parts(blocks: Iterable[Any]) -> Iterator[Part]:
    for block in blocks:
        kind = get_text(block, "type")
        if kind in ("thinking", "redacted_thinking"):
            yield "reasoning", ""
        elif kind not in _PLAIN_BLOCKS or kind == CALL_BLOCK:
            yield "other", ""
        else:
            yield "text", get_text(block, "text")


def _is_error(response: Any) -> bool:
    """Check for an error object in the place of an answer."""
    if get_field(response, "error") and not get_field(response, "choices"):
        return True
    choices = get_field(response, "choices")
    if not choices or isinstance(choices, str):
        return False
    # LiteLLM reads an error body of a text completion as a choice without text and reason.
    empty = all(
        get_field(one, "message") is None and get_field(one, "text") is None and not get_field(one, "finish_reason")
        for one in choices
    )
    return empty and not _tokens(response)


def _tokens(response: Any) -> int:
    usage = get_field(response, "usage")
    counts = [
        get_field(usage, name) for name in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
    ]
    return sum(count for count in counts if isinstance(count, int))


def _reports_usage(details: Mapping[str, Any], response: Any, seen: AnswerCalls) -> bool:
    """Return whether an answer has its usage, where the provider was asked for it."""
    if not details.get("stream"):
        return _tokens(response) > 0
    if not seen.estimated:
        return True
    if details.get("call_type") in _EVENTS:
        return False
    options = (details.get("optional_params") or {}).get("stream_options")
    return not (isinstance(options, Mapping) and options.get("include_usage"))


def _may_be_empty(details: Mapping[str, Any]) -> bool:
    """Return whether the request asks for an answer that may have no text."""
    sent: Mapping[str, Any] = details.get("optional_params") or {}
    if any(sent.get(name) for name in _STOPS):
        return True
    limit = SentRequest(details).token_limit
    least = _LEAST_OF_RESPONSES if sent.get("max_output_tokens") else _FEW_TOKENS
    if limit is not None and limit <= least:
        return True
    if any(sent.get(name) for name in _PROBABILITIES) and limit is not None:
        return True
    return bool(get_field(_last(details), "role") == "assistant")


def _last(details: Mapping[str, Any]) -> Any:
    messages = details.get("messages")
    return messages[-1] if isinstance(messages, list) and messages else messages


def last_message(details: Mapping[str, Any]) -> str:
    """Return the text of the last message of a request."""
    return " ".join(_texts_in(_last(details), 0))


_MOST_DEPTH: Final = 4
_TEXTS: Final = ("content", "text", "output", "input")


def _texts_in(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if not is_blank(value):
            yield value
    elif isinstance(value, list) and depth < _MOST_DEPTH:
        for one in value:
            yield from _texts_in(one, depth + 1)
    elif isinstance(value, Mapping) and depth < _MOST_DEPTH:
        for name in _TEXTS:
            yield from _texts_in(value.get(name), depth + 1)

"""Reads the ordinary answer of chat in one pass.

It is one whole choice of text, calls or both, that ended by itself. Nearly all answers without streaming are of this
form, and reading one takes 8 us of processor time in place of the 35 us that the reader of every form takes
(:mod:`exacto_plugin.litellm_hooks.scoring.response`), which has the same result. An answer with anything else in it is
left to that reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from litellm.types.utils import Choices, Message, ModelResponse, Usage

from exacto_plugin.core.scoring.answers.calls import message_calls
from exacto_plugin.core.scoring.attribution import Ending
from exacto_plugin.core.scoring.broken_answers import AnswerContent
from exacto_plugin.core.scoring.fields import get_field
from exacto_plugin.litellm_hooks.request.state import ATTEMPT_KEY, LOG_KEY
from exacto_plugin.litellm_hooks.scoring.sent_request import SentRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.scoring.evaluation import ToolCall

_CALL_TYPES: Final = ("acompletion", "completion")
_ENDINGS: Final = {"stop": Ending.STOP, "tool_calls": Ending.CALLS, "function_call": Ending.CALLS}
"""LiteLLM's finish reasons of answers that ended by themselves."""
_NATIVE: Final = frozenset({"stop", "tool_calls", "function_call", "end_turn", "tool_use", "eos", "completed"})
"""The same in the words of providers, in small letters."""
_OTHER_FORMS: Final = frozenset({"status", "output", "content"})
"""Fields of answers in another form than chat's."""
_OTHER_PARTS: Final = ("refusal", "images", "audio", "annotations")
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking_blocks")
_TOKENS: Final = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
_METADATA: Final = ("metadata", "litellm_metadata")


class PlainChat(NamedTuple):
    """An ordinary answer."""

    calls: tuple[ToolCall, ...]
    ending: Ending
    content: AnswerContent
    texts: tuple[str, ...]
    """Its text; the reasoning of an answer that has neither text nor a call. Empty for blank ones."""


def plain_chat(details: Mapping[str, Any], response: Any) -> PlainChat | None:
    """Return an answer that is an ordinary one; None for every other.

    Args:
        details: LiteLLM's ``model_call_details``.
        response: the answer.
    """
    if type(response) is not ModelResponse or not _is_plain_call(details):
        return None
    fields = _fields_of(response)
    choices = fields.get("choices")
    if not _OTHER_FORMS.isdisjoint(fields) or type(choices) is not list or len(choices) != 1:
        return None
    if type(choices[0]) is not Choices:
        return None
    choice = _fields_of(choices[0])
    message, finish = choice.get("message"), choice.get("finish_reason")
    if type(message) is not Message or finish not in _ENDINGS or choice.get("logprobs"):
        return None
    counts = _counts_of(fields.get("usage"))
    reasons = _reasons_of(choice, finish, details[ATTEMPT_KEY].finish_reasons)
    if counts is None or reasons is None or not _is_below_limit(details, counts):
        return None
    return _answer_of(_fields_of(message), _ENDINGS[finish], reasons, reports_usage=sum(counts) > 0)


def _answer_of(
    message: dict[str, Any], ending: Ending, reasons: frozenset[str], *, reports_usage: bool
) -> PlainChat | None:
    content = message.get("content")
    if not (content is None or type(content) is str) or message.get("function_call") is not None:
        return None
    for name in _OTHER_PARTS:
        if message.get(name):
            return None
    called = message.get("tool_calls")
    reasoned = False
    for name in _THOUGHTS:
        if message.get(name):
            reasoned = True
    texts = (content,) if content else ()
    read = AnswerContent(texts, False, reasoned, bool(called), False, False, reasons, reports_usage)
    calls = tuple(message_calls(message)) if called else ()
    if not content or content.isspace():
        thought = message.get("reasoning_content")
        texts = (thought,) if not calls and isinstance(thought, str) else ()
    return PlainChat(calls, ending, read, texts)


def _is_plain_call(details: Mapping[str, Any]) -> bool:
    """Check for a whole answer that a deployment gave to a client that is still there."""
    attempt = details.get(ATTEMPT_KEY)
    if attempt is None or attempt.stream is not None or LOG_KEY not in details:
        return False
    if details.get("stream") or details.get("cache_hit") or details.get("call_type") not in _CALL_TYPES:
        return False
    parameters = details.get("litellm_params")
    for holder in (details, parameters) if type(parameters) is dict else (details,):
        for name in _METADATA:
            found = holder.get(name)
            if found is not None and (type(found) is not dict or found.get("client_disconnected")):
                return False
    return parameters is None or type(parameters) is dict


def _fields_of(item: Any) -> dict[str, Any]:
    """Return the fields of an object of LiteLLM's, undeclared ones included."""
    more = item.__pydantic_extra__
    own: dict[str, Any] = item.__dict__
    return {**own, **more} if more else own


def _reasons_of(choice: Mapping[str, Any], finish: str, noted: set[str]) -> frozenset[str] | None:
    """Return the finish reasons in small letters, and an empty one for the status.

    None where the provider's own is not one of ``_NATIVE``.
    """
    native = get_field(choice.get("provider_specific_fields"), "native_finish_reason")
    known = {finish, *(reason.lower() for reason in noted), ""}
    if isinstance(native, str):
        lowered = native.lower()
        if lowered not in _NATIVE:
            return None
        known.add(lowered)
    return frozenset(known)


def _counts_of(usage: Any) -> list[int] | None:
    """Return the numbers of tokens by ``_TOKENS``; None for another form."""
    if type(usage) is not Usage:
        return [0, 0, 0, 0] if usage is None else None
    fields = _fields_of(usage)
    return [count if isinstance(count := fields.get(name), int) else 0 for name in _TOKENS]


def _is_below_limit(details: Mapping[str, Any], counts: list[int]) -> bool:
    """Check that the answer did not end at the limit of its request."""
    limit = SentRequest(details).token_limit
    return limit is None or (counts[1] or counts[3]) < limit

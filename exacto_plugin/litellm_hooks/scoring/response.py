"""Parser of LiteLLM's log events: an answer's tool calls, and reasons to skip it.

All surfaces are handled here, so that scoring does not depend on the surface. Calls of a stream are those that left for
the client; LiteLLM's own assembly, which loses calls without an id, counts only where the stream was not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from litellm.constants import LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME as _HEALTH_CHECK

from exacto_plugin.core.scoring.answers.calls import AnswerCalls, whole_calls
from exacto_plugin.core.scoring.arguments import is_cut_off
from exacto_plugin.core.scoring.attribution import Ending, ObservedAnswer
from exacto_plugin.core.scoring.fields import MAPPINGS, get_attribute, get_field, get_list
from exacto_plugin.core.scoring.provider_calls import is_providers_own
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY
from exacto_plugin.litellm_hooks.scoring.answer_content import content_of
from exacto_plugin.litellm_hooks.scoring.plain_chat import plain_chat
from exacto_plugin.litellm_hooks.scoring.seen_streams import attempt_in, native_reasons, seen_calls
from exacto_plugin.litellm_hooks.scoring.sent_request import SentRequest
from exacto_plugin.litellm_hooks.scoring.short_names import full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exacto_plugin.core.scoring.broken_answers import AnswerContent
    from exacto_plugin.core.scoring.evaluation import ToolCall
    from exacto_plugin.core.scoring.leaked_calls import LeakedCall
    from exacto_plugin.litellm_hooks.scoring.plain_chat import PlainChat

REDACTED = "redacted-by-litellm"
"""LiteLLM's substitute for arguments under ``turn_off_message_logging``."""

_LENGTH = frozenset(
    {"length", "max_tokens", "max_output_tokens", "max_completion_tokens", "model_context_window_exceeded"}
    | {"model_length", "max_length", "token_limit", "max_new_tokens", "compaction"}
)
"""Finish reasons in small letters; ``model_length`` is Mistral's, and LiteLLM reports it as ``stop``."""
_FILTER = frozenset({"content_filter"})
_CALLED = frozenset({"tool_calls", "function_call", "tool_use"})
_MALFORMED = ("malformed_function_call", "unexpected_tool_call")
"""Gemini's reasons for a call that it could not parse; LiteLLM reports them as ``stop``.

Google's endpoint in OpenAI's form writes them behind ``function_call_filter:``.
"""

_MESSAGES = "anthropic_messages"
"""LiteLLM's name for calls of the Messages API.

A stream that ends without its stop reason, for instance because a program stops reading, is logged as stopped; a
finished one with calls has the reason ``tool_use``.
"""

_ENDED_BY_OTHERS = (Ending.LENGTH, Ending.FILTER, Ending.CLIENT_LEFT)
"""Ends that are not the provider's: the content of such an answer is not judged."""

_ESTIMATED = 0.8
"""Part of a limit at which an answer may end there, where LiteLLM estimated its tokens.
Its tokenizer is not the model's."""


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """The parts of an answer that are evidence about its deployment."""

    calls: tuple[ToolCall, ...] = ()
    skip_reason: str = ""
    """Why the answer is not scored; empty if it is.

    One of health_check, cache_hit, client_disconnect, redacted, cut_short.
    """
    ending: Ending = Ending.STOP
    duplicate_ids: bool = False
    others: bool = False
    """True if it holds calls of tools that the provider runs itself."""
    content: AnswerContent | None = field(default=None, compare=False)
    """The content whose flaws are counted; None where none is."""
    texts: tuple[str, ...] | None = field(default=None, compare=False)
    """What ``texts_of`` returns, where that was read on the way."""

    @property
    def lost(self) -> bool:
        """True if it ended as after a tool call, but carries no call."""
        return not self.skip_reason and not self.calls and not self.others and self.ending is Ending.CALLS

    def observed(self, lost: Sequence[LeakedCall] = ()) -> ObservedAnswer:
        """Return the parts that the attribution depends on.

        Args:
            lost: the calls that are in the answer's text only.
        """
        leaked, written = (any(one.plain is plain for one in lost) for plain in (False, True))
        return ObservedAnswer(self.calls, self.ending, leaked, self.duplicate_ids, self.others, written)


def parse_response(kwargs: Mapping[str, Any], response: Any) -> ParsedResponse:
    """Parse an answer.

    Args:
        kwargs: LiteLLM's ``model_call_details``.
        response: the response object: chat, Responses or Anthropic form.
    """
    plain = plain_chat(kwargs, response)
    if plain is not None and all(call.arguments != REDACTED for call in plain.calls):
        return _of_plain(kwargs, plain)
    found = _found_calls(kwargs, response)
    calls = _clients_calls(kwargs, found.calls)
    mapped, native = _mapped_reasons(response, found), set(native_reasons(kwargs, response))
    ending = _ending(kwargs, response, mapped, native)
    if ending in (Ending.STOP, Ending.CALLS) and _is_cut_off(calls, found, response, SentRequest(kwargs)):
        ending = Ending.LENGTH
    skip = _skip_reason(kwargs, response, calls, ending, finished=bool(found.reasons))
    others = found.others or len(calls) < len(found.calls)
    content = None
    if (not skip or _has_failed(response)) and ending not in _ENDED_BY_OTHERS:
        attempt = attempt_in(kwargs)
        noted = attempt.finish_reasons if attempt is not None else set()
        content = content_of(kwargs, response, found, mapped | native | noted)
    return ParsedResponse(calls, skip, ending, found.has_duplicate_ids, others, content)


def _of_plain(kwargs: Mapping[str, Any], plain: PlainChat) -> ParsedResponse:
    """Return an ordinary answer, with the calls that its client answers."""
    if not plain.calls:
        return ParsedResponse((), "", plain.ending, False, False, plain.content, plain.texts)
    calls = _clients_calls(kwargs, plain.calls)
    duplicate_ids = len(plain.calls) > 1 and AnswerCalls((plain.calls,)).has_duplicate_ids
    others = len(calls) < len(plain.calls)
    return ParsedResponse(calls, "", plain.ending, duplicate_ids, others, plain.content, plain.texts)


def _clients_calls(kwargs: Mapping[str, Any], found: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    """Return the calls that the client answers, under its names of the tools."""
    tools: Sequence[Any] = kwargs.get(TOOLS_KEY) or ()
    renamed = tuple(_with_full_name(call, tools) for call in found)
    if not tools:
        return renamed
    sent = SentRequest(kwargs)
    return tuple(call for call in renamed if not is_providers_own(call, tools, lambda: sent.tools))


def _with_full_name(call: ToolCall, tools: Sequence[Any]) -> ToolCall:
    name = full_name(call.name, tools)
    return call if name == call.name else replace(call, name=name)


def _has_failed(response: Any) -> bool:
    return bool(get_field(response, "status") == "failed")


def _found_calls(kwargs: Mapping[str, Any], response: Any) -> AnswerCalls:
    """Return the calls that left for the client, else those in LiteLLM's answer.

    Arguments that LiteLLM redacts are not read from the stream either. LiteLLM may log an answer that it translates
    before the last events leave; its own assembly is complete by then.
    """
    seen, whole = seen_calls(kwargs), whole_calls(response)
    if seen is None or any(call.arguments == REDACTED for call in whole.calls):
        return whole
    if not seen.complete and whole.calls and len(whole.calls) >= len(seen.calls):
        return replace(whole, reasons=seen.reasons)
    if seen.calls or not get_list(response, "output"):
        return seen
    estimated = seen.complete and seen.estimated
    return replace(whole, reasons=seen.reasons, estimated=estimated, spoke=seen.spoke, reasoned=seen.reasoned)


def _is_cut_off(calls: Sequence[ToolCall], found: AnswerCalls, response: Any, sent: SentRequest) -> bool:
    """Check for an answer that the limit of its request ended.

    Its finish reason may be another: vLLM reports the call where an answer has one.
    """
    limit = sent.token_limit
    if limit is None:
        return False
    usage, used = get_field(response, "usage"), found.output_tokens
    if used is None:
        used = get_field(usage, "completion_tokens") or get_field(usage, "output_tokens")
    if not isinstance(used, int):
        return False
    if not calls:
        return used >= limit and not found.estimated
    reached = used >= limit * (_ESTIMATED if found.estimated else 1)
    return reached and any(is_cut_off(call.arguments) for call in calls)


def texts_of(response: Any, calls: Sequence[ToolCall] = ()) -> Iterator[str]:
    """Return every text of an answer beside its calls, piece by piece.

    Reasoning counts only when the answer has neither text nor a call: a call that is drafted in reasoning and then made
    is not leaked, but parsers also lose calls after unclosed reasoning.

    Args:
        response: the answer.
        calls: that it is known to have.
    """
    spoken = [text for text in _message_texts(response) if text and not text.isspace()]
    yield from spoken
    if not spoken and not calls and not whole_calls(response).calls:
        for choice in get_attribute(response, "choices") or ():
            thought = get_attribute(get_attribute(choice, "message"), "reasoning_content")
            if isinstance(thought, str):
                yield thought


def _message_texts(response: Any) -> Iterator[str]:
    contents = [
        get_attribute(get_attribute(choice, "message"), "content") or get_attribute(choice, "text")
        for choice in get_attribute(response, "choices") or ()
    ]
    output = get_list(response, "output")
    contents += [get_list(item, "content") for item in output if get_field(item, "type") == "message"]
    contents.append(get_list(response, "content"))
    for content in contents:
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (text for part in content if isinstance(text := get_field(part, "text"), str))


def has_text(response: Any) -> bool:
    """Return whether an answer has text beside its tool calls."""
    return any(text and not text.isspace() for text in _message_texts(response))


def _ending(kwargs: Mapping[str, Any], response: Any, reasons: set[str], native: set[str]) -> Ending:
    """Return the end of an answer, by its mapped and its native reasons."""
    if any(metadata.get("client_disconnected") for metadata in _metadata(kwargs)):
        return Ending.CLIENT_LEFT
    choices = get_attribute(response, "choices") or ()
    native = {reason.lower() for reason in native}
    if reasons & _FILTER:
        return Ending.FILTER
    if (reasons | native) & _LENGTH:
        return Ending.LENGTH
    if "refusal" in reasons or any(get_field(get_attribute(choice, "message"), "refusal") for choice in choices):
        return Ending.REFUSAL
    parts = (part for item in get_list(response, "output") for part in get_list(item, "content"))
    if any(get_field(part, "type") == "refusal" for part in parts):
        return Ending.REFUSAL
    malformed = any(reason.endswith(_MALFORMED) for reason in native)
    return Ending.CALLS if reasons & _CALLED or malformed else Ending.STOP


def _mapped_reasons(response: Any, found: AnswerCalls) -> set[str]:
    """Return the finish reasons in LiteLLM's words."""
    choices = get_attribute(response, "choices") or ()
    reasons = {get_attribute(choice, "finish_reason") for choice in choices} | found.reasons
    if isinstance(response, Mapping):
        reasons.add(response.get("stop_reason"))
    if get_attribute(response, "status") == "incomplete":
        reasons.add(get_field(get_attribute(response, "incomplete_details"), "reason") or "length")
    return {reason for reason in reasons if isinstance(reason, str)}


def _skip_reason(
    kwargs: Mapping[str, Any], response: Any, calls: Sequence[ToolCall], ending: Ending, *, finished: bool
) -> str:
    if is_health_check(kwargs):
        return "health_check"
    if kwargs.get("cache_hit"):
        return "cache_hit"
    if ending is Ending.CLIENT_LEFT:
        return "client_disconnect"
    if ending in (Ending.LENGTH, Ending.FILTER) or get_attribute(response, "status") in ("failed", "cancelled"):
        return "cut_short"
    half = not finished and ending is Ending.STOP and _is_message_stream(kwargs)
    if half and (calls or whole_calls(response).calls):  # LiteLLM may have read further than the program
        return "cut_short"
    if any(call.arguments == REDACTED for call in calls):
        return "redacted"
    return ""


def is_health_check(kwargs: Mapping[str, Any]) -> bool:
    """Return whether a call is LiteLLM's own health check.

    A client can send the tag of health checks too, but its request then has a state of the plugin.

    Args:
        kwargs: of a call, or LiteLLM's ``model_call_details``.
    """
    if LOG_KEY in kwargs or CURRENT.get() is not None:
        return False
    tagged = (metadata.get("tags") for metadata in _metadata(kwargs))
    return any(isinstance(tags, list) and _HEALTH_CHECK in tags for tags in tagged)


def _metadata(kwargs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return metadata under either of LiteLLM's two names, in call or parameters."""
    for holder in (kwargs, kwargs.get("litellm_params")):
        for name in ("metadata", "litellm_metadata"):
            found = holder.get(name) if isinstance(holder, MAPPINGS) else None
            if isinstance(found, MAPPINGS):
                yield found


def _is_message_stream(kwargs: Mapping[str, Any]) -> bool:
    return bool(kwargs.get("stream")) and kwargs.get("call_type") == _MESSAGES

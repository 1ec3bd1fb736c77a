"""Parser of LiteLLM's log events: an answer's tool calls, and reasons to skip it.

All surfaces are handled here, so that scoring does not depend on the surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from litellm.constants import LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME as _HEALTH_CHECK

from exacto_plugin.core.scoring.attribution import Ending, ObservedAnswer
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REDACTED = "redacted-by-litellm"
"""LiteLLM's substitute for arguments under ``turn_off_message_logging``."""

_LENGTH = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
_FILTER = frozenset({"content_filter"})
_CALLED = frozenset({"tool_calls", "function_call", "tool_use"})

_MESSAGES = "anthropic_messages"
"""LiteLLM's name for calls of the Messages API.

A stream that ends without its stop reason, for instance because a program stops reading, is logged as stopped; a
finished one with calls has the reason ``tool_use``.
"""

_CALL_ITEMS = ("function_call", "custom_tool_call")
_PROVIDERS_OWN = ("_call", "_approval_request")
"""Suffixes of Responses item types for calls that the provider runs itself."""


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

    @property
    def lost(self) -> bool:
        """True if it ended as after a tool call, but carries no call."""
        return not self.skip_reason and not self.calls and not self.others and self.ending is Ending.CALLS

    def observed(self, *, leaked: bool = False) -> ObservedAnswer:
        """Return the parts that the attribution depends on.

        Args:
            leaked: whether a call is in the answer's text.
        """
        return ObservedAnswer(self.calls, self.ending, leaked, self.duplicate_ids, self.others)


def parse_response(kwargs: Mapping[str, Any], response: Any) -> ParsedResponse:
    """Parse an answer.

    Args:
        kwargs: LiteLLM's ``model_call_details``.
        response: the response object: chat, Responses or Anthropic form.
    """
    calls = tuple(_calls(response))
    ending = _ending(kwargs, response)
    skip = _skip_reason(kwargs, response, calls, ending)
    others = any(_is_providers_own(item) for item in _get(response, "output") or ())
    return ParsedResponse(calls, skip, ending, _has_duplicate_ids(response), others)


def texts_of(response: Any) -> Iterator[str]:
    """Return every text of an answer beside its calls, piece by piece.

    Reasoning counts only when the answer has neither text nor a call: a call that is drafted in reasoning and then made
    is not leaked, but parsers also lose calls after unclosed reasoning.
    """
    spoken = [text for text in _message_texts(response) if text.strip()]
    yield from spoken
    if not spoken and next(_calls(response), None) is None:
        for choice in getattr(response, "choices", None) or ():
            thought = getattr(getattr(choice, "message", None), "reasoning_content", None)
            if isinstance(thought, str):
                yield thought


def _message_texts(response: Any) -> Iterator[str]:
    contents = [
        getattr(getattr(choice, "message", None), "content", None)
        for choice in getattr(response, "choices", None) or ()
    ]
    contents += [_parts(item) for item in _get(response, "output") or () if _get(item, "type") == "message"]
    contents.append(_blocks(response))
    for content in contents:
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (text for part in content if isinstance(text := _get(part, "text"), str))


def has_text(response: Any) -> bool:
    """Return whether an answer has text beside its tool calls."""
    return any(text.strip() for text in _message_texts(response))


def _ending(kwargs: Mapping[str, Any], response: Any) -> Ending:
    if any(metadata.get("client_disconnected") for metadata in _metadata(kwargs)):
        return Ending.CLIENT_LEFT
    choices = getattr(response, "choices", None) or ()
    reasons = {getattr(choice, "finish_reason", None) for choice in choices}
    if isinstance(response, Mapping):
        reasons.add(response.get("stop_reason"))
    if getattr(response, "status", None) == "incomplete":
        reasons.add(_get(getattr(response, "incomplete_details", None), "reason") or "length")
    if reasons & _FILTER:
        return Ending.FILTER
    if reasons & _LENGTH:
        return Ending.LENGTH
    if "refusal" in reasons or any(_get(getattr(choice, "message", None), "refusal") for choice in choices):
        return Ending.REFUSAL
    if any(_get(part, "type") == "refusal" for item in _get(response, "output") or () for part in _parts(item)):
        return Ending.REFUSAL
    return Ending.CALLS if reasons & _CALLED else Ending.STOP


def _skip_reason(kwargs: Mapping[str, Any], response: Any, calls: Sequence[ToolCall], ending: Ending) -> str:
    if is_health_check(kwargs):
        return "health_check"
    if kwargs.get("cache_hit"):
        return "cache_hit"
    if ending is Ending.CLIENT_LEFT:
        return "client_disconnect"
    if ending in (Ending.LENGTH, Ending.FILTER) or getattr(response, "status", None) in ("failed", "cancelled"):
        return "cut_short"
    if calls and ending is Ending.STOP and kwargs.get("stream") and kwargs.get("call_type") == _MESSAGES:
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
            found = holder.get(name) if isinstance(holder, Mapping) else None
            if isinstance(found, Mapping):
                yield found


def _calls(response: Any) -> Iterator[ToolCall]:
    for choice in getattr(response, "choices", None) or ():
        message = getattr(choice, "message", None)
        for call in getattr(message, "tool_calls", None) or ():
            function, custom = _get(call, "function"), _get(call, "custom")
            if function is not None:
                yield ToolCall(_get(function, "name") or "", _get(function, "arguments"))
            elif custom is not None:
                yield ToolCall(_get(custom, "name") or "", _get(custom, "input"))
        legacy = getattr(message, "function_call", None)
        if legacy is not None:
            yield ToolCall(legacy.name or "", legacy.arguments)
    for item in _get(response, "output") or ():
        if _get(item, "type") in _CALL_ITEMS:
            custom = _get(item, "type") != "function_call"
            yield ToolCall(_get(item, "name") or "", _get(item, "input" if custom else "arguments"))
    for block in _blocks(response):
        if _get(block, "type") == "tool_use":
            yield ToolCall(_get(block, "name") or "", _get(block, "input"))


def _is_providers_own(item: Any) -> bool:
    kind = _get(item, "type")
    return isinstance(kind, str) and kind.endswith(_PROVIDERS_OWN) and kind not in _CALL_ITEMS


def _has_duplicate_ids(response: Any) -> bool:
    """Return whether two calls of one choice have the same id.

    Several choices are several answers.
    """
    choices = [getattr(choice, "message", None) for choice in getattr(response, "choices", None) or ()]
    groups = [[_get(call, "id") for call in getattr(message, "tool_calls", None) or ()] for message in choices]
    items = [item for item in _get(response, "output") or () if _get(item, "type") in _CALL_ITEMS]
    groups.append([_get(item, "call_id") for item in items])
    groups.append([_get(block, "id") for block in _blocks(response) if _get(block, "type") == "tool_use"])
    known = [[one for one in ids if isinstance(one, str) and one] for ids in groups]
    return any(len(set(ids)) < len(ids) for ids in known)


def _blocks(response: Any) -> Sequence[Any]:
    """Return the content of an answer in Anthropic's form."""
    content = response.get("content") if isinstance(response, Mapping) else None
    return content if isinstance(content, list) else ()


def _parts(item: Any) -> Sequence[Any]:
    """Return the content of one item of a Responses answer."""
    content = _get(item, "content")
    return content if isinstance(content, list) else ()


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)

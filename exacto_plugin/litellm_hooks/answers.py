"""Reads LiteLLM's log events: which tool calls an answer carries and whether it may be judged at all.

One place for every surface, so that the scoring does not know which one was used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from litellm.constants import LITTELM_INTERNAL_HEALTH_SERVICE_ACCOUNT_NAME as _HEALTH_CHECK

from exacto_plugin.core.evaluation import ToolCall
from exacto_plugin.litellm_hooks.request_state import CURRENT, LOG_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REDACTED = "redacted-by-litellm"
"""What LiteLLM puts in place of arguments under ``turn_off_message_logging``."""

_CUT_SHORT = frozenset({"length", "content_filter", "max_tokens"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says about the deployment that gave it."""

    calls: tuple[ToolCall, ...] = ()
    skip: str = ""
    """Why the answer must not be judged: health_check, cache_hit, client_disconnect, redacted, cut_short; empty when
    it may."""
    lost: bool = False
    """It ended with ``tool_calls`` but carries no call."""


def answer_of(kwargs: Mapping[str, Any], response: Any) -> Answer:
    """Translate a success event.

    Args:
        kwargs: LiteLLM's ``model_call_details``.
        response: the response object LiteLLM logs: chat, Responses or (rebuilt) Anthropic form.
    """
    calls = tuple(_calls(response))
    reasons = {getattr(choice, "finish_reason", None) for choice in getattr(response, "choices", None) or ()}
    skip = _skip(kwargs, response, calls, reasons)
    return Answer(calls, skip, lost=not skip and not calls and "tool_calls" in reasons)


def _skip(kwargs: Mapping[str, Any], response: Any, calls: Sequence[ToolCall], reasons: set[Any]) -> str:
    if is_health_check(kwargs):
        return "health_check"
    if kwargs.get("cache_hit"):
        return "cache_hit"
    if any(metadata.get("client_disconnected") for metadata in _metadata(kwargs)):
        return "client_disconnect"
    if reasons & _CUT_SHORT or getattr(response, "status", None) in ("incomplete", "failed", "cancelled"):
        return "cut_short"
    if any(call.arguments == REDACTED for call in calls):
        return "redacted"
    return ""


def is_health_check(kwargs: Mapping[str, Any]) -> bool:
    """Whether LiteLLM itself asks a deployment whether it is alive.

    Clients can send the tag that tells it, but not without being a request that we have seen coming.

    Args:
        kwargs: of a call, or LiteLLM's ``model_call_details``.
    """
    if LOG_KEY in kwargs or CURRENT.get() is not None:
        return False
    tagged = (metadata.get("tags") for metadata in _metadata(kwargs))
    return any(isinstance(tags, list) and _HEALTH_CHECK in tags for tags in tagged)


def _metadata(kwargs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """LiteLLM keeps metadata under two names, in the call or in its parameters."""
    for holder in (kwargs, kwargs.get("litellm_params")):
        for name in ("metadata", "litellm_metadata"):
            found = holder.get(name) if isinstance(holder, Mapping) else None
            if isinstance(found, Mapping):
                yield found


def _calls(response: Any) -> Iterator[ToolCall]:
    for choice in getattr(response, "choices", None) or ():
        message = getattr(choice, "message", None)
        for call in getattr(message, "tool_calls", None) or ():
            function = getattr(call, "function", None)
            if function is not None:
                yield ToolCall(function.name or "", function.arguments)
        legacy = getattr(message, "function_call", None)
        if legacy is not None:
            yield ToolCall(legacy.name or "", legacy.arguments)
    for item in getattr(response, "output", None) or ():
        if _get(item, "type") == "function_call":
            yield ToolCall(_get(item, "name") or "", _get(item, "arguments"))


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)

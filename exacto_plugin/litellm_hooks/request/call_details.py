"""The data of a call on LiteLLM's logging object, and of the attempt around it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.request.state import RequestState

    Call = Callable[[dict[str, Any]], Awaitable[Any]]
    """Makes one attempt with these arguments."""
    Again = Callable[[dict[str, Any]], dict[str, Any]]
    """Returns the arguments of a whole request changed to one attempt."""

TOOLS_KEY = "exacto_tools"
"""Key of the client's tools on the logging object.

LiteLLM converts them into the provider's own form later.
"""

CHOICE_KEY = "exacto_tool_choice"
"""Key of the client's tool choice on the logging object.

LiteLLM converts the choice into the provider's own form later.
"""

_CHOICES = ("tool_choice", "function_call", "toolConfig", "tool_config")


_ITEMS_WITH_TOOLS = ("additional_tools", "tool_search_output")
"""Types of input items of the Responses API."""


def choice_of(kwargs: Mapping[str, Any]) -> Any:
    """Return the tool choice of a call, in any form; None without one."""
    return next((found for key in _CHOICES if (found := kwargs.get(key)) is not None), None)


def offered_tools(kwargs: Mapping[str, Any]) -> Sequence[Any]:
    """Return the tools of a request in any form; the list itself where it is all.

    A Responses request may have them in its input: Codex sends all tools of newer models as one ``additional_tools``
    item, and a client that searches tools itself returns those that it found in ``tool_search_output`` items.

    Args:
        kwargs: of the request or of a call.
    """
    listed: Sequence[Any] = kwargs.get("tools") or kwargs.get("functions") or ()
    brought = [tool for tools in _tools_in_input(kwargs) for tool in tools]
    return [*listed, *brought] if brought else listed


def offers_tools(kwargs: Mapping[str, Any]) -> bool:
    """Return whether the request offers tools, also as OpenAI's older ``functions``."""
    return bool(kwargs.get("tools") or kwargs.get("functions")) or any(_tools_in_input(kwargs))


def _tools_in_input(kwargs: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the tools of each input item that has some."""
    items = kwargs.get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping) and item.get("type") in _ITEMS_WITH_TOOLS:
            tools = item.get("tools")
            if isinstance(tools, list) and tools:
                yield tools


def keep_tools(details: dict[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Keep the client's tools and choice of a call, unless that was done before.

    LiteLLM may serve one surface through another, and begins the call again with translated tools.

    Args:
        details: LiteLLM's ``model_call_details``, changed in place.
        kwargs: of the call.
    """
    if TOOLS_KEY in details or not (tools := offered_tools(kwargs)):
        return
    details[TOOLS_KEY] = tools
    if (choice := choice_of(kwargs)) is not None:
        details[CHOICE_KEY] = choice


def hand_over(state: RequestState, request: Mapping[str, Any]) -> None:
    """Keep the tools and the tool choice for a call whose logging object comes later.

    See :func:`attach_state`.
    """
    state.sync.pending_tools = tuple(offered_tools(request))
    state.sync.pending_choice = choice_of(request)


@dataclass(slots=True)
class RescuableAttempt:
    """LiteLLM's current attempt, with the data that a further attempt needs."""

    call: Call
    kwargs: Mapping[str, Any]
    logging: Any = None
    """LiteLLM's logging object, set at sending; a sync call has it only for a stream."""
    details: Mapping[str, Any] | None = None
    """LiteLLM's ``model_call_details`` of the attempt, set when it is sent."""
    made: Attempt | None = None
    """The attempt that they belong to; a whole request may make several."""
    again: Again | None = None
    """Set where ``call`` makes a whole request, and not one attempt."""


CURRENT_ATTEMPT: ContextVar[RescuableAttempt | None] = ContextVar("exacto_asked", default=None)
"""Attempt that may be rescued; a stream is assessed long after its return."""


def is_pending_call(state: RequestState, sent: Mapping[str, Any]) -> bool:
    """Return whether a call is the one that this request\'s selection was made for.

    Args:
        state: of the request.
        sent: LiteLLM's arguments for the deployment's call.
    """
    picked = state.served_by
    pending = state.sync.pending_tools is not None
    return pending and picked is not None and litellm_id(sent) == picked.candidate.id


def attach_state(details: dict[str, Any]) -> None:
    """Attach the data that were handed over to the call that begins.

    Args:
        details: LiteLLM's ``model_call_details``, changed in place.
    """
    state = CURRENT.get()
    if LOG_KEY in details or state is None or state.served_by is None:
        return
    if not is_pending_call(state, details.get("litellm_params") or {}):
        return  # another call of the same thread
    details[LOG_KEY] = state
    sync = state.sync
    details.setdefault(TOOLS_KEY, sync.pending_tools)
    if sync.pending_tools and sync.pending_choice is not None:
        details.setdefault(CHOICE_KEY, sync.pending_choice)
    sync.pending_tools = sync.pending_choice = None
    asked = CURRENT_ATTEMPT.get()
    if asked is not None:
        asked.details = details
    state.served_by.started_at = datetime.now()  # noqa: DTZ005 -- LiteLLM's own times are naive, and this is compared to them

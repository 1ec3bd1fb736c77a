"""The request's expectations of tool calls, read for the attribution of flaws.

They are read from LiteLLM's log events. Choice and history are read as the client sent them, on every surface. Keeps
references, never copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.scoring.attribution import RequestExpectations
from exacto_plugin.litellm_hooks.request.call_details import CHOICE_KEY, choice_of
from exacto_plugin.litellm_hooks.scoring.sent_request import EARLIER_ANSWERS, SentRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def expectations_of(details: Mapping[str, Any], tools: Sequence[Any]) -> RequestExpectations:
    """Return the expectations that an answer's flaws are measured by.

    Args:
        details: LiteLLM's ``model_call_details``.
        tools: as the client sent them.
    """
    sent: Mapping[str, Any] = details.get("optional_params") or {}
    choice = choice_in(details)
    elsewhere = any(sent.get(key) for key in EARLIER_ANSWERS)
    return RequestExpectations(
        tools,
        choice,
        details.get("messages"),
        whole_history=not elsewhere,
        sent_choice=lambda: SentRequest(details).choice(choice),
    )


def choice_in(details: Mapping[str, Any]) -> Any:
    """Return the client's tool choice in any form; None without one.

    Args:
        details: LiteLLM's ``model_call_details``.
    """
    return details[CHOICE_KEY] if CHOICE_KEY in details else choice_of(details.get("optional_params") or {})

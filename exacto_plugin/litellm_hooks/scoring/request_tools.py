"""What a request asked of its tool calls, read from LiteLLM's log events for the attribution of blame.

Choice and history are read as the client sent them, on every surface. Keeps references, never copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.scoring.attribution import RequestExpectations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHOICE_KEY = "exacto_tool_choice"
"""The tool choice as the client sent it, kept on the logging object: providers' own forms of it come later."""

_CHOICES = ("tool_choice", "function_call", "toolConfig", "tool_config")


def choice_of(kwargs: Mapping[str, Any]) -> Any:
    """The tool choice of a call that is about to be made, in whatever form; None when there is none."""
    return next((found for key in _CHOICES if (found := kwargs.get(key)) is not None), None)


def expectations_of(details: Mapping[str, Any], tools: Sequence[Any]) -> RequestExpectations:
    """What an answer's flaws are held against.

    Args:
        details: LiteLLM's ``model_call_details``.
        tools: as the client sent them.
    """
    sent: Mapping[str, Any] = details.get("optional_params") or {}
    choice = details[CHOICE_KEY] if CHOICE_KEY in details else choice_of(sent)
    elsewhere = any(sent.get(key) for key in ("previous_response_id", "conversation"))
    return RequestExpectations(tools, choice, details.get("messages"), whole_history=not elsewhere)

"""Reads a request's ``tool_choice`` in every form that clients send.

OpenAI chat and Responses (strings, named functions, ``allowed_tools``, hosted tools), OpenAI's older
``function_call``, Anthropic (``any``, ``tool``), Bedrock (``{"any": {}}``) and Gemini (``functionCallingConfig``). An
unknown form requires nothing. Reads no answer and no tool; raises no error on anything that a client can send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ChoiceMode(StrEnum):
    """The choice between an optional, a required and a forbidden call."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """The requirements on the calls of an answer."""

    mode: ChoiceMode = ChoiceMode.AUTO
    names: frozenset[str] = frozenset()
    """The only tools that may be called; empty: any."""


FREE: Final = ToolChoice()
"""No requirement."""

_WORDS: Final = {
    "auto": FREE, "validated": FREE, "none": ToolChoice(ChoiceMode.NONE),
    "required": ToolChoice(ChoiceMode.REQUIRED), "any": ToolChoice(ChoiceMode.REQUIRED),
}  # fmt: skip
"""Words of ``tool_choice`` by API.
OpenAI: auto, none, required. Anthropic, Mistral, Bedrock: any. Gemini, in capitals: AUTO, ANY, NONE, VALIDATED."""

_NAMED: Final = ("function", "tool", "custom")
"""Types, and keys, under which one tool is named."""

_GEMINI: Final = ("functionCallingConfig", "function_calling_config")
_BEDROCK: Final = "toolChoice"


def read_choice(choice: object) -> ToolChoice:
    """Return the requirements of ``choice``.

    Args:
        choice: the request's ``tool_choice``, ``function_call`` or ``toolConfig``, as the client sent it.
    """
    if isinstance(choice, str):
        return _WORDS.get(choice.lower(), FREE)
    if not isinstance(choice, Mapping):
        return FREE
    for key in _GEMINI:
        if isinstance(config := choice.get(key), Mapping):
            return _of_gemini(config)
    if isinstance(wrapped := choice.get(_BEDROCK), Mapping):
        choice = wrapped
    kind = choice.get("type")
    if kind == "allowed_tools":
        return _of_allowed(choice)
    if kind in _NAMED or kind is None:
        return _of_one(choice)
    # Any other word is the type of a built-in tool. Its provider runs it, and need not show that in the answer.
    return _WORDS.get(kind, FREE) if isinstance(kind, str) else FREE


def as_sent(asked: ToolChoice, sent: ToolChoice) -> ToolChoice:
    """Return the requirements of the client that the provider got.

    Args:
        asked: the choice of the client.
        sent: the choice in the request that was sent, whose names may be others.
    """
    mode = asked.mode if sent.mode is asked.mode else ChoiceMode.AUTO
    return ToolChoice(mode, asked.names if sent.names else frozenset())


def _of_one(choice: Mapping[object, object]) -> ToolChoice:
    """Read one tool by its name, wrapped or not, or Bedrock's words as keys."""
    for key in _NAMED:
        if isinstance(wrapped := choice.get(key), Mapping):
            choice = wrapped
            break
    name = choice.get("name")
    if isinstance(name, str) and name:
        return ToolChoice(ChoiceMode.REQUIRED, frozenset({name}))
    words = [_WORDS[key] for key in choice if isinstance(key, str) and key in _WORDS]
    return words[0] if len(choice) == 1 and words else FREE


def _of_allowed(choice: Mapping[object, object]) -> ToolChoice:
    """Read OpenAI's ``allowed_tools``: flat in Responses, wrapped in chat."""
    wrapped = choice.get("allowed_tools")
    allowed = wrapped if isinstance(wrapped, Mapping) else choice
    tools = allowed.get("tools")
    entries = tools if isinstance(tools, list | tuple) else ()
    named = [_of_one(entry).names for entry in entries if isinstance(entry, Mapping)]
    # A tool without a name is a built-in one, and its calls cannot be identified by a name.
    if not any(named):
        return FREE
    names = frozenset[str]().union(*named) if len(named) == len(entries) and all(named) else frozenset[str]()
    return ToolChoice(ChoiceMode.REQUIRED if allowed.get("mode") == "required" else ChoiceMode.AUTO, names)


def _of_gemini(config: Mapping[object, object]) -> ToolChoice:
    mode = config.get("mode")
    word = _WORDS.get(mode.lower(), FREE) if isinstance(mode, str) else FREE
    allowed = config.get("allowedFunctionNames", config.get("allowed_function_names"))
    # Names apply where calls are required or validated; with AUTO and NONE Gemini ignores them.
    limits = word.mode is ChoiceMode.REQUIRED or (isinstance(mode, str) and mode.lower() == "validated")
    if not limits or not isinstance(allowed, Iterable) or isinstance(allowed, str):
        return word
    return ToolChoice(word.mode, frozenset(name for name in allowed if isinstance(name, str)))

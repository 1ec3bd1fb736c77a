"""The answer of a simulated provider, independent of the API surface.

Input: the request's tools; output: one answer. Its form on the wire is defined in :mod:`exacto_plugin.demo.chat` and
its siblings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from random import Random
from typing import Any, Final

import orjson

from exacto_plugin.demo.arguments import broken_json, mismatch, unknown_name, valid_arguments
from exacto_plugin.demo.behaviour import Act, Behaviour

_VARIANTS: Final = 8
"""Different arguments per tool; cached, because drawing them takes milliseconds."""
_TOKEN_CHARACTERS: Final = 4
"""Characters of English or JSON that one token stands for, as a rule of thumb."""
_SENTENCES: Final = (
    "The order has been found and is on its way.",
    "Here is what I know about the matter so far.",
    "Both options are open; the first one is cheaper.",
    "It will be sunny in the afternoon, with a light wind.",
)
_MARKUP: Final = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>{arguments}"
    "<|tool_call_end|><|tool_calls_section_end|>",
    '<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>',
    '[TOOL_CALLS][{{"name": "{name}", "arguments": {arguments}}}]',
    "[TOOL_CALLS]{name}[ARGS]{arguments}",
    "<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>{name}<\uff5ctool\u2581sep\uff5c>{arguments}"
    "<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>",
    "<tool_call>{name}\n<arg_key>input</arg_key>\n<arg_value>{arguments}</arg_value>\n</tool_call>",
    "<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}<|call|>",
)
"""Raw markup that a provider's parser should have removed.

Of Kimi K2, of Hermes and Qwen, of Mistral (old and new), of DeepSeek V3.1, of GLM and of gpt-oss."""


class Finish(Enum):
    """The reason for the end of an answer."""

    STOP = "stop"
    CALLS = "calls"
    LENGTH = "length"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the request offers."""

    name: str
    schema: object


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The parts of a request that an answer depends on."""

    model: str
    tools: tuple[Tool, ...] = ()
    """Empty as well when the request forbids their use."""
    forced: bool = False
    """True if the request demands a call."""
    stream: bool = False
    include_usage: bool = False
    """True if a chat stream ends with the usage."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompt's beginning in the provider's prompt cache."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; ``arguments`` is the text that the model wrote."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """The content of an answer."""

    act: Act
    """The act of the answer.

    Another kind of bad call than requested where the tool's schema refuses nothing."""
    content: str
    calls: tuple[Call, ...]
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning: str = ""
    reports_usage: bool = True


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Arguments for one tool, drawn once."""

    valid: str
    broken: str
    mismatch: str | None
    """None for a schema that refuses nothing."""


def compose(behaviour: Behaviour, act: Act, ask: ChatRequest, random: Random) -> SimulatedAnswer:
    """Compose the answer of ``act``; always text for a request without tools."""
    calls: tuple[Call, ...] = ()
    content = ""
    finish = Finish.STOP
    if act in _CONTENT_OF_BROKEN:
        content = _CONTENT_OF_BROKEN[act]
        finish = Finish.ERROR if act is Act.ERROR_FINISH else Finish.STOP
    elif not ask.tools or act is Act.TEXT:
        content = behaviour.content or " ".join(random.choices(_SENTENCES, k=2))
        act = act if act in _REGARDLESS_OF_TOOLS else Act.TEXT if ask.tools else Act.VALID
    elif act is Act.LEAKED_MARKUP:
        call = _valid_call(behaviour, ask, random)
        content = random.choice(_MARKUP).format(name=call.name, arguments=call.arguments)
    elif act is Act.MISSING_CALL:
        finish = Finish.CALLS
    else:
        act, calls = _calls(behaviour, act, ask, random)
        content = behaviour.preamble or ""
        finish = Finish.CALLS
    if act is Act.TRUNCATED:
        finish = Finish.LENGTH
        content, calls = _cut(content), tuple(Call(one.id, one.name, _cut(one.arguments)) for one in calls[-1:])
    spoken = len(content) + sum(len(call.name) + len(call.arguments) for call in calls)
    counted = max(1, spoken // _TOKEN_CHARACTERS)
    return SimulatedAnswer(
        act,
        content,
        calls,
        finish,
        ask.prompt_tokens if behaviour.prompt_tokens is None else behaviour.prompt_tokens,
        counted if behaviour.completion_tokens is None else behaviour.completion_tokens,
        ask.cached_tokens,
        behaviour.reasoning or (" ".join(_SENTENCES) if act is Act.REASONING_ONLY else ""),
        act is not Act.NO_USAGE,
    )


_REGARDLESS_OF_TOOLS: Final = frozenset(
    {Act.TRUNCATED, Act.HANG, Act.STALL, Act.DROP, Act.ERROR_FIRST, Act.STOP_AFTER_NAME, Act.NO_USAGE}
)
_CONTENT_OF_BROKEN: Final[Mapping[Act, str]] = {
    Act.EMPTY: "",
    Act.REASONING_ONLY: "",
    Act.CORRUPT: "\ufffd\ufffd\ufffd \ufffd\ufffd\ufffd\ufffd, \ufffd\ufffd!",
    Act.ERROR_BODY: "",
    Act.ERROR_TEXT: "You exceeded your current quota, please check your plan and billing details.",
    Act.ERROR_FINISH: "",
}
"""The text of broken answers; they have no calls."""


def _calls(behaviour: Behaviour, act: Act, ask: ChatRequest, random: Random) -> tuple[Act, tuple[Call, ...]]:
    calls = [_valid_call(behaviour, ask, random) for _ in range(behaviour.calls)]
    if act is Act.DUPLICATE_IDS:
        twin = _valid_call(behaviour, ask, random)
        return act, (*calls, Call(calls[0].id, twin.name, twin.arguments))
    place = random.randrange(len(calls))
    act, calls[place] = _spoilt(calls[place], act, ask, random)
    return act, tuple(calls)


def _spoilt(call: Call, act: Act, ask: ChatRequest, random: Random) -> tuple[Act, Call]:
    """Return a bad call of the act's kind.

    Where the schema refuses nothing, it is a bad call of another kind.
    """
    if act is Act.UNKNOWN_NAME:
        known = frozenset(tool.name for tool in ask.tools)
        return act, Call(call.id, unknown_name(call.name, known, random), call.arguments)
    if act is Act.EMPTY_ARGUMENTS:
        return act, Call(call.id, call.name, "")
    if act in (Act.INVALID_JSON, Act.SCHEMA_MISMATCH):
        schema = next(tool.schema for tool in ask.tools if tool.name == call.name)
        prepared = _prepared(_text(schema), random.randrange(_VARIANTS))
        if act is Act.SCHEMA_MISMATCH and prepared.mismatch is not None:
            return act, Call(call.id, call.name, prepared.mismatch)
        return Act.INVALID_JSON, Call(call.id, call.name, prepared.broken)
    return act, call


def _valid_call(behaviour: Behaviour, ask: ChatRequest, random: Random) -> Call:
    tool = random.choice(ask.tools)
    arguments = behaviour.arguments
    if arguments is None:
        arguments = _prepared(_text(tool.schema), random.randrange(_VARIANTS)).valid
    return Call(f"call_{random.getrandbits(64):016x}", tool.name, arguments)


def _text(schema: object) -> bytes:
    return orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)


@lru_cache(maxsize=8192)
def _prepared(schema_text: bytes, variant: int) -> _Prepared:
    schema: Any = orjson.loads(schema_text)
    random = Random(f"{variant}/{schema_text.decode()}")
    try:
        valid = valid_arguments(schema, random)
    except (ValueError, TypeError):  # a contradictory schema: a model would write something all the same
        valid = {}
    try:
        wrong = json.dumps(mismatch(schema, valid, random))
    except ValueError:
        wrong = None
    return _Prepared(json.dumps(valid), broken_json(valid, random), wrong)


def _cut(text: str) -> str:
    return text[: len(text) // 2]


def offered(tools: object, choice: object) -> tuple[tuple[Tool, ...], bool]:
    """Return the tools that a request offers, and if it demands a call.

    Reads the forms of chat, Responses and Messages.

    Args:
        tools: the body's ``tools``.
        choice: the body's ``tool_choice``.
    """
    found = tuple(tool for entry in tools if (tool := _tool(entry)) is not None) if isinstance(tools, list) else ()
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    if kind == "none":
        return (), False
    if isinstance(choice, Mapping) and kind in ("function", "tool"):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        return tuple(tool for tool in found if tool.name == name) or found, True
    return found, kind in ("required", "any")


def _tool(entry: object) -> Tool | None:
    """Parse one entry of ``tools``; built-in tools without a name are left out."""
    if not isinstance(entry, Mapping):
        return None
    function = entry.get("function")
    spec = function if isinstance(function, Mapping) else entry
    name = spec.get("name")
    return Tool(name, spec.get("parameters", spec.get("input_schema"))) if isinstance(name, str) else None

"""The markup in which models write tool calls, and its readers.

Formats, from the chat templates published with the models: Kimi K2, Hermes and Qwen, Qwen3-Coder, GLM 4.5 and later,
DeepSeek V3 and V3.1, DeepSeek V3.2 and MiniMax (``invoke``), Mistral, gpt-oss (harmony), Llama 3 and 4, Cohere Command,
Nemotron, Granite and Phi, Gemma 3 (``tool_code``) and later, Jamba and Hunyuan, InternLM, Grok.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME: Final = r"[A-Za-z0-9_.:/\-]{1,128}+"


class WrittenCall(NamedTuple):
    """A call that is written in a text."""

    name: str
    whole: bool
    """True for a complete call, arguments included."""
    arguments: dict[str, Any] | None = None
    """None where they are incomplete or in an unknown form."""


class ParsedCalls(NamedTuple):
    """The calls after one marker; several where they are a list."""

    calls: tuple[WrittenCall, ...]
    end: int
    """Number of characters up to the end of the calls."""


class Format(NamedTuple):
    """A marker and the format of the call after it."""

    marker: str
    read: Callable[[str], ParsedCalls | None]
    token: bool
    """True if the marker is one token of the model's vocabulary.
    Unlike a tag or a bracket, it does not occur in ordinary text."""


_NAME_KEYS: Final = ("name", "tool_name")
_ARGUMENT_KEYS: Final = ("arguments", "parameters", "args")
_NAMED_OBJECT: Final = re.compile(
    rf'\s*+\[?+\s*+\{{\s*+(?:"tool_call_id"[^,{{}}]*+,\s*+)?+"(?:tool_)?+name"\s*+:\s*+"({NAME})"'
)
_GLM: Final = re.compile(rf"\s*+({NAME})\s*+(<arg_key>|</tool_call>)")
_HUNYUAN: Final = re.compile(rf"\s*+<tool_call>\s*+({NAME})\s*+(<tool_sep>)")
_FUNCTION: Final = re.compile(rf"\s*+<function=({NAME})>")
_FUNCTION_NAME: Final = re.compile(rf"({NAME})>")
_KIMI: Final = re.compile(rf"\s*+(?:functions\.)?+({NAME})\s*+(<\|tool_call_argument_begin\|>|<\|tool_sep\|>)?+")
_DEEPSEEK: Final = re.compile(
    rf"\s*+(?:function<\uff5ctool\u2581sep\uff5c>)?+({NAME})\s*+(<\uff5ctool\u2581sep\uff5c>|```json)?+"
)
_MISTRAL: Final = re.compile(rf"\s*+({NAME})\s*+(?:\[CALL_ID\][A-Za-z0-9]{{1,64}}+)?+(\[ARGS\])?+\s*+(?=\{{)")
_HARMONY: Final = re.compile(rf"({NAME})((?:\s|<\|[a-z]{{1,16}}\|>|json|code|commentary|analysis){{0,24}}+)(?=\{{)")
_INVOKE: Final = re.compile(rf'({NAME})"\s*+/?+>')
_GEMMA: Final = re.compile(rf"\s*+call:({NAME})\s*+(?=\{{)")
_PYTHON: Final = re.compile(rf"\s*+\[?+\s*+(?:print\(\s*+)?+(?:default_api\.)?+({NAME})\(")
_NUMBERED: Final = re.compile(r":\d{1,6}+$")
_PARAMETERS: Final = (
    re.compile(r"<parameter=([^<>\n]{1,128}+)>([^<]*+)</parameter>"),
    re.compile(r'parameter name="([^"\n]{1,128}+)"[^<>]*+>([^<]*+)</'),
    re.compile(r"<arg_key>([^<]{1,128}+)</arg_key>\s*+<arg_value>([^<]*+)</arg_value>"),
)
_DECODER: Final = json.JSONDecoder()


def read_json(text: str) -> tuple[Any, int] | None:
    """Return the JSON value at the start of a text and its end; None without one."""
    at = len(text) - len(text.lstrip())
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    return value, end


def calls_in(value: Any) -> tuple[WrittenCall, ...]:
    """Return the calls that a JSON value consists of; empty for any other value."""
    entries = value if isinstance(value, list) else [value]
    found = [_call_in(entry) for entry in entries]
    return tuple(call for call in found if call is not None) if all(found) else ()


def _call_in(entry: Any) -> WrittenCall | None:
    if isinstance(entry, dict) and isinstance(inner := entry.get("function"), dict):
        entry = inner
    if not isinstance(entry, dict):
        return None
    name = next((entry[key] for key in _NAME_KEYS if isinstance(entry.get(key), str)), None)
    arguments = next((entry[key] for key in _ARGUMENT_KEYS if key in entry), None)
    if isinstance(arguments, str):
        parsed = read_json(arguments)
        return WrittenCall(name, True, parsed[0] if parsed and isinstance(parsed[0], dict) else None) if name else None
    return (
        WrittenCall(name, isinstance(arguments, dict), arguments if isinstance(arguments, dict) else None)
        if name
        else None
    )


def _of_json(text: str, closers: tuple[str, ...] = ()) -> ParsedCalls | None:
    """Read ``{"name": ..., "arguments": {...}}`` or a list of them at the start."""
    parsed = read_json(text)
    if parsed is None:
        found = _NAMED_OBJECT.match(text)
        return (
            ParsedCalls((WrittenCall(found[1], whole=False),), _end(text, found.end(), closers, cut=True))
            if found
            else None
        )
    calls = calls_in(parsed[0])
    return ParsedCalls(calls, _closed(text, parsed[1], closers) or parsed[1]) if calls else None


def _closed(text: str, at: int, closers: tuple[str, ...]) -> int:
    """Return the end of the first closer; 0 without one."""
    return min((place + len(closer) for closer in closers if (place := text.find(closer, at)) >= 0), default=0)


def _end(text: str, at: int, closers: tuple[str, ...], *, cut: bool = False) -> int:
    """Return the end of a call.

    It is after the first closer, else after JSON arguments; of a call that breaks off, the end of the text.

    Args:
        text: from the marker on.
        at: end of the name, or of the whole call.
        closers: the markup that ends the call.
        cut: True if the arguments break off.
    """
    if closed := _closed(text, at, closers):
        return closed
    rest = text[at:].lstrip()
    if rest.startswith(("{", "[")):
        parsed = read_json(text[at:])
        return len(text) if parsed is None else at + parsed[1]
    return len(text) if cut or rest.startswith("<") else at


def _of_header(
    text: str, pattern: re.Pattern[str], closers: tuple[str, ...], whole: Callable[[re.Match[str]], bool]
) -> ParsedCalls | None:
    """Read a call whose name stands in a header before its arguments."""
    found = pattern.match(text)
    if found is None:
        return None
    end = _end(text, found.end(), closers)
    arguments = _arguments(text[found.end() : end])
    return ParsedCalls((WrittenCall(_NUMBERED.sub("", found[1]), whole(found), arguments),), end)


def _arguments(text: str) -> dict[str, Any] | None:
    """Read arguments as JSON, or as elements of one parameter each."""
    parsed = read_json(text)
    if parsed is not None:
        return parsed[0] if isinstance(parsed[0], dict) else None
    for pattern in _PARAMETERS:
        if found := pattern.findall(text):
            return {name.strip(): value.strip() for name, value in found}
    return None


_TAG_CLOSERS: Final = ("</tool_call>",)


def _of_tag(text: str) -> ParsedCalls | None:
    """Read a call after ``<tool_call>``.

    The forms: Hermes' JSON, Qwen3-Coder's ``<function=``, or GLM's name and ``<arg_key>``.
    """
    if _FUNCTION.match(text):
        return _of_header(text, _FUNCTION, ("</tool_call>", "</function>"), lambda _: "</function>" in text)
    if found := _GLM.match(text):
        end = text.find("</tool_call>")
        arguments = _arguments(text[found.end(1) : end if end >= 0 else len(text)])
        closed = end >= 0
        after = end + len("</tool_call>") if closed else len(text)
        return ParsedCalls((WrittenCall(found[1], closed, arguments),), after)
    return _of_json(text, _TAG_CLOSERS)


def _of_function(text: str) -> ParsedCalls | None:
    return _of_header(text, _FUNCTION_NAME, ("</function>", "</tool_call>"), lambda _: "</function>" in text)


def _of_kimi(text: str) -> ParsedCalls | None:
    return _of_header(text, _KIMI, ("<|tool_call_end|>",), lambda found: bool(found[2]))


def _of_deepseek(text: str) -> ParsedCalls | None:
    return _of_header(text, _DEEPSEEK, ("<\uff5ctool\u2581call\u2581end\uff5c>",), lambda found: bool(found[2]))


def _of_mistral(text: str) -> ParsedCalls | None:
    if text.lstrip().startswith("["):
        return _of_json(text)
    return _of_header(text, _MISTRAL, (), lambda found: bool(found[2]))


def _of_harmony(text: str) -> ParsedCalls | None:
    return _of_header(text, _HARMONY, ("<|call|>",), lambda found: "<|" in found[2])


def _of_invoke(text: str) -> ParsedCalls | None:
    return _of_header(text, _INVOKE, ("invoke>",), lambda _: "invoke>" in text)


def _of_grok(text: str) -> ParsedCalls | None:
    return _of_header(text, _INVOKE, ("</xai:function_call>",), lambda _: "</xai:function_call>" in text)


def _of_gemma(text: str) -> ParsedCalls | None:
    """Read ``call:name{key:<escape>value<escape>}``, whose arguments are no JSON."""
    closers = ("<tool_call|>", "<end_function_call>", "}")
    return _of_header(text, _GEMMA, closers, lambda _: any(closer in text for closer in closers))


def _of_tool_calls(text: str) -> ParsedCalls | None:
    if _HUNYUAN.match(text):
        return _of_header(text, _HUNYUAN, ("</tool_calls>",), lambda _: "</tool_call>" in text)
    return _of_json(text, ("</tool_calls>",))


def _of_python(text: str, closers: tuple[str, ...] = ()) -> ParsedCalls | None:
    """Read ``[name(key=value, ...), ...]``, whose arguments are Python literals."""
    found = _PYTHON.match(text)
    if found is None:
        return None
    line_end = text.find("\n", found.end())
    end = _end(text, found.end(), closers, cut=line_end < 0)
    return ParsedCalls(
        (WrittenCall(found[1], whole=")" in text[found.end() :]),), end if end > found.end() else line_end
    )


def _of_llama(text: str) -> ParsedCalls | None:
    return _of_json(text, ("<|python_end|>",)) or _of_python(text, ("<|python_end|>",))


def _closed_by(*closers: str) -> Callable[[str], ParsedCalls | None]:
    return lambda text: _of_json(text, closers)


FORMATS: Final = (
    Format("<|tool_call_begin|>", _of_kimi, True),
    Format("<\uff5ctool\u2581call\u2581begin\uff5c>", _of_deepseek, True),
    Format("<tool_call>", _of_tag, False),
    Format("<function=", _of_function, False),
    Format("[TOOL_CALLS]", _of_mistral, False),
    Format("to=functions.", _of_harmony, False),
    Format('invoke name="', _of_invoke, False),
    Format("<|python_tag|>", _of_llama, True),
    Format("<|python_start|>", _of_llama, True),
    Format("<|START_ACTION|>", _closed_by("<|END_ACTION|>"), True),
    Format("<TOOLCALL>", _closed_by("</TOOLCALL>"), False),
    Format("<|tool_call|>", _closed_by("<|/tool_call|>", "</|tool_call|>"), True),
    Format("<|tool_call>", _of_gemma, True),
    Format("<start_function_call>", _of_gemma, True),
    Format("<tool_calls>", _of_tool_calls, False),
    Format("<|plugin|>", _closed_by("<|action_end|>"), True),
    Format('<xai:function_call name="', _of_grok, False),
)

_THOUGHT: Final = re.compile(r"\s*+<think>.*?</think>", re.DOTALL)
_WHOLE_FENCE: Final = re.compile(
    r"(`{3,}+|~{3,}+)[ \t]*+(?:json|tool_call|xml|python)?+[ \t]*+\n(.*)\n\1\s*+", re.DOTALL
)
_TOOL_CODE: Final = re.compile(r"```tool_code[ \t]*+\n(.*?)\n?```\s*+\Z", re.DOTALL)
_PYTHON_LIST: Final = re.compile(rf"\[\s*+(?:{NAME}\(.*\))\s*+\]", re.DOTALL)
_SHAPE: Final = frozenset({"name", "arguments", "parameters", "type", "id", "function"})
_SCHEMA: Final = frozenset({"type", "properties"})


def plain_calls(text: str) -> Iterator[WrittenCall]:
    """Yield the calls of an answer that is nothing but calls, without any marker.

    These are JSON objects of a name and arguments, alone or in a code block, and Llama 4's list of Python calls. An
    object with other keys is an answer in JSON, and a schema for arguments is a tool's definition.
    """
    body = text[thought.end() :] if (thought := _THOUGHT.match(text)) else text
    body = body.strip()
    if fence := _WHOLE_FENCE.fullmatch(body):
        body = fence[2].strip()
    if _PYTHON_LIST.fullmatch(body):
        yield from (WrittenCall(name, whole=True) for name in re.findall(rf"({NAME})\(", body))
    calls: list[WrittenCall] = []
    while body:
        parsed = read_json(body) if body.startswith(("{", "[")) else None
        if parsed is None or not _is_exact(parsed[0]):
            return
        calls += calls_in(parsed[0])
        body = body[parsed[1] :].lstrip(" \t\r\n;,")
    yield from (call for call in calls if call.arguments is not None)


def tool_code_calls(text: str) -> Iterator[WrittenCall]:
    """Yield the call of an answer that ends with Gemma's block of code for tools."""
    if (block := _TOOL_CODE.search(text)) and (found := _PYTHON.match(block[1])):
        yield WrittenCall(found[1], whole=True)


def _is_exact(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_exact(one) for one in value)
    if not isinstance(value, dict) or not value.keys() <= _SHAPE:
        return False
    inner = value.get("function")
    if isinstance(inner, dict):
        return _is_exact(inner)
    arguments = value.get("arguments", value.get("parameters"))
    return isinstance(arguments, str) or (isinstance(arguments, dict) and not arguments.keys() >= _SCHEMA)

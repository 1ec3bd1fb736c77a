"""Detects tool calls in an answer's text, in markup that a parser should remove.

Formats, from the chat templates published with the models: Kimi K2, Hermes and Qwen, Qwen3-Coder, GLM 4.5 and later,
DeepSeek V3 and V3.1, DeepSeek V3.2 and MiniMax (``invoke``), Mistral, gpt-oss (harmony), Llama 3. A marker alone may
be text about markup. A call has leaked only if the marker is followed by the name of an offered tool, or by a
complete call that ends the answer, and stands outside code. Scans the last ``MOST_CHARS`` of a text, a few times
each; stores no text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from exacto_plugin.core.scoring.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_CHARS: Final = 65_536
"""Characters at the end of a text that are scanned.
A call is the last thing that a model writes before it waits for the result, so the end is enough."""
MOST_MARKERS: Final = 8
"""Occurrences of one marker that are checked.
A model that continues after a lost call repeats it within a few."""
_CALL_CHARS: Final = 16_384
"""Characters after a marker in which a call is read.
With longer arguments the name is still found, and they are not parsed."""

_NAME: Final = r"[A-Za-z0-9_.:/\-]{1,128}+"
_LEADS: Final = ("<", ">", "\uff5c", "commentary", "assistant", "analysis")
"""Ends of other markup on the line before a marker (the words are harmony's)."""
_CLOSERS: Final = ("}", "]", ">")
"""Last characters of a text that ends with markup."""


class _Call(NamedTuple):
    """The call after a marker."""

    name: str
    whole: bool
    """True for a complete call, arguments included."""


_NAMED_OBJECT: Final = re.compile(rf'\s*+\{{\s*+"name"\s*+:\s*+"({_NAME})"')
_GLM: Final = re.compile(rf"\s*+({_NAME})\s*+(<arg_key>|</tool_call>)")
_FUNCTION: Final = re.compile(rf"\s*+<function=({_NAME})>")
_FUNCTION_NAME: Final = re.compile(rf"({_NAME})>")
_KIMI: Final = re.compile(rf"\s*+(?:functions\.)?+({_NAME})\s*+(<\|tool_call_argument_begin\|>)?+")
_DEEPSEEK: Final = re.compile(
    rf"\s*+(?:function<\uff5ctool\u2581sep\uff5c>)?+({_NAME})\s*+(<\uff5ctool\u2581sep\uff5c>|```json)?+"
)
_MISTRAL: Final = re.compile(rf"\s*+({_NAME})\s*+(?:\[CALL_ID\][A-Za-z0-9]{{1,64}}+)?+(\[ARGS\])?+\s*+\{{")
_HARMONY: Final = re.compile(rf"({_NAME})((?:\s|<\|[a-z]{{1,16}}\|>|json|code|commentary|analysis){{0,24}}+)\{{")
_INVOKE: Final = re.compile(rf'({_NAME})"\s*+/?+>')
_NUMBERED: Final = re.compile(r":\d{1,6}+$")


def _of_json(text: str) -> _Call | None:
    """Read ``{"name": ..., "arguments": {...}}`` at the start of a text.

    The object may be followed by other text or be incomplete.
    """
    body = text.partition("</tool_call>")[0].strip()
    try:
        call = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = _NAMED_OBJECT.match(text)
        return _Call(found[1], whole=False) if found else None
    if isinstance(call, list):
        call = call[0] if call else None
    if not isinstance(call, dict) or not isinstance(name := call.get("name"), str):
        return None
    return _Call(name, whole=isinstance(call.get("arguments", call.get("parameters")), dict | str))


def _of_tag(text: str) -> _Call | None:
    """Read a call after ``<tool_call>``.

    The forms: Hermes' JSON, Qwen3-Coder's ``<function=``, or GLM's name and ``<arg_key>``.
    """
    if found := _FUNCTION.match(text):
        return _Call(found[1], whole="</function>" in text)
    if found := _GLM.match(text):
        return _Call(found[1], whole="</tool_call>" in text)
    return _of_json(text)


def _of_function(text: str) -> _Call | None:
    found = _FUNCTION_NAME.match(text)
    return _Call(found[1], whole="</function>" in text) if found else None


def _of_kimi(text: str) -> _Call | None:
    found = _KIMI.match(text)
    return _Call(_NUMBERED.sub("", found[1]), whole=bool(found[2])) if found else None


def _of_deepseek(text: str) -> _Call | None:
    found = _DEEPSEEK.match(text)
    return _Call(found[1], whole=bool(found[2])) if found else None


def _of_mistral(text: str) -> _Call | None:
    if text.lstrip().startswith("["):
        return _of_json(text) or _of_json(text.lstrip()[1:])
    found = _MISTRAL.match(text)
    return _Call(found[1], whole=bool(found[2])) if found else None


def _of_harmony(text: str) -> _Call | None:
    found = _HARMONY.match(text)
    return _Call(found[1], whole="<|" in found[2]) if found else None


def _of_invoke(text: str) -> _Call | None:
    found = _INVOKE.match(text)
    return _Call(found[1], whole="invoke>" in text) if found else None


class _Format(NamedTuple):
    """A marker and the format of the call after it."""

    marker: str
    read: Callable[[str], _Call | None]
    token: bool
    """True if the marker is one token of the model's vocabulary.
    Unlike a tag or a bracket, it does not occur in ordinary text."""


_FORMATS: Final = (
    _Format("<|tool_call_begin|>", _of_kimi, True),
    _Format("<\uff5ctool\u2581call\u2581begin\uff5c>", _of_deepseek, True),
    _Format("<tool_call>", _of_tag, False),
    _Format("<function=", _of_function, False),
    _Format("[TOOL_CALLS]", _of_mistral, False),
    _Format("to=functions.", _of_harmony, False),
    _Format('invoke name="', _of_invoke, False),
    _Format("<|python_tag|>", _of_json, True),
)


def has_leaked_call(text: str, tools: Sequence[object]) -> bool:
    """Check for a tool call in a text that should have been a structured call.

    Args:
        text: the answer's text, of any length.
        tools: the request's tools, in any form.
    """
    end = text[-MOST_CHARS:]
    for form in _FORMATS:
        if form.marker not in end:
            continue
        inside = text.count("```", 0, len(text) - len(end)) % 2 == 1
        for place in _places(end, form.marker):
            if _is_call(form, end, place, tools) and not _is_code(end, place, inside):
                return True
    return False


def _places(text: str, marker: str) -> Iterator[int]:
    place = -1
    for _ in range(MOST_MARKERS):
        place = text.find(marker, place + 1)
        if place < 0:
            return
        yield place


def _is_call(form: _Format, text: str, place: int, tools: Sequence[object]) -> bool:
    """Check for a call after the marker: of an offered tool, or whole and at the end."""
    start = place + len(form.marker)
    call = form.read(text[start : start + _CALL_CHARS])
    if call is None:
        return False
    ends = text.rstrip().endswith(_CLOSERS)
    # Tags and brackets in the middle of a continued sentence are part of the text.
    if find_tool(tools, call.name) is not None:
        return form.token or ends or _begins_line(text, place)
    return call.whole and ends and (form.token or _begins_line(text, place))


def _begins_line(text: str, place: int) -> bool:
    before = text[text.rfind("\n", 0, place) + 1 : place]
    return not before.strip() or before.rstrip().endswith(_LEADS)


def _is_code(text: str, place: int, inside: bool) -> bool:
    """Check for a Markdown fence, backticks, or an indented block around a place."""
    if (text.count("```", 0, place) % 2 == 1) != inside:
        return True
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return line.replace("```", "").count("`") % 2 == 1 or line.startswith(("    ", "\t"))

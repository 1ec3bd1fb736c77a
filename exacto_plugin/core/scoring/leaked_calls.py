"""Detects tool calls in an answer's text that should have been structured calls.

A marker alone may be text about markup. A call has leaked only if the marker is followed by the name of an offered
tool, or by a complete call that ends the answer, and nothing but markup follows in its line; and if it stands outside
code, quotes and lists. A call that also arrived is not lost. Scans the last ``MOST_CHARS`` of a text, a few times each;
stores no text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from exacto_plugin.core.scoring.arguments import InvalidJsonError, parse_json
from exacto_plugin.core.scoring.call_formats import FORMATS, plain_calls, tool_code_calls
from exacto_plugin.core.scoring.limits import UnscorableError
from exacto_plugin.core.scoring.markdown_code import QuotedText
from exacto_plugin.core.scoring.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exacto_plugin.core.scoring.call_formats import Format, ParsedCalls, WrittenCall
    from exacto_plugin.core.scoring.evaluation import ToolCall

MOST_CHARS: Final = 65_536
"""Characters at the end of a text that are scanned.
A call is the last thing that a model writes before it waits for the result, so the end is enough."""
MOST_MARKERS: Final = 8
"""Occurrences of one marker that are checked.
A model that continues after a lost call repeats it within a few."""
_CALL_CHARS: Final = 16_384
"""Characters after a marker in which a call is read.
With longer arguments the name is still found, and they are not parsed."""

_LEADS: Final = ("<", ">", "\uff5c", "commentary", "assistant", "analysis")
"""Ends of other markup on the line before a marker (the words are harmony's)."""
_CLOSERS: Final = re.compile(r"(?:\s|[\]\})>;,`]|</?[^<>\n]{1,64}+>|\[/?[A-Z_]{1,32}+\])*+")
"""Markup that may follow a call."""

_BRACKETS: Final = ("<", "[", "{")
_SIGNS: Final = (
    *_BRACKETS, "```tool_code", *(form.marker for form in FORMATS if not any(one in form.marker for one in _BRACKETS)),
)  # fmt: skip
"""Signs of which every marker and every call without one has at least one."""


class LeakedCall(NamedTuple):
    """A call in a text, without its arguments."""

    call: WrittenCall
    plain: bool = False
    """True for a call without any markup of a model: JSON text."""


def find_leaked_calls(text: str, tools: Sequence[object]) -> Iterator[LeakedCall]:
    """Yield the tool calls in a text that should have been structured calls.

    Args:
        text: the answer's text, of any length.
        tools: the request's tools, in any form.
    """
    end = text[-MOST_CHARS:]
    quoted: QuotedText | None = None
    angled = "<" in end  # in most texts there is none
    for form in FORMATS:
        if ("<" in form.marker and not angled) or form.marker not in end:
            continue
        for place in _places(text, form.marker, len(text) - len(end)):
            read = form.read(text[place + len(form.marker) : place + len(form.marker) + _CALL_CHARS])
            if read is None:
                continue
            stop = place + len(form.marker) + read.end
            quoted = quoted or QuotedText(text)
            if _is_written(form, text, place, stop, read, tools) and not quoted.covers(place, stop):
                yield from (LeakedCall(call) for call in read.calls)
    if len(text) <= _CALL_CHARS:
        plain = [*plain_calls(text), *tool_code_calls(text)]
        yield from (LeakedCall(call, plain=True) for call in plain if find_tool(tools, call.name) is not None)


def may_have_call(text: str) -> bool:
    """Check for a character or a word that every form of a call in a text has.

    Ordinary prose has none of them, and this takes a thirtieth of the search's time.

    >>> may_have_call("It is sunny."), may_have_call('{"name": "f", "arguments": {}}')
    (False, True)
    """
    return any(sign in text for sign in _SIGNS)


def has_leaked_call(text: str, tools: Sequence[object]) -> bool:
    """Check for a tool call in a text that should have been a structured call."""
    return next(find_leaked_calls(text, tools), None) is not None


def lost_calls(leaks: Sequence[LeakedCall], calls: Sequence[ToolCall]) -> list[LeakedCall]:
    """Return the leaked calls that did not arrive.

    A parser may leave the markup of a call in the text, or its beginning, and still convert the call.

    Args:
        leaks: the calls in the answer's text.
        calls: the structured calls of the answer.
    """
    return [leak for leak in leaks if not any(_is_same(leak.call, call) for call in calls)]


def _is_same(written: WrittenCall, call: ToolCall) -> bool:
    """Check that a written call is one that arrived; values may have been converted."""
    if written.name != call.name:
        return False
    if written.arguments is None:
        return True
    arguments = call.arguments
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments)
        except (InvalidJsonError, UnscorableError):
            return True
    return not isinstance(arguments, dict) or _as_text(arguments) == _as_text(written.arguments)


def _as_text(arguments: dict[Any, Any]) -> dict[str, str]:
    return {str(key): str(value).strip().lower() for key, value in arguments.items()}


def _places(text: str, marker: str, begin: int) -> Iterator[int]:
    place = begin - 1
    for _ in range(MOST_MARKERS):
        place = text.find(marker, place + 1)
        if place < 0:
            return
        yield place


def _is_written(form: Format, text: str, place: int, stop: int, read: ParsedCalls, tools: Sequence[object]) -> bool:
    """Check for a call of an offered tool, or a whole one, outside a sentence."""
    after = _CLOSERS.match(text, stop)
    closed = after.end() if after else stop
    ends = closed == len(text) or any(text.startswith(other.marker, closed) for other in FORMATS)
    begins = _begins_line(text, place)
    if any(find_tool(tools, call.name) is not None for call in read.calls):
        return ends or (begins and "\n" in text[stop:closed])
    return closed == len(text) and all(call.whole for call in read.calls) and (form.token or begins)


def _begins_line(text: str, place: int) -> bool:
    before = text[text.rfind("\n", 0, place) + 1 : place]
    return not before.strip() or before.rstrip().endswith(_LEADS)

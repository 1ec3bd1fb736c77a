"""Finds the places of a text where markup is quoted: code, quotes and strings.

Fences follow CommonMark 0.31, section 4.5: three or more backticks or tildes, closed by at least as many, inside
quotes and list items as well. A Markdown parser would read more, but needs up to 0.4 s for 64 kB of nested lists
(markdown-it-py 4.3); this scan is linear.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Final

_FENCE: Final = re.compile(
    r"^(?:[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++)?+)(?P<rail>`{3,}+|~{3,}+)(?P<info>[^\n]*+)$", re.MULTILINE
)
_TICKS: Final = re.compile(r"`++")
_QUOTED_LINE: Final = re.compile(r"[ \t]*+(?:>|\||(?:[-*+]|\d{1,9}[.)])[ \t]|#{1,6} )")
"""Beginning of a line in a quote, a table, a list item or a heading."""
_HTML: Final = ("pre", "code", "details", "blockquote", "samp", "kbd", "textarea")
_QUOTES: Final = "\"'`\u201c\u201d"
_MARKUP_AROUND: Final = re.compile(r"(?:\s|</?[^<>\n]{1,64}+>)*+")
_INLINE_CHARS: Final = 2_000
"""Characters of a paragraph before a place in which backticks are paired."""
_LEAD: Final = re.compile(r"(?:<[^<>\n]{0,64}>?|\b(?:commentary|assistant|analysis)\s*)\Z")
"""The last piece of markup before a call, complete or not; the words are harmony's."""
_LEAD_CHARS: Final = 80
_MOST_LEADS: Final = 6


class QuotedText:
    """The quoted places of one text.

    Args:
        text: of any length.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._edges: list[int] = []
        """Beginnings and ends of fenced blocks, in turns."""
        rail = ""
        for found in _FENCE.finditer(text):
            mark, info = found["rail"], found["info"]
            if not rail and not ("`" in info and mark[0] == "`"):
                rail = mark
                self._edges.append(found.start())
            elif rail and mark[0] == rail[0] and len(mark) >= len(rail) and not info.strip():
                rail = ""
                self._edges.append(found.end())

    def covers(self, start: int, end: int) -> bool:
        """Check that a call at a place is quoted.

        Args:
            start: beginning of the call.
            end: its end.
        """
        return (
            bisect_right(self._edges, start) % 2 == 1
            or self._is_in_line(start)
            or self._is_in_html(start, end)
            or self._is_in_string(start, end)
        )

    def _is_in_line(self, start: int) -> bool:
        """Check for backticks around a place, an indented block, or a quoting line."""
        text = self._text
        line = text[text.rfind("\n", 0, start) + 1 : start]
        if line.startswith(("    ", "\t")) or _QUOTED_LINE.match(line):
            return True
        if line.count("`") % 2 == 1:
            return True
        blank = text.rfind("\n\n", 0, start)
        begins = max(0 if blank < 0 else blank + 2, start - _INLINE_CHARS)
        opened = ""
        for ticks in _TICKS.finditer(text, begins, start):
            opened = "" if ticks[0] == opened else opened or ticks[0]
        return bool(opened) and text.find(opened, start, start + _INLINE_CHARS) >= 0

    def _is_in_html(self, start: int, end: int) -> bool:
        """Check for an HTML element of code or details around a place."""
        text = self._lowered
        return any(
            text.rfind(f"<{name}", 0, start) > text.rfind(f"</{name}", 0, start) and text.find(f"</{name}", end) >= 0
            for name in _HTML
        )

    @cached_property
    def _lowered(self) -> str:
        return self._text.lower()

    def _is_in_string(self, start: int, end: int) -> bool:
        """Check for a string literal that holds the call and its section."""
        before = self._text[max(0, start - _INLINE_CHARS) : start].rstrip()
        for _ in range(_MOST_LEADS):
            lead = _LEAD.search(before, max(0, len(before) - _LEAD_CHARS))
            if lead is None:
                break
            before = before[: lead.start()].rstrip()
        around = _MARKUP_AROUND.match(self._text, end)
        after = self._text[around.end() if around else end :][:1]
        return bool(before) and bool(after) and before[-1] in _QUOTES and after in _QUOTES

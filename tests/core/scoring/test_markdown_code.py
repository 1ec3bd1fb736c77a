"""Fences are found as CommonMark finds them; what a Markdown parser says is the measure."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from exacto_plugin.core.scoring.markdown_code import QuotedText

MARK = "MARK"
QUOTED = (
    "~~~\nMARK\n~~~",
    "````md\n```\nMARK\n```\n````",
    "````\n```\ntext\n```\nMARK\n````",
    "- item\n\n  ```\n  MARK\n  ```",
    "> ```\n> MARK\n> ```",
    "> MARK",
    "    MARK",
    "`` `MARK` ``",
    "`a\nMARK b`",
    "<pre>\nMARK\n</pre>",
    "<PRE class='x'>MARK</PRE>",
    "<code>MARK</code>",
    "<details>\n<summary>How</summary>\nMARK\n</details>",
    "* MARK",
    "1. MARK",
    "| MARK | x |",
    "### MARK",
    'text = "MARK"',
    'text = """\nMARK\n"""',
    "text = '<b>MARK</b>'",
)
WRITTEN = (
    "MARK",
    "Let me look.\nMARK",
    "```\ncode\n```\nMARK",
    "~~~\ncode\n~~~~\nMARK",
    "```py\ncode ``` more\n```\nMARK",
    "`code` and\nMARK",
    "<pre>code</pre>\nMARK",
    "<code>MARK",
    "He said \"yes\". MARK",
    "- item\n\nMARK",
    "~~~\n```\n~~~\nMARK",
)  # fmt: skip


def quoted(text: str) -> bool:
    """Whether the mark in a text is quoted."""
    start = text.index(MARK)
    return QuotedText(text).covers(start, start + len(MARK))


@pytest.mark.parametrize("text", QUOTED)
def test_quoted_places(text: str) -> None:
    """Code, quotes, list items, tables, elements of HTML, and strings of a program."""
    assert quoted(text)


@pytest.mark.parametrize("text", WRITTEN)
def test_other_places(text: str) -> None:
    """What stands beside them, or after them, is no quote."""
    assert not quoted(text)


LINES = st.sampled_from(
    ["```", "````", "~~~", "~~~~", "```json", "~~~ x", "``` a`b", "text", "", "`` ` ``", " ```", "   ~~~"]
)


@given(st.lists(LINES, max_size=12), st.lists(LINES, max_size=6))
def test_fences_are_those_of_a_markdown_parser(before: list[str], after: list[str]) -> None:
    """Whether a line is inside a fence does not depend on what is beside the fence."""
    text = "\n".join([*before, "", MARK, "", *after])
    fences = [token for token in MarkdownIt("commonmark").parse(text) if token.type == "fence"]
    inside = any(MARK in fence.content for fence in fences)
    start = text.index(MARK)
    edges = QuotedText(text)._edges
    assert (sum(edge <= start for edge in edges) % 2 == 1) is inside


@pytest.mark.parametrize("unit", ["`", "~~~\n", "```\n", " ", "> ", "- ", "<pre", "<", '"', "a\n", "1. "])
def test_hostile_texts_cost_little(unit: str) -> None:
    """A megabyte of one unit is read in far less than a second."""
    text = unit * (1_000_000 // len(unit)) + MARK
    began = time.process_time()
    quoted(text)
    assert time.process_time() - began < 1.0

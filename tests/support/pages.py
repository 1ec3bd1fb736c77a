"""The documentation as data: pages, blocks of code, the commands in them, and what is set in code within sentences."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
}
"""Markdown by its path: README, CHANGELOG, CONTRIBUTING and docs/."""

_BLOCK: Final = re.compile(
    r"^(?:(?P<mark> *<!-- not run: (?P<reason>[^\n]+?) -->)\n)?(?P<indent> *)```(?P<language>\w*)\n"
    r"(?P<body>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_SHELL: Final = ("bash", "console")


class Block(NamedTuple):
    """One block of code."""

    page: str
    language: str
    body: str
    reason: str
    """Why no test runs it, from the comment ``<!-- not run: REASON -->`` above it; empty: a test does."""

    @property
    def name(self) -> str:
        """The page and the first line."""
        return f"{self.page}: {self.body.strip().partition(chr(10))[0]}"


BLOCKS: Final = tuple(
    Block(path, found["language"], textwrap.dedent(found["body"]), found["reason"] or "")
    for path, text in PAGES.items()
    for found in _BLOCK.finditer(text)
)
"""Every block of code, in the order of pages and within a page."""


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block for the shell, as words; of a session those behind its prompt.

    Pipes and lists are taken apart. A comment begins a line, or has two spaces before it.
    """
    text = re.sub(r"(^|  )# .*$", "", block.body.replace("\\\n", " "), flags=re.MULTILINE)
    if block.language == "console":
        text = "\n".join(line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ "))
    words = shlex.shlex(text, posix=True, punctuation_chars="|&;<>\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t\r", True, ""
    command: list[str] = []
    for word in [*words, "\n"]:
        if set(word) <= set("|&;\n"):
            if command:
                yield command
            command = []
        else:
            command.append(word)


def inline_code(text: str) -> list[str]:
    """What stands in backticks within sentences and tables, without the blocks."""
    return [found.replace("\\|", "|") for found in re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))]


def shell_blocks() -> list[Block]:
    """The blocks of commands."""
    return [block for block in BLOCKS if block.language in _SHELL]

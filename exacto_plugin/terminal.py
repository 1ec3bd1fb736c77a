"""Output of the command line: nothing that controls a terminal or forges a line.

Names come from clients, providers and servers. A terminal obeys control characters and escape sequences in them, and
shows text under bidirectional overrides in another order; these are shown escaped.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

_KEPT_IN_TEXT = "\n\t"


def printable(text: str) -> str:
    """Return one line of text with every character escaped that is not printable.

    Newlines are escaped too. ``str.isprintable`` decides: controls, formats such as bidirectional overrides, surrogates
    and other line and paragraph separators are not printable.
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def printable_data(value: Any) -> Any:
    """Return plain data with all of its strings and keys printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_data(key): printable_data(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [printable_data(one) for one in value]
    return value


def json_text(value: Any) -> str:
    """Return JSON of printable ASCII: ``json`` leaves only DEL unescaped."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def printable_text(text: str) -> str:
    """Return text of several lines with every character escaped that is not printable.

    Newlines and tabs stay.
    """
    return "".join(one if one.isprintable() or one in _KEPT_IN_TEXT else _escaped(one) for one in text)


def encodable(text: str, stream: TextIO) -> str:
    """Return text with the characters escaped that a stream's encoding lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def write_text(text: str, stream: TextIO | None = None) -> None:
    """Write lines to the terminal, each of them printable.

    All output of the command line passes here, or through ``text_tables.write_tables``.

    Args:
        text: of several lines; names in it are printable, so that they cannot begin a line.
        stream: None: the standard output.
    """
    stream = sys.stdout if stream is None else stream
    stream.write(encodable(printable_text(text), stream) + "\n")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

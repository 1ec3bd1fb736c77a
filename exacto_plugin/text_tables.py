"""Tables and lines for a terminal, in colour where it shows any.

Cells and titles are data: nothing in them is interpreted as markup, an emoji or a number to colour, and each is
printable. Colours are those of a cell's style alone.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.color import ColorSystem
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from exacto_plugin.terminal import encodable, printable, printable_text, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from rich.console import ConsoleOptions, RenderableType, RenderResult

_PIPED_COLUMNS: Final = 100
"""Width where there is neither a terminal nor ``COLUMNS``."""


_FOLDED: Final = 10
"""Least columns of a cell that may be folded."""


_BOUND: Final = "\ue000"
"""Stands for a space at which no line may end, until the lines are made.

Not printable, so that no cell has it otherwise."""


def _bound(text: str) -> str:
    """Return text in which no line ends between a number and its per cent sign."""
    return re.sub(r"(?<=\d) (?=%)", _BOUND, text)


class DataTable(Table):
    """A table whose cells and titles are data: each is printable.

    Where its columns do not fit, every row is a list of its cells under the first one, so that none is lost.
    """

    def __init__(self, *, title: str | None = None, **more: Any) -> None:
        super().__init__(title=None if title is None else printable(title), **more)

    def add_row(self, *cells: str | Text) -> None:  # type: ignore[override]
        """Add a row of texts; one with a colour is made by ``colored``."""
        super().add_row(*(cell if isinstance(cell, Text) else _bound(printable(cell)) for cell in cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as a table, or as lists where the console is too narrow."""
        edges = 2 * (len(self.columns) - 1) if self.box is None else 3 * len(self.columns) + 1
        widths = _widths([_extent(one) for one in self.columns], options.max_width - edges)
        if not self.rows or widths is not None:
            self._fix(widths or [])
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title))
        first, *others = self.columns
        for row, name in enumerate(first.cells):
            yield name
            cells = Table.grid(padding=(0, 2, 0, 0))
            cells.add_column(no_wrap=True)
            cells.add_column(overflow="fold")
            for column in others:
                cells.add_row(f"  {column.header}", list(column.cells)[row])
            yield cells

    def _fix(self, widths: Sequence[int]) -> None:
        """Set the columns' widths.

        Those that rich finds by itself can add up to more than there is room for; it cuts the lines off then.
        """
        edges = (0, len(widths) - 1) if self.box is None else ()
        for at, (column, width) in enumerate(zip(self.columns, widths, strict=False)):
            # rich adds both paddings to a column's width, also where an edge has none.
            column.width = width - edges.count(at)
            if not column.no_wrap:
                column.overflow = "fold"


class _Extent(NamedTuple):
    """Columns of a terminal that a table's column can take."""

    least: int
    """Every cell is whole in it, folded where it may be."""
    words: int
    """No word is folded."""
    widest: int
    """Nothing is wrapped."""


def _extent(column: Column) -> _Extent:
    cells = [Measurement.get(_MEASURING, _MEASURING.options, one) for one in (column.header, *column.cells)]
    words, widest = (max(getattr(one, name) for one in cells) for name in ("minimum", "maximum"))
    if column.no_wrap:
        return _Extent(widest, widest, widest)
    least = min(widest, column.min_width or _FOLDED)
    return _Extent(least, max(least, words), widest)


def _widths(extents: Sequence[_Extent], room: int) -> list[int] | None:
    """Return the width of each column; None where there is no room for the least ones.

    What is left goes to words that would be folded, then to cells that would be wrapped; those that need the least
    more come first, so that few are.

    >>> _widths([_Extent(10, 17, 20), _Extent(4, 4, 4), _Extent(10, 12, 60)], 54)
    [20, 4, 30]
    >>> _widths([_Extent(10, 17, 20), _Extent(4, 4, 4), _Extent(10, 12, 60)], 23) is None
    True
    """
    widths = [one.least for one in extents]
    left = room - sum(widths)
    if left < 0:
        return None
    for aims in ([one.words for one in extents], [one.widest for one in extents]):
        wanted = sorted((aim - width, at) for at, (aim, width) in enumerate(zip(aims, widths, strict=True)))
        for number, (more, at) in enumerate(wanted):
            given = min(more, left // (len(wanted) - number))
            widths[at] += given
            left -= given
    return widths


_MEASURING: Final = Console(file=StringIO(), width=10_000, color_system=None, markup=False, emoji=False)


class PlainTable(DataTable):
    """A table without lines, which fits more into a narrow terminal."""

    def __init__(self) -> None:
        super().__init__(box=None, pad_edge=False, header_style="dim")


def wrapped(text: str, width: int) -> Text:
    """Return a cell that is wrapped at words, and in longer paths after a slash.

    >>> wrapped("kept in /var/lib/exacto/records.sqlite", 16).plain.split("\\n")
    ['kept in', '/var/lib/exacto/', 'records.sqlite']
    """
    lines = [""]
    for word in printable(text).split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) <= width:
            lines[-1] = joined
            continue
        lines += [""] if lines[-1] else []
        for part in re.findall(r"[^/]*/|[^/]+", word):
            lines += [""] if lines[-1] and len(lines[-1]) + len(part) > width else []
            lines[-1] += part
    return Text("\n".join(lines))


def heading(text: str) -> Text:
    """Return the line above a table."""
    return colored(text, "bold")


def colored(text: str, style: str) -> Text:
    """Return a cell in a colour; without a terminal the text alone is shown."""
    return Text(printable(text), style)


def terminal_width() -> int:
    """Return the columns of ``COLUMNS``, else of the terminal, else 100."""
    return shutil.get_terminal_size((_PIPED_COLUMNS, 24)).columns


def shows_colors(stream: TextIO) -> bool:
    """Check for a terminal with colours; a non-empty ``NO_COLOR`` turns them off."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def render_tables(*shown: RenderableType, width: int | None = None, color: bool = False) -> str:
    """Return tables and lines as text, wrapped at words.

    Args:
        shown: one below the other.
        width: in columns; None: the terminal's.
        color: with the escape sequences of the cells' styles, and of nothing else.
    """
    columns = terminal_width() if width is None else width
    console = Console(file=StringIO(), width=columns, color_system=None, markup=False, emoji=False, highlight=False)
    lines = []
    for one in shown:
        for line in console.render_lines(_bound(one) if isinstance(one, str) else one, pad=False):
            last = max((at for at, part in enumerate(line) if part.text.strip()), default=-1)
            parts = [
                part._replace(text=part.text.rstrip() if at == last else part.text) for at, part in enumerate(line)
            ]
            lines.append("".join(_segment(part.text, part.style if color else None) for part in parts[: last + 1]))
    return "\n".join(lines).rstrip()


def _segment(text: str, style: Any) -> str:
    safe = printable_text(text.replace(_BOUND, " "))
    return safe if style is None else str(style.render(safe, color_system=ColorSystem.STANDARD))


def write_tables(*shown: RenderableType, stream: TextIO | None = None) -> None:
    """Write tables and lines to the terminal.

    Every text is printable, whatever it holds; escape sequences are those of styles.

    Args:
        shown: one below the other.
        stream: None: the standard output.
    """
    stream = sys.stdout if stream is None else stream
    stream.write(encodable(render_tables(*shown, color=shows_colors(stream)), stream) + "\n")


def write_message(text: str) -> None:
    """Write a message to the standard error, as wide as the terminal.

    In one line where there is neither a terminal nor ``COLUMNS``, so that a log has it whole.
    """
    if sys.stderr.isatty() or os.environ.get("COLUMNS"):
        write_tables(text, stream=sys.stderr)
    else:
        write_text(text, sys.stderr)


_BUSY: Final[list[str]] = []


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show that something takes time, on a terminal's standard error only.

    Inside another one, that one stays.
    """
    if _BUSY or not sys.stderr.isatty():
        yield
        return
    _BUSY.append(text)
    try:
        with Console(stderr=True, highlight=False, markup=False).status(Text(printable(text))):
            yield
    finally:
        _BUSY.clear()

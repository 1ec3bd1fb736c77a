"""Rendering of tables as text.

Cells and titles are data: nothing in them is interpreted as markup, an emoji or a number to colour, and each is
printable.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from exacto_plugin.terminal import printable

if TYPE_CHECKING:
    from rich.console import RenderableType


class DataTable(Table):
    """A table whose cells and titles are data: each is printable."""

    def __init__(self, *, title: str | None = None, **more: Any) -> None:
        super().__init__(title=None if title is None else printable(title), **more)

    def add_row(self, *cells: str) -> None:  # type: ignore[override]
        """Add a row of texts."""
        super().add_row(*map(printable, cells))


def render_tables(*shown: RenderableType, width: int | None = None) -> str:
    """Return tables and lines as plain text.

    Args:
        shown: one below the other.
        width: in columns; None: the terminal's.
    """
    buffer = StringIO()
    console = Console(file=buffer, width=width, color_system=None, markup=False, emoji=False, highlight=False)
    for one in shown:
        console.print(one)
    return "\n".join(line.rstrip() for line in buffer.getvalue().rstrip().splitlines())

"""Rendering of tables as text.

Cells and titles are data: nothing in them is interpreted as markup, an emoji or a number to colour.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType


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

"""What tables make of names and reasons that look like something else."""

from __future__ import annotations

import pytest
from rich.table import Table

from exacto_plugin.text_tables import PlainTable, render_tables


@pytest.mark.parametrize("text", ["see [/ticket-7]", "[red]bold[/red]", "[eu]west", ":warning: 12.5", "\\[x]"])
def test_data_is_printed_as_it_is(text: str) -> None:
    """In a title, a heading, a cell and a line: no markup, no emoji, and no error."""
    table = Table(text, title=text)
    table.add_row(text)
    told = render_tables(table, text, width=60)
    assert told.count(text) == 4
    assert all(line == line.rstrip() for line in told.splitlines())


@pytest.mark.parametrize("width", [30, 40, 60, 100])
def test_no_cell_is_lost(width: int) -> None:
    """A terminal that is too narrow for the columns shows every cell below the other."""
    table = PlainTable()
    table.add_column("deployment", overflow="fold", min_width=10)
    for name in ("tier", "success", "calls"):
        table.add_column(name, no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=12)
    table.add_row("fireworks", "undecided", "99.57 %", "1234", "calls tools unusually often")
    told = render_tables(table, width=width)
    assert max(map(len, told.splitlines())) <= width
    words = told.split()
    for word in ("deployment fireworks" if width == 100 else "fireworks").split():
        assert word in words
    for word in ["tier", "undecided", "success", "99.57", "%", "calls", "1234", "verdict", "unusually", "often"]:
        assert word in words

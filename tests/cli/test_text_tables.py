"""What tables make of names and reasons that look like something else."""

from __future__ import annotations

import pytest
from rich.table import Table

from exacto_plugin.text_tables import render_tables


@pytest.mark.parametrize("text", ["see [/ticket-7]", "[red]bold[/red]", "[eu]west", ":warning: 12.5", "\\[x]"])
def test_data_is_printed_as_it_is(text: str) -> None:
    """In a title, a heading, a cell and a line: no markup, no emoji, and no error."""
    table = Table(text, title=text)
    table.add_row(text)
    told = render_tables(table, text, width=60)
    assert told.count(text) == 4
    assert all(line == line.rstrip() for line in told.splitlines())

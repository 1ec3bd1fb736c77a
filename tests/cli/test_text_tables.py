"""What tables make of names and reasons that look like something else."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.table import Table

from exacto_plugin.cli.command import main
from exacto_plugin.text_tables import PlainTable, busy, render_tables

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.parametrize("width", range(30, 60))
def test_nothing_is_cut_at_any_width(width: int) -> None:
    """The least widths of the first and the last column are room that the table takes."""
    table = PlainTable()
    table.add_column("what", min_width=11)
    table.add_column("calls", no_wrap=True)
    table.add_column("difference", no_wrap=True)
    table.add_row("expected bad calls", "1234567", "-300.1 to -233.0")
    told = render_tables(table, width=width)
    assert max(map(len, told.splitlines())) <= width
    assert {"expected", "bad", "calls", "1234567", "difference", "-300.1", "to", "-233.0"} <= set(told.split())


@pytest.mark.parametrize("width", range(20, 60))
def test_a_number_and_its_unit_are_not_torn(width: int) -> None:
    """Neither in a cell nor in a line, however wide it is."""
    table = PlainTable()
    table.add_column("when", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_row("18:45", "insufficient data to deranked: 79.4 % against 97.86 % (212 calls)")
    told = render_tables(table, "of them 12.5 % are bad, and 3 % of those are bad twice", width=width)
    for number in ("79.4 %", "97.86 %", "12.5 %", "3 %"):
        assert number in told


WORDS = st.lists(
    st.sampled_from(["a", "95.44 %", "data", "insufficient", "moonshot-ai-turbo", "\u795e"]), min_size=1, max_size=9
)


@given(
    rows=st.integers(1, 5).flatmap(
        lambda columns: st.lists(st.lists(WORDS, min_size=columns, max_size=columns), min_size=1, max_size=3)
    ),
    least=st.lists(st.none() | st.integers(1, 20), min_size=5, max_size=5),
    whole=st.lists(st.booleans(), min_size=5, max_size=5),
    width=st.integers(50, 100),
)
def test_no_character_is_lost(
    rows: list[list[list[str]]], least: list[int | None], whole: list[bool], width: int
) -> None:
    """Whatever the cells and the least widths are, and however columns and gaps add up."""
    table = PlainTable()
    for at in range(len(rows[0])):
        # A short whole column, as numbers are; a long one would not fit in any way.
        table.add_column(f"c{at}", min_width=least[at], no_wrap=whole[at] and all(len(row[at]) == 1 for row in rows))
    for row in rows:
        table.add_row(*(" ".join(cell) for cell in row))
    told = render_tables(table, width=width)
    assert max(cell_len(line) for line in told.splitlines()) <= width
    cells = Counter("".join(word for row in rows for cell in row for word in cell))
    assert not cells - Counter(told) - Counter({" ": cells.total()})


def test_the_word_of_a_threshold_in_tiers() -> None:
    """The table of ``exacto tiers`` at 80 columns lost per cent signs where columns and their least widths added up."""
    table = PlainTable()
    table.add_column("deployment", overflow="fold", min_width=10)
    table.add_column("tier", min_width=12)
    for name in ("for", "success", "calls"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold", min_width=16)
    table.add_row("moonshot-ai-turbo", "insufficient data", "1 min 7 s", "100.0 %", "143", "threshold 95.44 %")
    for width in range(60, 100):
        assert render_tables(table, width=width).count("%") == 2


class _Terminal(StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_waiting_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, by the outer of two; and nothing where the output is a file."""
    for stream, shown in ((_Terminal(), True), (StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        with busy("reading [/the] store ..."), busy("asking ..."):
            pass
        assert ("reading [/the] store ..." in stream.getvalue()) is shown
        assert "asking" not in stream.getvalue()


@pytest.mark.parametrize("verb", ["tiers", "report", "audit"])
def test_reading_and_asking_are_shown(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy or a store that takes its time is named while it is waited for."""
    monkeypatch.setenv("EXACTO_API_KEY", "sk-none")
    for source, said in (
        (("--url", "http://127.0.0.1:9"), "asking http://127.0.0.1:9"),
        (("--store", f"sqlite:///{tmp_path}/none.sqlite"), "reading the store"),
    ):
        stream = _Terminal()
        monkeypatch.setattr("sys.stderr", stream)
        assert main([verb, *source]) == 2
        assert said in stream.getvalue()

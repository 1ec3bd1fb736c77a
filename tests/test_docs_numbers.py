"""Numbers of README and of the pages for a decision stand in the results that they name, in the present rule's part."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import PAGES, ROOT

RESULTS = ROOT / "benchmarks" / "results"
LIMITS = re.compile(r"^R = (\d+) requests a minute$", re.MULTILINE)
CELL = re.compile(r"([\d.]+)% x([\d.]+) \(")


def present(name: str) -> str:
    """A result without the baseline of the former rule."""
    return (RESULTS / f"{name}.txt").read_text(encoding="utf-8").partition("\nBASELINE")[0]


def populations() -> dict[tuple[str, str], tuple[tuple[str, str], tuple[str, str]]]:
    """Bad calls and cost of ``none`` and ``adaptive``, by population and requests a minute."""
    found = {}
    _, *parts = LIMITS.split(present("verdicts"))
    for rpm, table in zip(parts[::2], parts[1::2], strict=True):
        for line in table.splitlines():
            cells = CELL.findall(line)
            if len(cells) == 4:
                found[line.split()[0], rpm] = cells[0], cells[3]
    return found


POPULATIONS = populations()
ROWS = [
    pytest.param(path, line, id=f"{path}-{number}")
    for path in ("README.md", "docs/explanation/benefit.md")
    for number, line in enumerate(PAGES[path].splitlines(), start=1)
    if re.search(r"`[a-z0-9.-]+`(?:, R = \d+|\))? \| [\d.]+ % \|", line)
]


def test_all_populations_are_read() -> None:
    """23 populations at each of three rates, and the rows of both pages."""
    assert len(POPULATIONS) == 3 * 23
    assert len(ROWS) == 4 + 13


@pytest.mark.parametrize(("path", "line"), ROWS)
def test_a_row_is_that_of_the_populations(path: str, line: str) -> None:
    """Bad calls without and with the plugin, and spend."""
    (name,) = re.findall(r"`([a-z0-9.-]+)`", line)
    rate = re.search(r"R = (\d+)", line)
    *_, without, bad, spend, _ = (cell.strip() for cell in line.split("|"))
    none, adaptive = POPULATIONS[name, rate[1] if rate else "100"]
    assert (without, bad, spend) == (f"{none[0]} %", f"{adaptive[0]} %", f"x{adaptive[1]}"), path


@pytest.mark.parametrize("path", ["README.md", "docs/explanation/benefit.md", "docs/explanation/comparison.md"])
def test_the_range_of_spend_has_the_worst_row(path: str) -> None:
    """Of all rows at a rate, or at every rate."""
    costs = {
        rpm: [float(adaptive[1]) for (_, of), (_, adaptive) in POPULATIONS.items() if of == rpm]
        for rpm in ("100", "10", "1")
    }
    ranges = {rpm: f"x{min(of):.2f} to x{max(of):.2f}" for rpm, of in costs.items()}
    every = [cost for of in costs.values() for cost in of]
    text = " ".join(PAGES[path].split())
    if path == "README.md":
        assert f"x{min(every):.2f} to x{max(every):.2f}" in text
    else:
        assert f"{ranges['100']} on all rows" in text
        assert f"{ranges['10']} at 10, {ranges['1']} at one" in text


QUOTES = [
    ("routing_quality", "README.md", ("1.31 %", "0.14 %", "25.3 at 10")),
    ("routing_quality", "docs/explanation/benefit.md", ("1.31 %", "0.53 %", "0.26 %", "0.14 %")),
    ("routing_quality", "docs/explanation/benefit.md", ("25.3 h", "12.1 h", "13.6 h", "11.3 h")),
    ("routing_quality", "docs/explanation/benefit.md", ("x1.10 ±0.07", "x1.13 ±0.07")),
    ("routing_quality", "docs/explanation/benefit.md", ("4.4 / 6.6 h", "40 / 85 min", "15 / 25 min")),
    ("routing_quality", "docs/explanation/comparison.md", ("1.31 %", "0.14 %", "25.3 h", "12.1 h")),
    ("routing_quality", "README.md", ("12.1 to",)),
    ("way_back", "README.md", ("15.2 hours", "22.2 to")),
    ("way_back", "docs/explanation/comparison.md", ("14.8 h", "30 of 31", "15.2 h", "22.2, 22.4")),
    ("way_back", "docs/explanation/benefit.md", ("12.62 ±2.76 %", "0.26 ±0.03 %", "x1.093 ±0.136")),
    ("verifier", "README.md", ("156 at 1",)),
    ("verifier", "docs/explanation/comparison.md", ("156 h",)),
    ("refusals", "README.md", ("0.04 %",)),
    ("refusals", "docs/explanation/comparison.md", ("0.04 %", "0.47 %")),
    ("rescue", "docs/how-to/rescue.md", ("53 of 576", "6 of 556")),
    ("broken_verdicts", "docs/explanation/faults.md", ("0.28",)),
    ("memory", "docs/explanation/comparison.md", ("405 MB instead of 360", "0.653 % of a core instead of 0.199")),
]  # fmt: skip
"""A result, a page that quotes it, and what it says."""


@pytest.mark.parametrize(("result", "path", "quotes"), QUOTES)
def test_a_quoted_number_stands_in_its_result(result: str, path: str, quotes: tuple[str, ...]) -> None:
    """Each number of a quotation is one of the file's, and the page still says it."""
    text, kept = " ".join(PAGES[path].split()), present(result)
    for quote in quotes:
        assert quote in text, quote
        for number in re.findall(r"\d+(?:\.\d+)?", quote):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?:\.0)?(?!\.?\d)", kept), quote


def test_the_picture_is_quoted() -> None:
    """Bad calls of the demonstration on the page of cases are those in README's picture."""
    for number in ("10.31 %", "0.20 %", "0.04 to 1.12 %"):
        assert number in PAGES["README.md"]
        assert number in PAGES["docs/explanation/benefit.md"]

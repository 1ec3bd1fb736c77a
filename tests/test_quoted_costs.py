"""The costs that the documentation quotes are those of the kept results of the benchmarks."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from tests.support.pages import PAGES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

RESULTS = ROOT / "benchmarks" / "results"
COSTS = PAGES["docs/explanation/costs.md"]
COMPARISON = PAGES["docs/explanation/comparison.md"]

MEASURES = {
    "processor time, 50 tools": "ms of processor time, 50 tools",
    "processor time, no tools": "ms of processor time, no tools",
    "first byte of a stream, 50 tools": "ms to the first byte of a stream, 50 tools",
    "first byte of a stream, no tools": "ms to the first byte of a stream, no tools",
    "requests a second, 8 connections": "requests a second, 8 connections",
}
"""Row of the page, and title of its table in the results."""

Table = dict[str, tuple[Decimal, Decimal]]
"""Median and ratio of each proxy."""


def request_path() -> dict[str, dict[str, Table]]:
    """Return the tables of the kept runs by version of LiteLLM and title."""
    found: dict[str, dict[str, Table]] = {}
    version = title = ""
    for line in (RESULTS / "request_path.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("LATER"):  # other runs, on a busy machine
            break
        if line.startswith("LiteLLM "):
            version = line.removeprefix("LiteLLM ")
        elif heading := re.fullmatch(r"(\S.*?)\s+median\s+ratio\s+q1\s+q3", line):
            title = heading[1]
        elif row := re.fullmatch(r"  (\S.*?)\s+([\d.]+)\s+([\d.]+)\s+[\d.]+\s+[\d.]+", line):
            found.setdefault(version, {}).setdefault(title, {})[row[1]] = (Decimal(row[2]), Decimal(row[3]))
    return found


def rows_of(page: str, first: str) -> list[list[str]]:
    """Return the cells of the page's table whose head begins so, head first."""
    lines = page.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(first))
    table = lines[begin : next(number for number in range(begin, len(lines)) if not lines[number].startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table if not line.startswith("|---")]


def rounded(value: Decimal, digits: int) -> str:
    """Return a number as it is quoted."""
    return str(value.quantize(Decimal(10) ** -digits, ROUND_HALF_UP))


def spread(values: Iterable[Decimal], digits: int) -> tuple[str, str]:
    """Return the least and the greatest value as they are quoted."""
    known = sorted(values)
    return rounded(known[0], digits), rounded(known[-1], digits)


def test_every_ratio_of_the_page_is_the_kept_one() -> None:
    kept = request_path()
    head, *rows = rows_of(COSTS, "| | LiteLLM ")
    versions = [cell.removeprefix("LiteLLM ") for cell in head[1:-1]]
    assert versions == list(kept)
    assert rows
    for name, *cells, again in rows:
        tables = [kept[version][MEASURES[name]] for version in versions]
        assert cells == [f"x{table['with the plugin'][1]:.3f}" for table in tables], name
        assert again == "x{} to x{}".format(*spread((table["bare again"][1] for table in tables), 2)), name


def test_the_milliseconds_of_the_page_are_the_kept_ones() -> None:
    added = [
        table["with the plugin"][0] - table["bare"][0]
        for tables in request_path().values()
        for title, table in tables.items()
        if title.startswith("ms of processor time")
    ]
    assert "{} to {} ms of processor time a request".format(*spread(added, 1)) in COSTS


def test_the_comparison_quotes_the_same_run() -> None:
    kept = request_path().values()
    (row,) = (cells for cells in rows_of(COMPARISON, "| | how much |") if cells[0] == "time")
    for title, name, quoted in (
        (MEASURES["processor time, 50 tools"], "with the plugin", "x{} to x{} of the proxy's processor time"),
        (MEASURES["requests a second, 8 connections"], "with the plugin", "{} to {} of the requests a second"),
    ):
        assert quoted.format(*spread((tables[title][name][1] for tables in kept), 2)) in row[1]


def test_the_own_work_of_the_page_is_the_kept_one() -> None:
    results = (RESULTS / "overhead.txt").read_text(encoding="utf-8")
    kept = re.findall(r"^own work, gross +[\d.]+ +[\d.]+ +[\d.]+ +([\d.]+)$", results, re.MULTILINE)
    with_tools, without, *_ = (rounded(Decimal(ratio) * 100, 1) for ratio in kept)
    assert f"{with_tools} % with 50 tools and {without} % without" in COSTS

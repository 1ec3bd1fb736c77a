"""What fails a run: everything that is neither right nor known to be off; and what the page says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.compat import known_off
from tests.compat.cells import Cell
from tests.compat.contract.check import Contract
from tests.compat.environments import Environment
from tests.compat.page import page
from tests.compat.plan import Line
from tests.compat.rows import ROWS
from tests.compat.versions import LISTED, newer

PLACE = Environment(Path("python"), "its proxy extra", (), ("exacto-plugin 0.1.0",))


def row(name: str, status: str, *, lucky: bool = False) -> dict[str, Any]:
    return {"name": name, "status": status, "lucky": lucky, "note": "a note"}


def cell(*rows: dict[str, Any], version: str = "1.110.2", place: Environment = PLACE) -> Cell:
    return Cell(version, "3.11.2", place, rows)


@pytest.fixture(autouse=True)
def one_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_off, "KNOWN_OFF", {"1.110": frozenset({"proxy/tiers"})})


def test_a_known_line_may_be_off() -> None:
    assert cell(row("proxy/plain", "ok"), row("proxy/tiers", "off")).faults == []


@pytest.mark.parametrize(
    ("found", "version"),
    [
        (row("proxy/floor", "off"), "1.110.2"),
        (row("proxy/tiers", "off"), "1.108.7"),
        (row("proxy/tiers", "WRONG"), "1.110.2"),
        (row("proxy/tiers", "ok", lucky=True), "1.110.2"),
    ],
)
def test_everything_else_fails(found: dict[str, Any], version: str) -> None:
    (fault,) = cell(found, version=version).faults
    assert fault.startswith(found["name"])


def test_a_version_that_installing_would_change_fails() -> None:
    place = Environment(Path("python"), "its proxy extra", ("litellm 1.110.2 -> 1.106.12",), ())
    assert cell(place=place).faults == ["installing the package changes litellm 1.110.2 -> 1.106.12"]
    assert cell().faults == []


def test_tests_for_some_versions_only_may_not_fail() -> None:
    made = cell()
    assert replace(made, tests="ok").faults == []
    assert replace(made, tests="1 failed").faults == ["tests: 1 failed"]


def test_a_line_that_works_again_is_to_be_taken_out() -> None:
    assert cell(row("proxy/tiers", "ok")).mended == ["proxy/tiers"]


def test_every_line_that_is_known_to_be_off_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    lines = {Line(one, channel).name for one in ROWS for channel in one.on}
    assert {name for known in known_off.KNOWN_OFF.values() for name in known} <= lines
    assert {*known_off.KNOWN_OFF} <= {"1.110"}


def test_what_is_newer_than_the_list() -> None:
    """The newest of each listed minor release, the newest of all, and the newest candidate."""
    texts = [*LISTED, "1.106.1", "1.106.13", "1.108.20", "1.111.0", "1.112.0rc1", "1.107.0rc2", "1.85.0"]
    assert newer(map(Version, texts)) == ["1.106.13", "1.108.20", "1.111.0", "1.112.0rc1"]
    assert newer(map(Version, LISTED)) == []
    assert newer([]) == []


def test_the_page_shows_every_result() -> None:
    rows = (row("proxy/plain", "ok"), row("proxy/floor", "WRONG"), row("sync/plain", "off"))
    contract = Contract(118, ("Router.make_call (patched)",), ("Router.settings: missing",))
    database = {"1.110.2": {"sorts_for_a_key": "", "limit_of_a_key": "200", "rescue": "off: lost"}}
    told = page([cell(*rows)], {"1.110.2": contract}, database, "## Not tried\n", "2026-01-02")
    for line in (
        "| 1.110.2 | 3.11.2 | 116 of 118, **1 not as expected** | nothing | 1 ok, 1 WRONG | - | 0 ok, 1 off | - |"
        " its proxy extra |",
        "| proxy/floor | WRONG |",
        "* LiteLLM 1.110.2, Python 3.11.2: proxy/floor is WRONG: a note",
        "* 1.110.2: Router.settings: missing",
        "| sorts for a key | ok |",
        "| limit of a key | **WRONG** |",
        "| rescue | off |",
        "* 1.110.2, limit_of_a_key: 200",
        "## Not tried",
    ):
        assert line in told.splitlines()

"""What is stored, sent or public keeps its name and number, whatever the code calls it.

The names are read from the running objects (``tests/wire``) and compared with what was frozen (``tests/data/wire``). A
difference means that a stored record, a neighbouring version, a configuration or a client's program stops working. On
purpose, with a note in the changelog and a migration: ``python -m tests.wire --write``.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.wire.engine import additions
from tests.wire.golden import FILES, SECTIONS, current, frozen


@pytest.mark.parametrize("section", SECTIONS)
def test_names_are_as_they_were(section: str) -> None:
    """Nothing was renamed, renumbered, dropped or added."""
    assert current(section) == frozen(section)


def test_every_file_is_compared() -> None:
    """A section that was renamed does not leave its file behind unread."""
    assert {path.stem for path in FILES.iterdir()} == set(SECTIONS)


def test_all_counters_and_histograms_are_numbered() -> None:
    """The samples raise every counter and mark every histogram, so that no number can move unseen."""
    found = additions()["samples"].values()
    assert {counter for counters, _ in found for counter in counters} == set(range(15)) - {12}
    assert {cell // 128 for _, cells in found for cell in cells} == set(range(8))


def test_the_providers_run_as_a_module() -> None:
    """``python -m exacto_plugin.demo.provider``, as the documentation has it."""
    command = [sys.executable, "-m", "exacto_plugin.demo.provider", "--help"]
    assert "--port" in subprocess.run(command, capture_output=True, text=True, check=True).stdout

"""How often verdicts were wrong: only where it was measured."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from exacto_plugin.audit import verdict_errors
from exacto_plugin.audit.verdict_errors import CALLS, LEAST_VERDICTS, SHARES, wrong_one_in
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters

if TYPE_CHECKING:
    import pytest

RULE = AdaptiveParameters()


def _table(verdicts: int, wrong: int) -> dict[str, object]:
    """A table of equal cells."""
    cells = {"verdicts": [[verdicts] * len(SHARES)] * len(CALLS), "wrong": [[wrong] * len(SHARES)] * len(CALLS)}
    return {"deranked": cells, "verified": cells, "rule": asdict(RULE)}


def test_the_frequency_of_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrong verdict more than were found; nothing outside of the table, for another rule or tier, or too few."""
    monkeypatch.setattr(verdict_errors, "_table", lambda: _table(1199, 2))
    assert wrong_one_in("deranked", 40, 0.25, RULE) == 400
    assert wrong_one_in("verified_good", 3 * CALLS[-1] - 1, SHARES[-1], RULE) == 400
    for tier, calls, share, rule in (
        ("deranked", CALLS[0] - 1, 0.25, RULE),
        ("deranked", 3 * CALLS[-1], 0.25, RULE),
        ("deranked", 40, SHARES[-1] + 0.01, RULE),
        ("insufficient_data", 40, 0.25, RULE),
        ("deranked", 40, 0.25, replace(RULE, peer_cap=0.03)),
    ):
        assert wrong_one_in(tier, calls, share, rule) is None
    monkeypatch.setattr(verdict_errors, "_table", lambda: _table(LEAST_VERDICTS - 1, 0))
    assert wrong_one_in("deranked", 40, 0.25, RULE) is None


def test_the_rows_and_columns_of_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row begins with its number of calls, a column ends with its share."""
    table = _table(999, 0)
    rows = [[1000 * (row + 1) + 100 * column - 1 for column in range(len(SHARES))] for row in range(len(CALLS))]
    table["deranked"] = {"verdicts": rows, "wrong": [[0] * len(SHARES)] * len(CALLS)}
    monkeypatch.setattr(verdict_errors, "_table", lambda: table)
    assert wrong_one_in("deranked", CALLS[1], SHARES[2], RULE) == 2200
    assert wrong_one_in("deranked", CALLS[1] - 1, SHARES[2] + 0.001, RULE) == 1300


def test_the_table_of_the_package() -> None:
    """It is of the default rule, and most verdicts are right.

    With other default numbers it is measured again: ``python -m benchmarks.verdict_errors --write``.
    """
    verdict_errors._table.cache_clear()
    table = verdict_errors._table()
    assert table["rule"] == asdict(RULE)
    assert (table["calls_from"], table["deranked_share_to"]) == (list(CALLS), list(SHARES))
    for kind in ("deranked", "verified"):
        verdicts, wrong = (sum(map(sum, table[kind][part])) for part in ("verdicts", "wrong"))
        assert verdicts > 1000
        assert wrong < verdicts / 20
    assert (wrong_one_in("deranked", 40, 0.125, RULE) or 0) > 100
    assert (wrong_one_in("verified_good", 300, 0.125, RULE) or 0) > 20

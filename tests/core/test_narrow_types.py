"""What is kept in a narrow type although nothing widens it: each of these can only hold what fits."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from sqlalchemy import make_url

from exacto_plugin.core.stats.integers import narrowest
from exacto_plugin.core.stats.log_bins import BINS
from exacto_plugin.core.tiers.adaptive.parameters import LARGEST
from exacto_plugin.core.tiers.adaptive.state import BENCHMARK, ERRORS, MOST_FAILED, PROPENSITY, SLOW
from exacto_plugin.core.tiers.columns import TIERS
from exacto_plugin.core.tiers.signals import CODES, NO_REASON
from exacto_plugin.core.windows.counter_ring import MOST
from exacto_plugin.core.windows.minute_buffer import CELLS, ROWS
from exacto_plugin.simulate.trace import TIER_NOW
from exacto_plugin.store.tables import metadata

INT8, INT64 = np.iinfo(np.int8).max, np.iinfo(np.int64).max


def test_tiers_reasons_and_causes_fit_into_a_byte() -> None:
    """One byte each per deployment, in what a judge remembers and in what a ledger compares."""
    assert max(len(TIERS), len(CODES), len(TIER_NOW), ERRORS | SLOW | PROPENSITY | BENCHMARK) <= INT8
    assert abs(NO_REASON) <= INT8
    assert MOST_FAILED + 1 <= INT8


def test_places_and_keys_fit() -> None:
    """A bin's place is a byte, and the key of a cell of a row has 32 bits, in pages and in histograms alike."""
    assert BINS <= 2**8
    assert CELLS * ROWS <= 2**32
    assert array("I").itemsize == np.dtype(np.uint32).itemsize


def test_counts_from_outside_and_numbers_of_rules_leave_room() -> None:
    """Half a million times what may come in at once fits, and a million times any number of a rule."""
    assert MOST * 500_000 <= INT64
    assert LARGEST * 1_000_000 <= INT64


@pytest.mark.parametrize(
    ("most", "kind"),
    [
        (0, np.uint8),
        (255, np.uint8),
        (256, np.uint16),
        (65_535, np.uint16),
        (65_536, np.uint32),
        (2**32 - 1, np.uint32),
        (2**32, np.int64),
        (INT64, np.int64),
    ],
)
def test_a_type_is_as_narrow_as_its_largest_number_allows(most: int, kind: type[np.integer]) -> None:
    """And together with int64 it stays an integer."""
    assert narrowest(most) == kind
    assert np.promote_types(narrowest(most), np.int64) == np.int64


@pytest.mark.parametrize(("url", "narrow"), [("postgresql://", {"INTEGER"}), ("sqlite://", set())])
def test_numbers_in_the_store_have_64_bits(url: str, narrow: set[str]) -> None:
    """Every column that holds a number; SQLite's integers have them under any name."""
    dialect = make_url(url).get_dialect()()
    types = {str(column.type.compile(dialect)) for table in metadata.tables.values() for column in table.columns}
    assert "BIGINT" in types
    assert not types & (narrow | {"SMALLINT", "REAL", "FLOAT"})

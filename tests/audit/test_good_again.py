"""The interval in which the calls of a deranked deployment became good again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from exacto_plugin.audit.hours.hour_counts import COLUMNS, counts_of
from exacto_plugin.audit.incidents.good_again import good_again
from exacto_plugin.records import TransitionRecord

HOUR = 3600.0
DERANK = 7 * HOUR + 300.0
EARLY = {"calls": 90, "bad": 20}
"""Counts of the derank's hour up to it."""


def found(hours: dict[int, tuple[int, int]], at: float = 16 * HOUR, **more: Any) -> Any:
    """The interval of a deployment with these calls and bad calls by the hour, deranked at 07:05."""
    rows = {
        (hour, "d"): np.array([float({"calls": calls, "bad": bad}.get(name, 0.0)) for name in COLUMNS])
        for hour, (calls, bad) in hours.items()
    }
    derank = TransitionRecord(DERANK, "g", "d", "verified_good", "deranked", (), "s", {"so_far": EARLY})
    return good_again(counts_of(rows, 0, 24), derank, {"at": at, **more}, 0.01)


def test_good_probes_before_the_time_of_the_change_are_within() -> None:
    """13 of 14 good ones from 10:00 on, and no calls until 16:00: the fault may have ended right after the derank."""
    told = found({7: (90, 20), 10: (14, 1), 16: (270, 3)})
    assert told == {"begin": DERANK, "end": 16 * HOUR, "calls": 14, "bad": 1, "first": 10 * HOUR, "last": 11 * HOUR}


@pytest.mark.parametrize(
    ("hours", "begin", "calls"),
    [
        ({7: (98, 24), 10: (14, 1)}, 8 * HOUR, 14),
        ({8: (12, 4), 10: (14, 1), 11: (6, 0)}, 9 * HOUR, 20),
        ({8: (1, 1)}, DERANK, 1),
        ({8: (12, 4)}, 9 * HOUR, 0),
    ],
    ids=["derank's hour", "later hour", "a single call", "none after it"],
)
def test_it_begins_with_the_end_of_the_last_clearly_bad_hour(
    hours: dict[int, tuple[int, int]], begin: float, calls: int
) -> None:
    """The calls from then on are counted; one bad call alone is not clear."""
    told = found(hours)
    assert (told["begin"], told["calls"]) == (begin, calls)


def test_the_end_of_the_bad_calls_is_used_where_it_is_known() -> None:
    """To the minute, of the hour with clearly bad calls; the hour of the change counts up to the change."""
    told = found({15: (12, 4), 16: (40, 0)}, 16.5 * HOUR, bad_until=15.25 * HOUR, before={"calls": 5, "bad": 0})
    assert (told["begin"], told["end"], told["calls"]) == (15.25 * HOUR, 16.5 * HOUR, 5)


def test_a_change_before_the_derank_has_no_interval() -> None:
    """It can be none to good calls."""
    assert found({7: (90, 20)}, 7 * HOUR) is None

"""Hourly counts that are kept are those of the store, whatever range is asked for, and are read again in time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.audit.hours.hour_counts import COLUMNS, ROWS, HourCounts, HourReader
from exacto_plugin.audit.series import hourly_counts
from exacto_plugin.core.routing.counterfactual import PickNumbers
from exacto_plugin.core.wire import to_wire
from exacto_plugin.records import HourRecord
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading
from exacto_plugin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from exacto_plugin.store.location import StoreLocation

HOUR, DAY = 3600.0, 86_400.0
BEGIN = 19_000 * DAY + 5 * HOUR
HOURS = 8 * 24
NOW = BEGIN + HOURS * HOUR


def row(hour: int, deployment: str, worker: str, answers: float, group: str = "g") -> HourRecord:
    """Counts of an hour of one worker."""
    return HourRecord(BEGIN + hour * HOUR, group, deployment, worker, to_wire(PickNumbers(answers=answers, lost=1.0)))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreLocation]:
    """Eight days of two workers; a deployment that comes late, an hour without any, another group."""
    url = (
        f"sqlite:///{tmp_path / 'r.sqlite'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgresql").fresh()
    )
    location, draw = location_of_url(url), random.Random(3)
    store = Store(location)
    for hour in range(HOURS):
        for name in ("", "a", *(["b"] if hour > 100 else [])):
            for worker in ("x", "y") if hour != 50 else ():
                store.write(row(hour, name, worker, draw.randrange(100)))
        store.write(row(hour, "other", "x", 7.0, "h"))
    assert store.flush(60.0)
    yield location
    store.close()


def same(one: HourCounts, other: HourCounts) -> bool:
    """Whether two are equal, deployments without a record left out."""
    assert one.first == other.first
    names = {name for each in (one, other) for name in each.deployments}
    return all(np.array_equal(one.of(name, column), other.of(name, column)) for name in names for column in COLUMNS)


def test_kept_counts_are_those_of_the_store(place: StoreLocation) -> None:
    """Ranges within, across and beyond what is on record, in any order."""
    kept, bare, draw = HourReader(lambda: NOW), HourReader(), random.Random(5)
    with reading(place) as connection:
        for _ in range(40):
            since = BEGIN + HOUR * draw.uniform(-60, HOURS)
            until = since + HOUR * draw.uniform(0, HOURS)
            expected = bare.read(connection, "g", since, until)
            assert same(kept.read(connection, "g", since, until), expected)
        whole = kept.read(connection, "g", BEGIN, NOW)
        assert len(whole.numbers) == HOURS
        assert whole.of("b", ROWS).tolist() == [0.0] * 101 + [2.0] * (HOURS - 101)
        assert whole.of("a", "lost")[50] == 0.0
        assert set(whole.of("a", "lost")) == {0.0, 2.0}
        assert "other" not in whole.deployments


@pytest.mark.parametrize("clock", [None, lambda: NOW], ids=["read", "kept"])
def test_a_range_of_any_length_takes_the_hours_on_record(
    place: StoreLocation, clock: Callable[[], float] | None
) -> None:
    """An administrator may ask for all time, which has more hours than memory has places."""
    reader = HourReader(clock)
    with reading(place) as connection:
        whole = reader.read(connection, "g", -1e12, 1e12)
        assert (whole.first, len(whole.numbers)) == (BEGIN, HOURS)
        assert same(whole, reader.read(connection, "g", BEGIN, NOW))
        for since, until in ((-1e12, BEGIN), (NOW, 1e12)):
            assert len(reader.read(connection, "g", since, until).numbers) == 0
        days = hourly_counts(connection, "g", BEGIN - 1000 * DAY, NOW, 1008, reader)
        sums = [sum(days["deployments"][name]["answers"]) for name in "ab"]
        assert sums == [whole.of(name, "answers").sum() for name in "ab"]
        assert not any(days["deployments"]["a"]["answers"][:1000])


def _add(place: StoreLocation, *rows: HourRecord) -> None:
    store = Store(place)
    for one in rows:
        store.write(one)
    assert store.flush(60.0)
    store.close()


def test_the_newest_days_are_read_each_time(place: StoreLocation) -> None:
    """Older ones are read again after an hour, as a worker may have been without its store."""
    now = [NOW]
    reader = HourReader(lambda: now[0])

    def seen() -> list[float]:
        with reading(place) as connection:
            read = reader.read(connection, "g", BEGIN, NOW)
        return [read.of("late", "answers")[hour] for hour in (20, HOURS - 1)]

    assert seen() == [0.0, 0.0]
    _add(place, row(20, "late", "z", 5.0), row(HOURS - 1, "late", "z", 6.0))
    assert seen() == [0.0, 6.0]
    now[0] += 3601.0
    assert seen() == [5.0, 6.0]
